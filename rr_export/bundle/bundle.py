"""The bundle: model, manifest, golden cases and parity report, in memory and as the folder that is shipped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

import rr_runtime.bundle
from rr_export.bundle.manifest import FORMAT, METADATA_KEY, read_plan
from rr_export.bundle.target_files import target_files
from rr_export.bundle.weights import WeightFile, inlined, weight_bytes
from rr_export.errors import BundleError
from rr_export.laws.plan import Plan
from rr_runtime.errors import RuntimeFailure
from rr_runtime.fastest import FASTEST

MODEL, WEIGHTS, MANIFEST, GOLDEN, PARITY = (
    "model.onnx",
    "model.onnx.data",
    "manifest.json",
    "golden.npz",
    "parity.json",
)
EXTERNAL_ABOVE = 1_500_000_000  # bytes of weights; protobuf ends at 2 GiB


@dataclass(frozen=True)
class GoldenCase:
    """Inputs and outputs of one run of the eager model.

    Attributes:
        seed: the seed of its draws, or None.
        path: the asked path, or None.
        taken: int64 [S], the path taken.
        inputs: arrays by input name.
        outputs: arrays by output name.
    """

    seed: int | None
    path: tuple[int, ...] | None
    taken: tuple[int, ...]
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TargetFiles:
    """Another form of a bundle's model, made for one execution provider.

    Attributes:
        about: what the manifest says about it (JSON-ready; format: ``runtimes/SPEC.md``, section 9).
        models: its models by file name; bytes where they are in ONNX Runtime's own format, and the list of operators
            that these need.
    """

    about: Mapping[str, Any]
    models: Mapping[str, ir.Model | bytes]


@dataclass
class Bundle:
    """An exported model with everything needed to run and to re-prove it.

    Attributes:
        model: the ONNX model.
        manifest: what it says about itself (JSON-ready).
        golden: runs of the eager model to compare with.
        targets: other forms of the model, by name.
        parity: the JSON of the last ``verify``, or None.
        path: the folder it was loaded from or last saved to, or None.
    """

    model: ir.Model
    manifest: dict[str, Any]
    golden: Sequence[GoldenCase] = ()
    targets: Mapping[str, TargetFiles] = field(default_factory=dict)
    parity: dict[str, Any] | None = None
    path: Path | None = field(default=None)

    @property
    def plan(self) -> Plan:
        """The sites with their policies."""
        return read_plan(self.manifest)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        external_data: bool | None = None,
        only: Collection[str] = (),
        overwrite: bool = False,
    ) -> Path:
        """The bundle is at ``path``: a folder, or one file where the name ends in ``.onnx``.

        Everything is written beside the target first and then moved there in one step.

        Args:
            path: the folder or file.
            external_data: weights in a file of their own (mapped at load time), which all targets share; None: above
                1.5 GB, and where there are targets.
            only: write these targets alone, without the routed model: enough to run, for a device.
            overwrite: replace an earlier bundle (never another folder).

        Raises:
            ValueError: ``only`` names a target that the bundle has not.
            BundleError: the target exists with other content, or one file cannot hold the weights.
        """
        for name in set(only) - set(self.targets):
            known = ", ".join(self.targets) or "none"
            raise ValueError(f"only: expected targets of the bundle ({known}), got {name!r}; package it first")
        target = Path(path) if Path(path).name else Path(path).resolve()
        external = self._external() if external_data is None else external_data
        if target.suffix == ".onnx":
            return self._save_file(target, external, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            files = self._write(scratch, external, only)
            if _same_files(target, files):
                return target if only else self._settle(target)
            _check_replaceable(target, overwrite)
            scratch.chmod(0o755)
            old = None
            if target.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
                os.replace(target, old / "old")
            try:
                os.replace(scratch, target)
            except OSError:
                if old is not None:
                    os.replace(old / "old", target)
                raise
            finally:
                if old is not None:
                    shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return target if only else self._settle(target)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yields the bundle as a folder: where it is saved, or a temporary one for the time of the block."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="rr_export.") as scratch:
            self._write(Path(scratch), self._external())
            yield Path(scratch)

    def write_parity(self, report: dict[str, Any]) -> None:
        """The bundle carries ``report``; where it is saved, the file beside the model is replaced atomically."""
        self.parity = report
        if self.path is not None and self.path.is_dir():
            write_atomically(self.path / PARITY, json.dumps(report, indent=1).encode())

    def _settle(self, target: Path) -> Path:
        self.path = target
        return target

    def _external(self) -> bool:
        return bool(self.targets) or weight_bytes(self.model) > EXTERNAL_ABOVE

    def _save_file(self, target: Path, external: bool, overwrite: bool) -> Path:
        if self.targets:
            raise BundleError(
                f"{target}: expected a folder for a bundle with targets ({', '.join(self.targets)}), got the name of "
                "one file; save to a folder"
            )
        if external:
            raise BundleError(
                f"{target}: expected weights that fit into one file, got a request for external data; save to a folder"
            )
        content = _serialized(inlined(self._stamped()))
        if target.exists() and not overwrite and target.read_bytes() != content:
            raise BundleError(
                f"{target}: expected no such file, got one with other content; choose another name, or pass "
                "overwrite=True (--overwrite)"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, content)
        return self._settle(target)

    def _stamped(self) -> ir.Model:
        self.model.metadata_props[METADATA_KEY] = json.dumps(self.manifest)
        return self.model

    def _write(self, folder: Path, external: bool, only: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """Writes all files but the parity report's hash; returns size and SHA-256 of each."""
        models: dict[str, ir.Model | bytes] = {} if only else {MODEL: self._stamped()}
        forms = {name: form for name, form in self.targets.items() if not only or name in only}
        inside: set[str] = set()  # models of engines that read no other file
        for form in forms.values():
            models |= form.models
            inside |= set(form.models) if form.about.get("weights_inside") else set()
        with WeightFile(folder / WEIGHTS) as weights:
            for name, model in models.items():
                if isinstance(model, ir.Model):
                    shared = external and name not in inside
                    model = _serialized(weights.externalized(model) if shared else inlined(model))
                (folder / name).write_bytes(model)
        arrays = {
            f"{number}/{side}/{name}": array
            for number, case in enumerate(self.golden)
            for side, group in (("input", case.inputs), ("output", case.outputs))
            for name, array in group.items()
        }
        np.savez(folder / GOLDEN, **arrays)  # type: ignore[arg-type]
        names = [*models, *([WEIGHTS] if (folder / WEIGHTS).exists() else []), GOLDEN]
        files = {n: {"sha256": _sha256(folder / n), "bytes": (folder / n).stat().st_size} for n in names}
        golden = [
            {"seed": c.seed, "path": None if c.path is None else list(c.path), "taken": list(c.taken)}
            for c in self.golden
        ]
        targets = {"targets": {name: dict(form.about) for name, form in forms.items()}} if forms else {}
        manifest = {**self.manifest, **targets, "files": files, "golden": golden}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
        if self.parity is not None:
            (folder / PARITY).write_text(json.dumps(self.parity, indent=1))
        return files


