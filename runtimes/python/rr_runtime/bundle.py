"""Opens what is shipped: a bundle folder, every file checked against its recorded hash, or a single model file.

A single file is checked too, and so are its weights in other files, where a hash of them is known.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import onnxruntime

from rr_runtime.errors import BundleError
from rr_runtime.manifest import FORMAT, MANIFEST, Manifest, RecordedFile, refuse_long_manifest
from rr_runtime.one_line import cut_to_line
from rr_runtime.onnx_fields import external_files, largest_metadata
from rr_runtime.swap import move_back
from rr_runtime.watched import Watched

MODEL = "model.onnx"
GOLDEN = "golden.npz"
METADATA_KEY = "rr.manifest"
HUB = "onnx"  # the folder of the bundle in a folder that has the layout of Hugging Face


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are what its manifest says.

    Attributes:
        path: the folder or file that was opened.
        model: the file of its own model, None where the folder has targets only.
        manifest: what it says about itself.
        digest: the SHA-256 of a single file; None for a folder, whose manifest has those of its files.
        watched: the files that were hashed when it was opened.
    """

    path: Path
    model: Path | None
    manifest: Manifest
    digest: str | None = None
    watched: Watched = field(default_factory=Watched, compare=False)

    def __repr__(self) -> str:
        return cut_to_line(f"Bundle({self.manifest.summary()}; {self.path})")


def bundle_folder(path: str | os.PathLike[str]) -> Path:
    """Returns where the bundle is: the path, or its folder ``onnx`` where that is a bundle and the path is none."""
    place = Path(path)
    inner = place / HUB
    return inner if not (place / MANIFEST).is_file() and (inner / MANIFEST).is_file() else place


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Returns the bundle in a folder, or in a single model file, which is loaded once to read its manifest.

    In a folder, the size and SHA-256 of every recorded file are right afterwards, external weights included. Symbolic
    links are followed. A folder without a manifest stands for its folder ``onnx``, where that has one. A single file,
    and what it has in other files, is what ``check_known_hashes`` can tell.

    Raises:
        BundleError: there is none, it is damaged, or it was not made by rr_export.
    """
    move_back(Path(path))
    source = bundle_folder(path)
    if source.is_dir():
        return _open_folder(source)
    if source.is_file():
        return _open_file(source)
    raise BundleError(f"{source}: expected a bundle folder or a model file, got nothing there; check the path")


def embedded_manifest(session: onnxruntime.InferenceSession, where: str) -> Manifest | None:
    """Returns the manifest inside the model of a session, None where there is none.

    Raises:
        BundleError: there is one, but it is damaged.
    """
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return None if text is None else Manifest.parse(text, where=f"{where}: metadata {METADATA_KEY}")


def check_known_hashes(file: Path, watched: Watched) -> None:
    """A model file and its external data are what is known of them.

    That is what a bundle's ``manifest.json`` beside the file records, and for external data that it does not record the
    SHA-1 that the model's tensors carry (``checksum``). Of other files nothing is known.

    Raises:
        BundleError: one of them is another file, or that manifest is damaged.
    """
    try:
        found = external_files(file)
    except (ValueError, OSError):  # no protobuf: its weights are inside, or nobody can read them
        found = {}
    recorded = _recorded_beside(file)
    for name in (file.name, *sorted(found)):
        place = file.parent / name
        if name in recorded:
            _check_file(place, recorded[name], watched)
        elif place.is_file():  # what is missing is the engine's to tell
            for told in sorted(found.get(name, ())):
                _check_checksum(place, told, file, watched)


def _recorded_beside(file: Path) -> Mapping[str, RecordedFile]:
    """What a bundle's manifest beside a file records; nothing where there is none, or one of something else."""
    beside = file.parent / MANIFEST
    if not beside.is_file():
        return {}
    content = _read_manifest(beside)
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        return {}
    return Manifest.parse(content, where=str(beside)).files


def _check_checksum(place: Path, told: str, file: Path, watched: Watched) -> None:
    found = watched.digest(place, "sha1")
    if found != told.lower():
        raise BundleError(
            f"{place}: expected the SHA-1 {told} that {file.name} tells of its weights, got {found}; copy both again, "
            "or export the model again"
        )


