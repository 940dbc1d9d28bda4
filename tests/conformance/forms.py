"""Which targets, forms of the same model for one provider, a case holds beside its default file; one line per case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rr_export as rr
from rr_export.targets.provider_table import find_target
from tests.conformance.specs import Spec

# How each is packaged, by the target's name; sizes are added where its provider wants static shapes.
FORMS: Mapping[str, Mapping[str, Any]] = {
    "cuda": {"target": "cuda"},
    "openvino": {"target": "openvino"},
    "webgpu": {"target": "webgpu"},
    "xnnpack": {"target": "xnnpack"},
    "qnn": {"target": "qnn"},
    "qnn-if": {"target": "qnn", "form": "routed", "name": "qnn-if"},  # computed wrongly there: shows the fault
    "nnapi": {"target": "nnapi"},
    "coreml": {"target": "coreml"},
    "cuda-half": {"target": "cuda", "precision": "float16", "name": "cuda-half"},
    "qnn-qdq": {"target": "qnn", "precision": "qdq", "name": "qnn-qdq"},
    "coreml-ort": {"target": "coreml", "format": "ort", "name": "coreml-ort"},
    "frozen": {"target": "cpu", "frozen": 3, "name": "frozen"},
    "frozen-qnn": {"target": "qnn", "frozen": 2, "name": "frozen-qnn"},
}
_MAIN = ("cuda", "openvino", "qnn")
TARGETS: Mapping[str, tuple[str, ...]] = {
    "layer": (
        *_MAIN,
        "webgpu",
        "xnnpack",
        "nnapi",
        "coreml",
        "frozen",
        "frozen-qnn",
        "cuda-half",
        "qnn-qdq",
        "coreml-ort",
    ),
    "operation": (*_MAIN, "xnnpack"),
    "parameter": _MAIN,
    "nested2": (*_MAIN, "xnnpack", "frozen"),
    "nested3": (*_MAIN, "coreml"),
    "chain": ("cuda", "qnn"),
    "chain-unreached": (*_MAIN, "frozen"),
    "everything": _MAIN,
    "outputs": _MAIN,
    "shared": _MAIN,
    "idle": ("cuda", "qnn"),
    "tree": _MAIN,
    "zero": (*_MAIN, "frozen"),
    "dynamic": (*_MAIN, "webgpu", "coreml"),
    "static": (*_MAIN, "xnnpack", "cuda-half"),
    "words": (*_MAIN, "xnnpack"),
    "whole": _MAIN,
    "half": _MAIN,
    "images": (*_MAIN, "xnnpack", "nnapi", "coreml", "frozen", "qnn-qdq"),
    "convs": ("qnn", "qnn-if"),
    "gru": _MAIN,
    "lstm": ("cuda", "qnn"),
    "host": ("cuda", "qnn"),
    "host-nested": ("cuda",),
    "plain": ("cuda", "qnn"),
    "external": (*_MAIN, "xnnpack", "frozen"),
    "int8": ("cuda",),
}


def arguments_of(spec: Spec, target: str, bundle: rr.Bundle) -> dict[str, Any]:
    """Returns the arguments of ``package``; fixed sizes are those of the case's arguments."""
    arguments = dict(FORMS[target])
    if find_target(arguments["target"]).static:
        shapes = [row["shape"] for row in bundle.manifest["inputs"]]
        sized = [p for shape, arg in zip(shapes, spec.args, strict=True) for p in zip(shape, arg.shape, strict=True)]
        arguments["sizes"] = {name: size for name, size in sized if isinstance(name, str)}
    return arguments
