"""The golden cases that a target needs so that something can be compared on it: at its sizes, on paths that it has."""

from __future__ import annotations

import itertools
import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.contents import GoldenCase
from rr_export.laws.runs_to_record import RunToRecord, run_of_seed, runs_to_record
from rr_export.targets.marks import mark_sites
from rr_export.targets.package_request import Arrays, PackageRequest
from rr_export.targets.reroute import reroute
from rr_export.targets.sizes import cut_to_sizes, fixed_shape
from rr_runtime import Session
from rr_runtime.arguments import check_inputs
from rr_runtime.draws import draws
from rr_runtime.errors import RuntimeFailure
from rr_runtime.manifest import Manifest
from rr_runtime.target import DEFAULT

MOST_FROZEN = 16  # frozen paths, the likeliest ones, that have a run each
GoldenWanted = int | Iterable[Arrays] | None


def golden_wanted(golden: GoldenWanted, bundle: Bundle) -> int | Sequence[Arrays] | None:
    """Returns how many runs are asked for, or checked inputs to record them on, or None where nothing is asked for.

    Raises:
        TypeError: it is neither a number nor a list of inputs, or an input has another dtype.
        ValueError: an input has a wrong name or shape, there is none, or too few runs are asked for.
    """
    if golden is None:
        return None
    if isinstance(golden, bool | str | bytes | Mapping):
        raise TypeError(
            f"golden: expected how many runs, or a list of inputs, got {type(golden).__name__}; write golden=[{{...}}]"
        )
    if not isinstance(golden, Iterable):
        count = operator.index(golden)
        if count < 1:
            raise ValueError(f"golden: expected at least 1 run for the target, got {count}; pass how many")
        if not bundle.golden:
            raise ValueError("golden: expected inputs, as the bundle has no golden cases, got a number; pass some")
        return count
    told = Manifest.parse(bundle.manifest)
    found: list[Arrays] = []
    for number, inputs in enumerate(golden, 1):
        try:
            found.append(check_inputs(inputs, told.inputs, told.axes))
        except (TypeError, ValueError) as error:
            raise type(error)(f"golden: your input {number}: {error}") from error
    if not found:
        raise ValueError("golden: expected at least one input, got none; leave it away")
    return found


def golden_runs(request: PackageRequest, about: Mapping[str, Any]) -> list[GoldenCase]:
    """Returns the golden cases to add to the bundle for its new target; [] where it has what the target can run.

    By default they are the recorded runs again, on inputs cut or repeated to the target's sizes, and a run of each of
    the likeliest frozen paths that none of them takes; all as the bundle's own model answers them on the CPU.

    Args:
        request: what was asked for.
        about: what the manifest says about the target.
    """
    bundle, rows = request.bundle, _rows(request.bundle)
    fitting = [case for case in bundle.golden if _fits(case, rows, request.sizes)]
    frozen = {tuple(row["path"]): row["weight"] for row in about.get("paths", ())}
    if request.golden is not None:
        return _answered(bundle, _wanted(request, rows, fitting, frozen))
    if not bundle.golden:
        warnings.warn(
            f"package: expected a bundle with golden cases, got none; target {request.name!r} has no run to be "
            "compared with on a device, pass inputs for some: golden=[{...}] (--golden FILE.npz)",
            stacklevel=3,
        )
        return []
    cases = [] if fitting else _resized(_family(bundle), rows, request.sizes)
    taken = {case.taken for case in fitting or cases}
    inputs = (fitting or cases)[0].inputs
    for path in _likeliest(frozen):
        if path not in taken:
            cases.append(GoldenCase(None, path, path, inputs, {}, "frozen path"))
    return _answered(bundle, cases)


def golden_on_path(bundle: Bundle, path: tuple[int, ...]) -> list[GoldenCase]:
    """Returns the bundle's golden cases on a path; where it has none, a run of its own model on its first inputs."""
    found = [case for case in bundle.golden if case.taken == path]
    if found or not bundle.golden:
        return found
    return _answered(bundle, [GoldenCase(None, path, path, bundle.golden[0].inputs, {}, "the frozen path")])


