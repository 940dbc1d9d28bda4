"""Point 1, exact: the file and the eager model give the same outputs on the same path."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from rr_export.laws.plan import Plan
from rr_export.parity.compare import Comparison
from rr_export.parity.other_sizes import Axes, Bounds, named_sizes, near_sizes, telling_sizes
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Forced, Reference
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_runtime.draws import draws

EXTRA_SEEDS = 32  # seeded random paths beside a covering set
NEAR_SIZES = 2  # sizes of each dynamic axis at which many paths are compared, nearest to the example's
RESIZED_PATHS, FEWER_PATHS = 16, 2  # paths compared at these, and at the other sizes


def paths_to_compare(plan: Plan, max_paths: int) -> tuple[list[tuple[int, ...]], int, bool]:
    """Returns the paths to compare, how many there are in all, and whether these are all of them.

    All, up to ``max_paths``; else a pairwise covering set, the most probable path and seeded random ones.
    """
    total = plan.path_count()
    if total <= max_paths:
        return list(plan.paths()), total, True
    plan, count = plan.evenly(), len(plan.sites)
    random = [plan.taken(plan.routes(draws(seed, count))) for seed in range(EXTRA_SEEDS)]
    chosen = [*plan.covering(), plan.most_probable(), *(tuple(int(r) for r in p) for p in random)]
    return list(dict.fromkeys(chosen)), total, False


def check_paths(
    eager: Reference,
    file: Forced,
    terms: Terms,
    *,
    axes: Axes,
    bounds: Bounds,
    thresholds: Mapping[str, Sequence[int]] | None = None,
    named: Sequence[int] = (),
    paths: Sequence[tuple[int, ...]] | None = None,
) -> Check:
    """Compares names, shapes, dtypes and values path by path, also at other sizes of dynamic axes.

    Args:
        eager: what is right.
        file: what is compared with it.
        terms: what counts as equal, and how much is tried.
        axes: sizes of every input, symbolic ones by name.
        bounds: least and largest size by name.
        thresholds: sizes at which the graph changes, by name; None: two sizes near that of the example are enough.
        named: sizes at which the model's own code may decide.
        paths: all that the file has, where it has not all of the plan's.
    """
    total, every = (len(paths), True) if paths is not None else (0, False)
    if paths is None:
        paths, total, every = paths_to_compare(file.plan, terms.max_paths)
    comparison = terms.comparison()
    for number, path in enumerate(paths):
        terms.progress("paths", number, len(paths))
        _compare(comparison, eager, file, path, "", terms.rounds)
    sizes, untried = _other_sizes(eager, axes, bounds, thresholds, named, paths[0])
    few = evenly_apart(paths, RESIZED_PATHS)
    for number, (chosen, other, near) in enumerate(sizes):
        terms.progress("other sizes", number, len(sizes))
        for path in few if near else evenly_apart(few, FEWER_PATHS):
            _compare(comparison, other, file, path, f" at {chosen}", terms.rounds)
    comparison.failures += [
        f"axis {axis!r}: expected a second size that the model accepts, got none" for axis in untried
    ]
    if not comparison.compared:
        comparison.failures.append("expected outputs to compare, got none")
    shown = "all" if every else "pairwise covering, most probable and seeded random"
    tried = ", ".join(chosen for chosen, _, near in sizes if near)
    others = [chosen for chosen, _, near in sizes if not near]
    return Check(
        "paths",
        not comparison.failures,
        f"{len(paths)} of {total} paths ({shown})"
        + (f", {len(few)} of them also at {tried}" if tried else "")
        + (f", {min(len(few), FEWER_PATHS)} at {len(others)} more sizes" if others else "")
        + f"; {comparison.compared} outputs, largest difference {comparison.worst:.2g} "
        f"({f'{terms.share:.0%} of the deviation' if terms.share else f'rtol {terms.rtol:g}, atol {terms.atol:g}'})"
        + told_nothing(comparison.rounded),
        tuple(comparison.failures),
        {
            "paths": len(paths),
            "of": total,
            "exhaustive": every,
            "outputs": comparison.compared,
            "largest_difference": comparison.worst,
            "rounded": comparison.rounded,
            "other_sizes": [chosen for chosen, _, _ in sizes],
        },
        comparison.case,
    )


def told_nothing(count: int) -> str:
    """Returns how many outputs differ by more than the tolerances, but by rounding alone."""
    return f"; {count} of them by rounding alone, as the model itself where its input is rounded" if count else ""


def _compare(
    comparison: Comparison, eager: Reference, file: Forced, path: Sequence[int], where: str, rounds: bool
) -> None:
    expected = eager.on_path(path)
    try:
        got = file.on_path(eager.inputs, path)
    except Exception as error:  # a file that fails where the model does not is another model
        comparison.failures.append(f"path {list(path)}{where}: expected outputs, got {type(error).__name__}: {error}")
        return
    comparison.add(
        f"path {list(path)}{where}",
        expected.outputs,
        got.outputs,
        unless=rounding(eager, expected, got, path) if rounds else None,
        case=(eager, path),
    )
    if not np.array_equal(expected.path, got.path):
        comparison.failures.append(
            f"path {list(path)}{where}: expected path taken {expected.path.tolist()}, got {got.path.tolist()}"
        )


def _other_sizes(
    eager: Reference,
    axes: Axes,
    bounds: Bounds,
    thresholds: Mapping[str, Sequence[int]] | None,
    named: Sequence[int],
    path: Sequence[int],
) -> tuple[list[tuple[str, Reference, bool]], list[str]]:
    """Other sizes of every named axis that the eager model accepts, and whether they are near the example's.

    Also the axes where none was accepted.
    """
    found: list[tuple[str, Reference, bool]] = []
    untried: list[str] = []
    for label, size in named_sizes(axes, eager.inputs).items():
        limits = bounds.get(label, (None, None))
        near = [(s, eager.resized({label: s}, axes)) for s in near_sizes(size, limits)]
        near = list(itertools.islice(((s, other) for s, other in near if _accepts(other, path)), NEAR_SIZES))
        found += [(f"{label}={s}", other, True) for s, other in near]
        if not near:
            untried.append(label)
        known = {size, *(s for s, _ in near)}
        telling = None if thresholds is None else (*thresholds.get(label, ()), *named)
        wanted = [] if telling is None else telling_sizes(size, limits, telling)
        others = [(s, eager.resized({label: s}, axes)) for s in wanted if s not in known]
        found += [(f"{label}={s}", other, False) for s, other in others if _accepts(other, path)]
    return found, untried


def _accepts(eager: Reference, path: Sequence[int]) -> bool:
    try:
        eager.on_path(path)
    except Exception:  # a size that the eager model itself does not take, for whatever reason
        return False
    return True


def paths_taking_everything(plan: Plan) -> list[tuple[int, ...]]:
    """A few paths that together take every branch that can be reached."""
    chosen: list[tuple[int, ...]] = []
    candidates = plan.covering()
    missing = {(i, r) for path in candidates for i, r in enumerate(path) if r >= 0}
    while missing:
        best = max(candidates, key=lambda path: len(missing & set(enumerate(path))))
        chosen.append(best)
        missing -= set(enumerate(best))
    return chosen


def evenly_apart(paths: Sequence[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    """At most ``count`` of the paths, evenly apart, first and last among them."""
    if len(paths) <= count:
        return list(paths)
    return [paths[i] for i in itertools.islice(dict.fromkeys(np.linspace(0, len(paths) - 1, count).astype(int)), count)]
