"""The golden cases that a target needs so that something can be compared on it: at its sizes, on a path that it has."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.contents import GoldenCase
from rr_export.targets.marks import mark_sites
from rr_export.targets.package_request import PackageRequest
from rr_export.targets.reroute import reroute
from rr_export.targets.sizes import cut_to_sizes, fixed_shape
from rr_runtime import Session
from rr_runtime.errors import RuntimeFailure
from rr_runtime.target import DEFAULT


def golden_runs(request: PackageRequest, about: Mapping[str, Any]) -> list[GoldenCase]:
    """Returns the golden cases to add to the bundle for its new target; [] where it has some that the target can run.

    They are the recorded runs again, on inputs cut or repeated to the target's sizes, as the bundle's own model answers
    them on the CPU; where the target has frozen paths and none of them was recorded, a run of the likeliest one.

    Args:
        request: what was asked for.
        about: what the manifest says about the target.
    """
    bundle, rows = request.bundle, _rows(request.bundle)
    if not bundle.golden:
        return []
    shapes = {name: array.shape for name, array in bundle.golden[0].inputs.items()}
    first = [case for case in bundle.golden if {n: a.shape for n, a in case.inputs.items()} == shapes]
    fitting = [case for case in bundle.golden if _fits(case, rows, request.sizes)]
    cases = [] if fitting else [_resized(case, rows, request.sizes) for case in first]
    paths = {tuple(row["path"]): row["weight"] for row in about.get("paths", ())}
    if paths and not any(case.taken in paths for case in fitting or cases):
        likeliest = max(paths, key=lambda path: paths[path])
        inputs = fitting[0].inputs if fitting else cases[0].inputs
        cases.append(GoldenCase(None, likeliest, likeliest, inputs, {}))
    return _answered(bundle, cases) if cases else []


def _rows(bundle: Bundle) -> dict[str, Sequence[int | str]]:
    return {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}


def _fits(case: GoldenCase, rows: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]) -> bool:
    """Whether a run's inputs have these sizes."""
    return all(
        not isinstance(size, int) or size == found
        for name, shape in rows.items()
        for size, found in zip(fixed_shape(shape, sizes), case.inputs[name].shape, strict=True)
    )


def _resized(case: GoldenCase, rows: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]) -> GoldenCase:
    return replace(case, inputs=cut_to_sizes(case.inputs, rows, sizes)[0], outputs={})


def _answered(bundle: Bundle, cases: Sequence[GoldenCase]) -> list[GoldenCase]:
    """Returns the cases with what the bundle's own model gives on their inputs and paths."""
    try:
        with _forcible(bundle).folder() as folder:
            session = Session(folder, target=DEFAULT)
            paths = [list(case.taken) if session.engine.routed else None for case in cases]
            found = [session.run(case.inputs, path=path) for case, path in zip(cases, paths, strict=True)]
    except (RuntimeFailure, TypeError, ValueError) as error:
        warnings.warn(
            f"package: expected golden cases that can be cut or repeated to the target's sizes, got {error}; the "
            "target has no run to be compared with on a device, record some yourself",
            stacklevel=4,
        )
        return []
    return [replace(case, outputs=result.outputs) for case, result in zip(cases, found, strict=True)]


def _forcible(bundle: Bundle) -> Bundle:
    """Returns the bundle; one whose file draws by itself in a form that takes a path."""
    if bundle.manifest["interface"] != "standalone":
        return bundle
    model = bundle.model.clone()
    mark_sites(model, bundle.plan, bundle.manifest.get("idle", ()))
    return Bundle(reroute(model, bundle.plan, "host"), {**bundle.manifest, "interface": "host"})
