"""Writes the files of a bundle, and tells whether a folder holds them already or may be replaced by them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.bundle.atomic_write import is_leftover
from rr_export.bundle.card import is_card
from rr_export.bundle.contents import GoldenCase, TargetFiles
from rr_export.bundle.file_names import CARD, COMPANIONS, GOLDEN, HUB, MANIFEST, MODEL, PARITY, WEIGHTS
from rr_export.bundle.manifest import FORMAT, manifest_text, write_profile
from rr_export.bundle.weights import WeightFile, inlined
from rr_export.errors import BundleError
from rr_export.laws.profile import Profile
from rr_runtime.fastest import FASTEST
from rr_runtime.golden import has_sizes
from rr_runtime.manifest import Manifest
from rr_runtime.strict_json import strict_json

FileRows = dict[str, dict[str, Any]]  # by name: the SHA-256 and the size in bytes


def write_folder(
    folder: Path,
    model: ir.Model | None,
    manifest: Mapping[str, Any],
    golden: Sequence[GoldenCase],
    targets: Mapping[str, TargetFiles],
    profiles: Mapping[str, Profile],
    parity: Mapping[str, Any] | None,
    *,
    external: bool,
) -> FileRows:
    """The folder holds the bundle; returns what its manifest records of each file.

    Args:
        folder: an empty folder.
        model: the routed model; None: targets alone.
        manifest: what the model says about itself.
        golden: runs of the eager model to compare with.
        targets: other forms of the model, by name.
        profiles: other laws over its sites, by name.
        parity: the JSON of the last ``verify``, or None.
        external: weights are in a file of their own, which all models share.
    """
    models: dict[str, ir.Model | bytes] = {} if model is None else {MODEL: model}
    inside: set[str] = set()  # models of engines that read no other file
    for target in targets.values():
        models |= target.models
        inside |= set(target.models) if target.about.get("weights_inside") else set()
    _write_models(folder, models, inside if external else set(models))
    rows = _write_golden(folder / GOLDEN, golden)
    names = [*models, *([WEIGHTS] if (folder / WEIGHTS).exists() else []), GOLDEN]
    files = {n: {"sha256": sha256_of(folder / n), "bytes": (folder / n).stat().st_size} for n in names}
    entries: dict[str, Any] = {}
    if targets:
        entries["targets"] = {name: dict(target.about) for name, target in targets.items()}
    if profiles:
        entries["profiles"] = {name: write_profile(profile) for name, profile in profiles.items()}
    told = {**manifest, **entries, "files": files, "golden": rows}
    (folder / MANIFEST).write_text(manifest_text(told, indent=1))
    if parity is not None:
        (folder / PARITY).write_text(strict_json(parity, indent=1))
    return files


def fitting_cases(
    golden: Sequence[GoldenCase], manifest: Mapping[str, Any], targets: Mapping[str, TargetFiles]
) -> list[GoldenCase]:
    """Returns the golden cases that one of some targets can run: at the sizes that it fixes, on a path that it has."""
    declared = Manifest.parse(manifest).inputs
    forms = [
        (target.about.get("sizes", {}), {tuple(row["path"]) for row in target.about.get("paths", ())})
        for target in targets.values()
    ]
    return [
        case
        for case in golden
        if any(has_sizes(declared, case.inputs, sizes) and (not paths or case.taken in paths) for sizes, paths in forms)
    ]


def serialized(model: ir.Model) -> bytes:
    """Returns the bytes of a model."""
    return bytes(ir.to_proto(model).SerializeToString())


def holds(folder: Path, files: FileRows, *, like: Path) -> bool:
    """Returns whether a folder is a bundle of exactly these files, with the same manifest as another one."""
    try:
        told = json.loads((folder / MANIFEST).read_text())
        return bool(told == json.loads((like / MANIFEST).read_text())) and all(
            sha256_of(folder / name) == row["sha256"] for name, row in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def check_replaceable(place: Path, *, overwrite: bool) -> None:
    """Raises a BundleError where something is at ``place`` that must stay.

    That is anything but an empty folder and, with ``overwrite``, a bundle without files of others in it.
    """
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not overwrite:
        raise BundleError(
            f"{place}: expected no such folder, got one with other content; choose another place, or pass "
            "overwrite=True (--overwrite)"
        )
    foreign = _foreign_files(place)
    if foreign:
        raise BundleError(
            f"{place}: expected an earlier bundle to replace, got {foreign[0]!r}, which no bundle holds; choose "
            "another place"
        )


def _foreign_files(folder: Path) -> list[str]:
    """Names in a folder that a bundle there does not account for; all of them where there is no bundle."""
    names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else [folder.name]
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        known = {MANIFEST, PARITY, FASTEST, *manifest["files"]} if manifest["format"] == FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        inner = folder / HUB
        known = {HUB, *COMPANIONS} if (inner / MANIFEST).is_file() and not _foreign_files(inner) else set()
    known |= {CARD} if known and read_card(folder) is not None else set()
    return [name for name in names if name not in known and not (known and is_leftover(name))]


def read_card(folder: Path) -> str | None:
    """Returns the card in a folder, None where there is none, or a text of another kind."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return text if is_card(text) else None


def _write_models(folder: Path, models: Mapping[str, ir.Model | bytes], inside: Collection[str]) -> None:
    """The models are in the folder, those of ``inside`` with their weights in them, the others' in one file."""
    outside: dict[str, ir.Model] = {}
    with WeightFile(folder / WEIGHTS) as weights:
        for name, model in models.items():
            if isinstance(model, ir.Model) and name not in inside:
                outside[name] = weights.externalized(model)
            else:
                (folder / name).write_bytes(model if isinstance(model, bytes) else serialized(inlined(model)))
    for name, model in outside.items():
        (folder / name).write_bytes(weights.serialized(model))


def _write_golden(file: Path, golden: Sequence[GoldenCase]) -> list[dict[str, Any]]:
    """The file holds the runs' arrays, inputs that several have once; returns what the manifest says of each run."""
    arrays: dict[str, NDArray[Any]] = {}
    rows: list[dict[str, Any]] = []
    first: dict[tuple[Any, ...], int] = {}
    for number, case in enumerate(golden):
        owner = first.setdefault(_content(case.inputs), number)
        if owner == number:
            arrays |= {f"{number}/input/{name}": array for name, array in case.inputs.items()}
        arrays |= {f"{number}/output/{name}": array for name, array in case.outputs.items()}
        row = {"seed": case.seed, "path": None if case.path is None else list(case.path), "taken": list(case.taken)}
        row |= {"inputs": owner} if owner != number else {}
        rows.append(row | ({"why": case.why} if case.why else {}))
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return rows


def _content(inputs: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    """What is equal for equal inputs."""
    return tuple(
        (name, array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest())
        for name, array in sorted(inputs.items())
    )


def sha256_of(file: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
