"""The forms of a model, one function each: a graph that decides, segments, or frozen paths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from rr_export.bundle.manifest import METADATA_KEY
from rr_export.passes.place_weights import place_weights
from rr_export.passes.share_weights import copy_shared_weights
from rr_export.targets.freeze import freeze_model
from rr_export.targets.frozen_paths import choose_frozen_paths
from rr_export.targets.package_request import PackageRequest
from rr_export.targets.reroute import reroute
from rr_export.targets.sizes import fixed_rows
from rr_export.targets.split import split


@dataclass(frozen=True)
class Form:
    """One form of a model.

    Attributes:
        about: what the manifest says about it, besides what it says about every target.
        models: its models by file name; bytes where they are in ONNX Runtime's own format, and the list of operators
            that these need.
    """

    about: Mapping[str, Any]
    models: Mapping[str, ir.Model | bytes]


def make_form(model: ir.Model, request: PackageRequest) -> Form:
    """Returns the form that is asked for, in float32; the model is consumed.

    Args:
        model: the routed model, every ``If`` of a site marked, its sizes fixed.
        request: what is asked for.
    """
    if request.frozen is not None:
        return _frozen(model, request, request.frozen)
    if request.needs.form == "segments":
        return _segments(model, request)
    return _routed(model, request)


def _routed(model: ir.Model, request: PackageRequest) -> Form:
    """One graph with the provider's interface."""
    plan, needs = request.bundle.plan, request.needs
    interface = "plain"
    if plan.sites:
        assert needs.interface is not None
        interface = needs.interface
        if interface != request.bundle.manifest["interface"]:
            reroute(model, plan, interface)
    if needs.weights == "leaf":
        place_weights(model, deeper_than=0)
        copy_shared_weights(model, deeper_than=0)
    _stamp(model, request, interface=interface)
    file = f"{request.name}.onnx"
    return Form({"form": "routed", "interface": interface, "model": file}, {file: model})


def _segments(model: ir.Model, request: PackageRequest) -> Form:
    """Static files, and the program that walks a path through them."""
    program, models = split(model, request.bundle.plan, request.name)
    return Form({"form": "segments", "program": program}, dict(models))


def _frozen(model: ir.Model, request: PackageRequest, count: int) -> Form:
    """Static files of single paths, and the law by which the runtime chooses among them."""
    law = choose_frozen_paths(request.bundle.plan, count, best=request.best)
    models: dict[str, ir.Model | bytes] = {}
    paths = []
    for number, (path, weight, keep) in enumerate(zip(law.paths, law.weights, law.keeps(), strict=True)):
        file = f"{request.name}.{number}.onnx"
        made = freeze_model(model.clone(), path)
        _stamp(made, request, interface="plain", sites=[], idle=[], frozen={"path": path})
        models[file] = made
        paths.append({"path": list(path), "weight": float(weight), "keep": float(keep), "model": file})
    about = {"form": "frozen", "paths": paths, "thresholds": law.thresholds().astype(float).tolist()}
    return Form({**about, "distance": law.to_json()}, models)


def _stamp(model: ir.Model, request: PackageRequest, **changes: Any) -> None:
    """The model's metadata says what it is, so that it explains itself alone."""
    manifest, sizes = request.bundle.manifest, request.sizes
    rows = {side: fixed_rows(manifest[side], sizes) for side in ("inputs", "outputs")}
    axes = {axis: bounds for axis, bounds in manifest.get("axes", {}).items() if axis not in sizes}
    model.metadata_props[METADATA_KEY] = json.dumps({**manifest, **rows, "axes": axes, **changes})
