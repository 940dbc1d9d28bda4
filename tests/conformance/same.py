"""Two folders of one case: equal but for versions of what made them and what floating point may change.

Held bit for bit: every graph (nodes, names, attributes, weights), inputs, asked and expected paths, whole numbers,
manifests. Within a tolerance: expected and recorded outputs, which eager torch computes a little differently on other
processors, the scales of calibrated forms, which follow from outputs, and the last bits of what frozen paths weigh.
Left out: producers' versions, and with them sizes and hashes of files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

RTOL, ATOL = 1e-4, 1e-6
HALF_TOLERANCE = 4e-3
METADATA_KEY = "rr.manifest"


def differences(checked_in: Path, fresh: Path) -> list[str]:
    """Returns one line for each way in which the first folder is not the second."""
    name = fresh.name
    if not checked_in.is_dir():
        return [f"{name}: expected a folder, got none; run python -m tests.conformance.make"]
    ours, theirs = ({f.name for f in folder.iterdir()} for folder in (checked_in, fresh))
    if ours != theirs:
        return [f"{name}: expected files {sorted(theirs)}, got {sorted(ours)}; run python -m tests.conformance.make"]
    found = []
    for file in sorted(ours):
        compare = _COMPARERS.get(Path(file).suffix)
        if compare is None:
            continue  # weights: read with their model
        difference = compare(checked_in / file, fresh / file)
        if difference is not None:
            found.append(f"{name}/{file}: {difference}; run python -m tests.conformance.make")
    return found


def _compare_json(ours: Path, theirs: Path) -> str | None:
    return _first(
        _plain(json.loads(ours.read_text(encoding="utf-8"))), _plain(json.loads(theirs.read_text(encoding="utf-8"))), ""
    )


def _plain(data: Any) -> Any:
    """A manifest without what versions change."""
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items() if key not in ("producer", "files")}
    return [_plain(value) for value in data] if isinstance(data, list) else data


def _first(ours: Any, theirs: Any, where: str, *, near: float = 0.0) -> str | None:
    """The first place where two JSON values differ, outputs beyond their tolerance."""
    if type(ours) is not type(theirs):
        return f"{where}: expected {theirs!r}, got {ours!r}"
    if isinstance(ours, dict):
        if list(ours) != list(theirs):
            return f"{where}: expected keys {list(theirs)}, got {list(ours)}"
        if near and "dtype" in ours and ours["dtype"] == "float16":
            near = HALF_TOLERANCE
        for key in ours:
            below = RTOL if key in ("expected",) else near
            difference = _first(ours[key], theirs[key], f"{where}.{key}", near=below)
            if difference is not None:
                return difference
        return None
    if isinstance(ours, list):
        if len(ours) != len(theirs):
            return f"{where}: expected {len(theirs)} elements, got {len(ours)}"
        pairs = enumerate(zip(ours, theirs, strict=True))
        return next((d for i, (a, b) in pairs if (d := _first(a, b, f"{where}[{i}]", near=near)) is not None), None)
    if isinstance(ours, float) and (where.endswith(".weight") or ".distance." in where):
        # of frozen paths: a linear program's, last bits of which other processors change
        return (
            None
            if math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-12)
            else f"{where}: expected {theirs}, got {ours}"
        )
    if near and isinstance(ours, float):
        same = abs(ours - theirs) <= max(ATOL, near) + near * abs(theirs)
        return None if same else f"{where}: expected {theirs}, got {ours}"
    return None if ours == theirs else f"{where}: expected {theirs!r}, got {ours!r}"


def _compare_npz(ours: Path, theirs: Path) -> str | None:
    with np.load(ours) as a, np.load(theirs) as b:
        if a.files != b.files:
            return f"expected {b.files}, got {a.files}"
        for key in a.files:
            near = HALF_TOLERANCE if a[key].dtype == np.float16 else RTOL
            exact = a[key].dtype.kind != "f" or "/input/" in key
            same = np.array_equal(a[key], b[key]) if exact else np.allclose(a[key], b[key], rtol=near, atol=near)
            if a[key].dtype != b[key].dtype or not same:
                return f"{key}: expected other values"
    return None


def _compare_onnx(ours: Path, theirs: Path) -> str | None:
    a, b = (_stripped(onnx.load(file)) for file in (ours, theirs))
    for field in ("metadata", "opset", "inputs", "outputs", "weights", "nodes"):
        if a[field] != b[field]:
            pairs = zip(a[field], b[field], strict=False)
            one = next(((x, y) for x, y in pairs if x != y), (len(a[field]), len(b[field])))
            return f"{field}: expected {str(one[1])[:300]}, got {str(one[0])[:300]}"
    return None


def _stripped(model: onnx.ModelProto) -> Mapping[str, list[str]]:
    """Everything that a model says, as texts, bodies of branches included; large ones as their bytes."""
    metadata = {p.key: p.value for p in model.metadata_props}
    told = _plain(json.loads(metadata.pop(METADATA_KEY, "null")))
    found: dict[str, list[str]] = {
        "metadata": [json.dumps(told), *sorted(map(str, metadata.items()))],
        "opset": [*sorted(f"{o.domain} {o.version}" for o in model.opset_import), str(model.ir_version)],
    }
    found |= {"inputs": [], "outputs": [], "weights": [], "nodes": []}
    _read_graph(model.graph, "", found)
    return found | {"nodes": sorted(found["nodes"])}  # onnxruntime's quantiser writes them in any order that works


def _read_graph(graph: onnx.GraphProto, where: str, found: dict[str, list[str]]) -> None:
    found["inputs"] += [f"{where}{value}" for value in graph.input]
    found["outputs"] += [f"{where}{value}" for value in graph.output]
    for tensor in sorted(graph.initializer, key=lambda t: t.name):
        array = onnx.numpy_helper.to_array(tensor)
        calibrated = array.dtype == np.float32 and tensor.name.endswith("_scale")
        content = [f"{x:.3e}" for x in array.ravel()] if calibrated else array.tobytes().hex()
        found["weights"].append(f"{where}{tensor.name} {array.dtype} {array.shape} {content}")
    for node in graph.node:
        plain = [a for a in node.attribute if not a.HasField("g")]
        called = f"{where}{node.domain} {node.op_type} {node.name} {list(node.input)} {list(node.output)}"
        found["nodes"].append(called + "".join(sorted(map(str, plain))))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _read_graph(attribute.g, f"{where}{node.name}.{attribute.name}: ", found)


def _compare_ort(ours: Path, theirs: Path) -> str | None:
    """Another onnxruntime may optimise otherwise: what the file says about itself must be the same."""
    a, b = (_told_by_ort(file) for file in (ours, theirs))
    return _first(a, b, "")


def _told_by_ort(file: Path) -> Any:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    manifest = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    values = [[v.name, v.type, v.shape] for v in (*session.get_inputs(), *session.get_outputs())]
    return [_plain(manifest), values]


_COMPARERS = {".json": _compare_json, ".npz": _compare_npz, ".onnx": _compare_onnx, ".ort": _compare_ort}
