"""Reads a bundle from its folder, or from a single file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

import rr_runtime.bundle
from rr_export.bundle.bundle import Bundle
from rr_export.bundle.contents import GoldenCase, TargetFiles
from rr_export.bundle.file_names import GOLDEN, MANIFEST, MODEL, PARITY, target_files
from rr_export.bundle.manifest import METADATA_KEY, read_plan, read_profile
from rr_export.errors import BundleError
from rr_runtime.array_files import read_arrays
from rr_runtime.errors import RuntimeFailure
from rr_runtime.manifest import Manifest


def load(path: str | os.PathLike[str]) -> Bundle:
    """Returns the bundle in a folder, or in a single ``.onnx`` file that rr_export wrote.

    Raises:
        BundleError: there is none, it is damaged, or a file does not match its recorded hash.
    """
    try:
        source = rr_runtime.bundle.open_bundle(path).path  # one place checks names, hashes and the manifest's form
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
        plan = read_plan(manifest)
        profiles = {name: read_profile(told, plan) for name, told in manifest.pop("profiles", {}).items()}
        parity = _read_parity(source / PARITY)
        model = _read_model(source / MODEL)
        _check_same(model, source)
        return Bundle(model, manifest, golden, targets, parity, source, profiles)
    model = _read_model(source)
    return Bundle(model, json.loads(model.metadata_props[METADATA_KEY]), path=source)


def _check_same(model: ir.Model, folder: Path) -> None:
    """Raises a BundleError where the manifest inside a model says something else than that of its folder."""
    inside = model.metadata_props.get(METADATA_KEY)
    beside = Manifest.parse((folder / MANIFEST).read_bytes(), where=str(folder / MANIFEST))
    if inside is not None and Manifest.parse(inside, where=str(folder / MODEL)) != beside.about_model():
        raise BundleError(
            f"{folder / MODEL}: expected the manifest of {folder} in its metadata, got another; copy or export the "
            "bundle again"
        )


def _read_model(file: Path) -> ir.Model:
    try:
        model = ir.load(file)
        model.graph.sort()  # tools leave nodes of bodies before what they read: onnxruntime takes that, onnx_ir not
    except Exception as error:  # onnxruntime takes what protobuf and onnx_ir, with errors of their own, do not
        raise BundleError(
            f"{file}: expected a bundle folder or an .onnx file, got {type(error).__name__}: {error}; name another, or "
            "copy it again"
        ) from error
    return model


def _read_parity(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
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
    sides: dict[tuple[int, str], dict[str, NDArray[Any]]] = {}
    try:
        for key, array in read_arrays(source, "golden cases").items():
            number, side, name = key.split("/", 2)
            sides.setdefault((int(number), side), {})[name] = array
    except ValueError as error:
        raise BundleError(f"{source}: expected the arrays of golden cases, got {error}; export again") from error
    return [
        GoldenCase(
            row["seed"],
            None if row["path"] is None else tuple(row["path"]),
            tuple(row["taken"]),
            sides.get((row.get("inputs", number), "input"), {}),
            sides.get((number, "output"), {}),
            row.get("why", ""),
        )
        for number, row in enumerate(rows)
    ]
