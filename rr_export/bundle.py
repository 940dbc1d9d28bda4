"""The bundle: model, manifest, golden cases and parity report, in memory and as the folder that is shipped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

import rr_runtime.bundle
from rr_export.errors import BundleError
from rr_export.manifest import FORMAT, METADATA_KEY, read_plan
from rr_export.passes import copy_shared_weights
from rr_export.plan import Plan
from rr_runtime.errors import RuntimeFailure

MODEL, WEIGHTS, MANIFEST, GOLDEN, PARITY = (
    "model.onnx",
    "model.onnx.data",
    "manifest.json",
    "golden.npz",
    "parity.json",
)
EXTERNAL_ABOVE = 1_500_000_000  # bytes of weights; protobuf ends at 2 GiB
INLINE_BELOW = 1024  # bytes; smaller tensors stay in the model file
PAGE = 4096  # bytes; large tensors start on a page, so that they can be mapped


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


@dataclass
class Bundle:
    """An exported model with everything needed to run and to re-prove it.

    Attributes:
        model: the ONNX model.
        manifest: what it says about itself (JSON-ready).
        golden: runs of the eager model to compare with.
        parity: the JSON of the last ``verify``, or None.
        path: the folder it was loaded from or last saved to, or None.
    """

    model: ir.Model
    manifest: dict[str, Any]
    golden: Sequence[GoldenCase] = ()
    parity: dict[str, Any] | None = None
    path: Path | None = field(default=None)

    @property
    def plan(self) -> Plan:
        """The sites with their policies."""
        return read_plan(self.manifest)

    def save(self, path: str | os.PathLike[str], *, external_data: bool | None = None, overwrite: bool = False) -> Path:
        """The bundle is at ``path``: a folder, or one file where the name ends in ``.onnx``.

        Everything is written beside the target first and then moved there in one step.

        Args:
            path: the folder or file.
            external_data: weights in a file of their own (mapped at load time); None: above 1.5 GB only.
            overwrite: replace an earlier bundle (never another folder).

        Raises:
            BundleError: the target exists with other content, or one file cannot hold the weights.
        """
        target = Path(path) if Path(path).name else Path(path).resolve()
        weights = sum(t.nbytes for t in _tensors(self.model).values())
        external = weights > EXTERNAL_ABOVE if external_data is None else external_data
        if target.suffix == ".onnx":
            return self._save_file(target, external, overwrite)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            files = self._write(scratch, external)
            if _same_files(target, files):
                return self._settle(target)
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
        return self._settle(target)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yields the bundle as a folder: where it is saved, or a temporary one for the time of the block."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="rr_export.") as scratch:
            self._write(Path(scratch), sum(t.nbytes for t in _tensors(self.model).values()) > EXTERNAL_ABOVE)
            yield Path(scratch)

    def write_parity(self, report: dict[str, Any]) -> None:
        """The bundle carries ``report``; where it is saved, the file beside the model is replaced atomically."""
        self.parity = report
        if self.path is not None and self.path.is_dir():
            write_atomically(self.path / PARITY, json.dumps(report, indent=1).encode())

    def _settle(self, target: Path) -> Path:
        self.path = target
        return target

    def _save_file(self, target: Path, external: bool, overwrite: bool) -> Path:
        if external:
            raise BundleError(
                f"{target}: expected weights that fit into one file, got a request for external data; save to a folder"
            )
        content = _serialized(_inlined(self._stamped()))
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

    def _write(self, folder: Path, external: bool) -> dict[str, dict[str, Any]]:
        """Writes all files but the parity report's hash; returns size and SHA-256 of each."""
        model = self._stamped()
        if external:
            model = model.clone()  # shares the tensors, so that only the copy points into the file
            _write_weights(model, folder / WEIGHTS)
        else:
            model = _inlined(model)
        (folder / MODEL).write_bytes(_serialized(model))
        arrays = {
            f"{number}/{side}/{name}": array
            for number, case in enumerate(self.golden)
            for side, group in (("input", case.inputs), ("output", case.outputs))
            for name, array in group.items()
        }
        np.savez(folder / GOLDEN, **arrays)  # type: ignore[arg-type]
        names = [MODEL, *([WEIGHTS] if external else []), GOLDEN]
        files = {n: {"sha256": _sha256(folder / n), "bytes": (folder / n).stat().st_size} for n in names}
        golden = [
            {"seed": c.seed, "path": None if c.path is None else list(c.path), "taken": list(c.taken)}
            for c in self.golden
        ]
        manifest = {**self.manifest, "files": files, "golden": golden}
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
        parity = _read_parity(source / PARITY)
        return Bundle(ir.load(source / MODEL), manifest, golden, parity, source)
    try:
        model = ir.load(source)
    except (DecodeError, ir.serde.SerdeError) as error:  # such as onnxruntime's own format, which onnxruntime takes
        raise BundleError(f"{source}: expected a bundle folder or an .onnx file, got {error}; name another") from error
    return Bundle(model, json.loads(model.metadata_props[METADATA_KEY]), path=source)


def _read_parity(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        return dict(json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise BundleError(f"{file}: expected a parity report, got {error}; remove it or verify again") from error


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
        known = {MANIFEST, PARITY, *manifest["files"]} if manifest["format"] == FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    return [name for name in names if name not in known]


def _write_weights(model: ir.Model, file: Path) -> None:
    """All large tensors are in ``file``, each once, and the model's initializers point there."""
    copy_shared_weights(model)
    external: dict[int, ir.ExternalTensor] = {}
    kept: list[Any] = []  # the tensors are known by identity, so they must stay alive
    with file.open("wb") as out:
        for value in sorted(_initializers(model), key=_is_small):  # large ones first: less padding between pages
            tensor = value.const_value
            if tensor is None or tensor.nbytes < INLINE_BELOW or tensor.dtype == ir.DataType.STRING:
                continue
            if id(tensor) not in external:
                kept.append(tensor)
                out.write(b"\0" * (-out.tell() % (PAGE if tensor.nbytes >= PAGE else 64)))
                offset = out.tell()
                out.write(tensor.tobytes())
                external[id(tensor)] = ir.ExternalTensor(
                    file.name,
                    offset,
                    tensor.nbytes,
                    tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()),
                    name=value.name or "",
                )
            value.const_value = external[id(tensor)]


def _is_small(value: ir.Value) -> bool:
    return value.const_value is None or value.const_value.nbytes < PAGE


def _inlined(model: ir.Model) -> ir.Model:
    """The model with all weights inside, read from where they lie."""
    if not any(isinstance(v.const_value, ir.ExternalTensor) for v in _initializers(model)):
        return model
    model = model.clone()
    read: dict[int, ir.TensorProtocol] = {}
    for value in _initializers(model):
        if isinstance(value.const_value, ir.ExternalTensor):
            tensor = value.const_value
            value.const_value = read.setdefault(id(tensor), ir.tensor(tensor.numpy().copy(), name=value.name))
    return model


def _initializers(model: ir.Model) -> Iterator[ir.Value]:
    seen: set[int] = set()
    graphs = [model.graph, *(n.graph for n in ir.traversal.RecursiveGraphIterator(model.graph))]
    for graph in graphs:
        if isinstance(graph, ir.Graph) and id(graph) not in seen:
            seen.add(id(graph))
            yield from graph.initializers.values()


def _tensors(model: ir.Model) -> dict[int, Any]:
    return {id(v.const_value): v.const_value for v in _initializers(model) if v.const_value is not None}


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