def _wanted(
    request: PackageRequest,
    rows: Mapping[str, Sequence[int | str]],
    fitting: Sequence[GoldenCase],
    frozen: Mapping[tuple[int, ...], float],
) -> list[GoldenCase]:
    """The runs that were asked for, without answers."""
    asked, plan = request.golden, request.bundle.plan
    if isinstance(asked, int):
        pool = [case.inputs for case in fitting] or [
            c.inputs for c in _resized(_family(request.bundle), rows, request.sizes)
        ]
        pool = list({id(inputs): inputs for inputs in pool}.values())
    else:
        pool = [cut_to_sizes(inputs, rows, request.sizes)[0] for inputs in asked or ()]
    runs = [RunToRecord("frozen path", None, path) for path in _likeliest(frozen)] if frozen else runs_to_record(plan)
    count = asked if isinstance(asked, int) else max(len(runs), len(pool))
    if not plan.sites:
        runs = runs * len(pool)
    elif frozen:
        runs = runs * -(-count // len(runs))
    else:
        runs = [*runs, *map(run_of_seed, itertools.islice(itertools.count(2), max(0, count - len(runs))))]
    named = not isinstance(asked, int)
    return [
        GoldenCase(
            run.seed,
            run.path,
            run.path if run.path is not None else _path_of_seed(request.bundle, run.seed),
            pool[number % len(pool)],
            {},
            run.why + (f", your input {number % len(pool) + 1}" if named else ""),
        )
        for number, run in enumerate(runs[:count])
    ]


def _path_of_seed(bundle: Bundle, seed: int | None) -> tuple[int, ...]:
    plan = bundle.plan
    return () if seed is None else tuple(plan.taken(plan.routes(draws(seed, len(plan.sites)))).tolist())


def _likeliest(frozen: Mapping[tuple[int, ...], float]) -> list[tuple[int, ...]]:
    return sorted(frozen, key=lambda path: -frozen[path])[:MOST_FROZEN]


def _family(bundle: Bundle) -> list[GoldenCase]:
    """The golden cases whose inputs have the sizes of the first one's."""
    shapes = {name: array.shape for name, array in bundle.golden[0].inputs.items()}
    return [case for case in bundle.golden if {n: a.shape for n, a in case.inputs.items()} == shapes]


def _rows(bundle: Bundle) -> dict[str, Sequence[int | str]]:
    return {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}


def _fits(case: GoldenCase, rows: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]) -> bool:
    """Whether a run's inputs have these sizes."""
    return all(
        not isinstance(size, int) or size == found
        for name, shape in rows.items()
        for size, found in zip(fixed_shape(shape, sizes), case.inputs[name].shape, strict=True)
    )


def _resized(
    cases: Sequence[GoldenCase], rows: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]
) -> list[GoldenCase]:
    """The cases on inputs cut or repeated to these sizes, without answers; what they share they still share."""
    cut = {id(case.inputs): cut_to_sizes(case.inputs, rows, sizes)[0] for case in cases}
    return [replace(case, inputs=cut[id(case.inputs)], outputs={}) for case in cases]


def _answered(bundle: Bundle, cases: Sequence[GoldenCase]) -> list[GoldenCase]:
    """Returns the cases with what the bundle's own model gives on their inputs and paths."""
    if not cases:
        return []
    try:
        with _forcible(bundle).folder() as folder:
            session = Session(folder, target=DEFAULT)
            paths = [list(case.taken) if session.engine.routed else None for case in cases]
            found = [session.run(case.inputs, path=path) for case, path in zip(cases, paths, strict=True)]
    except (RuntimeFailure, TypeError, ValueError) as error:
        warnings.warn(
            f"package: expected golden cases that can be cut or repeated to the target's sizes, got {error}; the "
            "target has no run to be compared with on a device, record some with golden=[{...}] (--golden FILE.npz)",
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
