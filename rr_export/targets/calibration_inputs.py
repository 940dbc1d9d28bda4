"""What the quantiser is shown: the caller's inputs in the sizes of the target, on paths that reach every branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rr_export.errors import PackageError
from rr_export.laws.plan import Plan
from rr_export.targets.package_request import Arrays, PackageRequest
from rr_export.targets.sizes import cut_to_sizes
from rr_runtime.arguments import check_inputs
from rr_runtime.draws import draws
from rr_runtime.manifest import Manifest

PATHS = 128  # paths that each input is run on, more where that many do not reach every branch
RUNS = 1024  # of inputs on paths


def calibration_inputs(request: PackageRequest) -> list[Arrays]:
    """Returns the inputs to calibrate with, in the sizes of the target; [] where nothing is quantised.

    Raises:
        PackageError: there are none.
        TypeError, ValueError: one has a wrong name, dtype or shape.
    """
    if request.activation_bits is None:
        return []
    bundle, given = request.bundle, request.calibration
    if isinstance(given, Mapping):
        raise TypeError(
            "calibration: expected a list of inputs, each a mapping of names to arrays, got one mapping; "
            "write calibration=[{...}]"
        )
    if given is None:
        given = [bundle.golden[0].inputs] if bundle.golden else []
    if not given:
        raise PackageError(
            "calibration: expected inputs for precision 'qdq', got none, and the bundle has no golden cases; pass "
            "calibration=[{...}] (--calibration FILE.npz)"
        )
    rows = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    declared = Manifest.parse(bundle.manifest)
    checked = []
    for number, inputs in enumerate(given):
        try:
            checked.append(check_inputs(inputs, declared.inputs, declared.axes))
        except (TypeError, ValueError) as error:
            raise type(error)(f"calibration[{number}]: {error}") from error
    return [piece for inputs in checked for piece in cut_to_sizes(inputs, rows, request.sizes)]


def calibration_runs(feeds: Sequence[Arrays], plan: Plan) -> list[tuple[Arrays, tuple[int, ...]]]:
    """Returns inputs with paths: all pairs where they are few, else every input and every path at least once."""
    paths = _covering(plan)
    if len(feeds) * len(paths) <= RUNS:
        return [(inputs, path) for inputs in feeds for path in paths]
    count = max(RUNS, len(feeds), len(paths))
    return [(feeds[i % len(feeds)], paths[(i + i // len(feeds)) % len(paths)]) for i in range(count)]


def _covering(plan: Plan) -> list[tuple[int, ...]]:
    """Returns reported paths that reach every branch: all, or a pairwise covering set and paths that seeds draw."""
    if not plan.sites:
        return [()]
    if plan.path_count() <= PATHS:
        return list(plan.paths())
    drawn = [tuple(plan.taken(plan.routes(draws(seed, len(plan.sites)))).tolist()) for seed in range(PATHS)]
    covering = plan.covering()
    return list(dict.fromkeys([*covering, plan.most_probable(), *drawn]))[: max(PATHS, len(covering))]