def load(path: str | os.PathLike[str]) -> Bundle:
    """Returns the bundle in a folder, or in a single ``.onnx`` file that rr_export wrote.

    Raises:
        BundleError: there is none, it is damaged, or a file does not match its recorded hash.
    """
    source = Path(path)
    try:
        rr_runtime.bundle.open_bundle(source)  # one place checks names, hashes and the manifest's form
    except RuntimeFailure as error:
        raise BundleError(str(error)) from error
    if source.is_dir():
        manifest = json.loads((source / MANIFEST).read_text())
        golden = _read_golden(manifest.pop("golden", []), source / GOLDEN)
        manifest.pop("files", None)
        if not (source / MODEL).exists():
            raise BundleError(
                f"{source}: expected the routed model {MODEL}, got targets only, which run but cannot be worked on; "
                "name the bundle that they were made from"
            )
        targets = {name: _read_target(about, source) for name, about in manifest.pop("targets", {}).items()}
        parity = _read_parity(source / PARITY)
        return Bundle(_read_model(source / MODEL), manifest, golden, targets, parity, source)
    try:
        model = _read_model(source)
    except (DecodeError, ir.serde.SerdeError) as error:  # such as onnxruntime's own format, which onnxruntime takes
        raise BundleError(f"{source}: expected a bundle folder or an .onnx file, got {error}; name another") from error
    return Bundle(model, json.loads(model.metadata_props[METADATA_KEY]), path=source)


def _read_model(file: Path) -> ir.Model:
    model = ir.load(file)
    model.graph.sort()  # tools leave nodes of bodies before what they read: onnxruntime takes that, onnx_ir does not
    return model


def _read_parity(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        return dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise BundleError(f"{file}: expected a parity report, got {error}; remove it or verify again") from error


def _read_target(about: dict[str, Any], source: Path) -> TargetFiles:
    names = sorted(target_files(about))
    return TargetFiles(
        about, {n: _read_model(source / n) if n.endswith(".onnx") else (source / n).read_bytes() for n in names}
    )


def _read_golden(rows: list[dict[str, Any]], source: Path) -> list[GoldenCase]:
    if not rows:
        return []
    cases = []
    with np.load(source) as arrays:
        for number, row in enumerate(rows):
            sides: dict[str, dict[str, NDArray[Any]]] = {"input": {}, "output": {}}
            for key in arrays.files:
                case, side, name = key.split("/", 2)
                if int(case) == number:
                    sides[side][name] = arrays[key]
            path = None if row["path"] is None else tuple(row["path"])
            cases.append(GoldenCase(row["seed"], path, tuple(row["taken"]), sides["input"], sides["output"]))
    return cases


def _same_files(target: Path, files: dict[str, dict[str, Any]]) -> bool:
    try:
        return bool(json.loads((target / MANIFEST).read_text())["files"] == files) and all(
            _sha256(target / name) == row["sha256"] for name, row in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise BundleError(
            f"{target}: expected no such folder, got one with other content; choose another place, or pass "
            "overwrite=True (--overwrite)"
        )
    foreign = _foreign_files(target)
    if foreign:
        raise BundleError(
            f"{target}: expected an earlier bundle to replace, got {foreign[0]!r}, which no bundle holds; choose "
            "another place"
        )


def _foreign_files(folder: Path) -> list[str]:
    """Names in a folder that a bundle there does not account for; all of them where there is no bundle."""
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else [folder.name]
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        known = {MANIFEST, PARITY, FASTEST, *manifest["files"]} if manifest["format"] == FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    return [name for name in names if name not in known]


def _serialized(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString())


def write_atomically(target: Path, content: bytes) -> None:
    """The file holds ``content``; whoever reads meanwhile sees the old content or the new one.

    A link is followed, and what is no regular file (a pipe, a device) is written to and stays what it is.
    """
    target = target.resolve() if target.is_symlink() else target
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: expected a folder to write into, got none; make {target.parent}")
    if target.exists() and not target.is_file():
        with target.open("wb") as out:
            out.write(content)
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
