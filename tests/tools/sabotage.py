"""Bundles that are spoilt on purpose, with hashes that are right again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import helper


def spoil_golden(source: Path, folder: Path) -> Path:
    """A bundle whose first golden output is not what the model computes."""
    shutil.copytree(source, folder)
    with np.load(folder / "golden.npz") as archive:
        arrays = dict(archive)
    name = next(key for key in arrays if key.startswith("0/output/"))
    arrays[name] = arrays[name] + np.float32(1)
    np.savez(folder / "golden.npz", **arrays)
    return reseal(folder)


def forget_operator(folder: Path, file: str) -> Path:
    """One file of the bundle has an operator that no onnxruntime knows."""
    model = onnx.load(folder / file, load_external_data=False)
    model.graph.node[0].op_type = "Nonsense"
    (folder / file).write_bytes(model.SerializeToString())
    return reseal(folder)


def compute_outside(source: Path, folder: Path, *, keep_scopes: bool, named: bool = True) -> Path:
    """A bundle of whose sites all branches are computed in every run: the bodies only hand on what is there."""
    shutil.copytree(source, folder)
    model = onnx.load(folder / "model.onnx")
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type == "If":
            for attribute in node.attribute:
                body = attribute.g
                model.graph.initializer.extend(body.initializer)
                model.graph.node.extend(body.node)
                del body.node[:], body.initializer[:]
                for output in body.output:
                    name = f"{node.name}/{attribute.name}/{output.name}" if named else ""
                    body.node.append(helper.make_node("Identity", [output.name], [f"{output.name}.out"], name=name))
                    output.name = f"{output.name}.out"
        model.graph.node.append(node)
    if not keep_scopes:
        for node in model.graph.node:
            kept = [entry for entry in node.metadata_props if entry.key != "rr.scope"]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)
    onnx.save(model, folder / "model.onnx")
    return reseal(folder)


def reseal(folder: Path) -> Path:
    """The manifest has the sizes and hashes of the files as they are now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, record in manifest["files"].items():
        content = (folder / name).read_bytes()
        record |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