def _open_folder(folder: Path) -> Bundle:
    file = folder / MANIFEST
    if not file.is_file():
        raise BundleError(
            f"{folder}: expected a bundle folder with {MANIFEST}, got none; export one, or name a model file"
        )
    manifest = Manifest.parse(_read_manifest(file), where=str(file))
    if MODEL not in manifest.files and not manifest.targets:
        recorded = ", ".join(sorted(manifest.files)) or "nothing"
        raise BundleError(f"{file}: files: expected a record of {MODEL}, got {recorded}; export the model again")
    watched = Watched()
    for name, record in manifest.files.items():
        _check_file(folder / name, record, watched)
    for name in sorted({MODEL, *(name for target in manifest.targets.values() for name in target.files)}):
        if name in manifest.files:
            _check_weights(folder, name, manifest)
    return Bundle(folder, folder / MODEL if MODEL in manifest.files else None, manifest, watched=watched)


def _open_file(file: Path) -> Bundle:
    with contextlib.suppress(ValueError):  # no protobuf: onnxruntime's own format, or nothing that it loads
        refuse_long_manifest(largest_metadata(file), str(file))
    watched = Watched()
    check_known_hashes(file, watched)
    digest = watched.digest(file, "sha256")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # its failures are raised below
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session: Any = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:
        raise unreadable(file, error) from error
    check_texts(session, file)
    manifest = embedded_manifest(session, str(file))
    if manifest is None:
        raise BundleError(
            f"{file}: expected a model with metadata {METADATA_KEY}, got one without; "
            "export it with rr_export, or run it with onnxruntime itself"
        )
    return Bundle(file, file, manifest, digest, watched)


def unreadable(file: Path, error: Exception) -> BundleError:
    """Returns the error for a model file that onnxruntime refuses."""
    refused = BundleError(
        f"{file}: expected an ONNX model that onnxruntime {onnxruntime.__version__} loads, got: {str(error).strip()}; "
        "copy or export it again (it may be cut short), or update onnxruntime"
    )
    refused.unloaded = True
    return refused


def check_texts(session: onnxruntime.InferenceSession, file: Path) -> None:
    """Raises a BundleError where names or metadata of a model are no texts: onnxruntime loads such a damaged file."""
    try:
        dict(session.get_modelmeta().custom_metadata_map)
        for node in (*session.get_inputs(), *session.get_outputs()):
            _ = node.name, node.type, node.shape
    except UnicodeDecodeError as error:
        raise unreadable(file, error) from error


def _check_file(file: Path, record: RecordedFile, watched: Watched) -> None:
    if not file.is_file():
        raise BundleError(f"{file}: expected the file that {MANIFEST} records, got none; copy the whole bundle again")
    try:
        size = file.stat().st_size
        if size != record.bytes:
            raise BundleError(f"{file}: expected {record.bytes} bytes, got {size}; copy the bundle again")
    except OSError as error:
        raise BundleError(f"{file}: expected a readable file, got {error}; check its permissions") from error
    digest = watched.digest(file, "sha256")
    if digest != record.sha256:
        raise BundleError(f"{file}: expected SHA-256 {record.sha256}, got {digest}; copy or export the bundle again")


def _check_weights(folder: Path, name: str, manifest: Manifest) -> None:
    """Raises a BundleError where a model of the folder has weights in files that are not recorded, so not checked."""
    try:
        found = external_files(folder / name)
    except (ValueError, OSError) as error:
        if name.endswith(".ort"):  # no protobuf; weights are inside
            return
        raise unreadable(folder / name, error) from error
    for location in sorted(found):
        if str(PurePosixPath(name).parent / location) not in manifest.files:
            raise BundleError(
                f"{folder / name}: expected weights in files that {MANIFEST} records, got {location!r}; do not use "
                "this bundle, or export it again"
            )


def _read_manifest(file: Path) -> bytes:
    try:
        refuse_long_manifest(file.stat().st_size, str(file))
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: expected a readable file, got {error}; check its permissions") from error
