"""Point 1, exact: the file and the eager model give the same outputs on the same path."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from rr_export.laws.plan import Plan
from rr_export.parity.compare import Comparison
from rr_export.parity.report import Check
from rr_export.parity.subject import Forced, Reference
from rr_export.parity.terms import Terms
from rr_runtime.draws import draws

EXTRA_SEEDS = 32  # seeded random paths beside a covering set
RESIZED_PATHS = 16  # paths compared at each other size of a dynamic axis


def paths_to_compare(plan: Plan, max_paths: int) -> tuple[list[tuple[int, ...]], int, bool]:
    """Returns the paths to compare, how many there are in all, and whether these are all of them.

    All, up to ``max_paths``; else a pairwise covering set, the most probable path and seeded random ones.
    """
    total = plan.path_count()
    if total <= max_paths:
        return list(plan.paths()), total, True
    count = len(plan.sites)
    random = [plan.taken(plan.routes(draws(seed, count))) for seed in range(EXTRA_SEEDS)]
    chosen = [*plan.covering(), plan.most_probable(), *(tuple(int(r) for r in p) for p in random)]
    return list(dict.fromkeys(chosen)), total, False


def check_paths(
    eager: Reference,
    file: Forced,
    terms: Terms,
    *,
    axes: Mapping[str, Sequence[int | str]],
    bounds: Mapping[str, Sequence[int | None]],
    paths: Sequence[tuple[int, ...]] | None = None,
) -> Check:
    """Compares names, shapes, dtypes and values path by path, also at two other sizes per dynamic axis.

    ``paths`` are all that the file has, where it has not all of the plan's.
    """
    total, every = (len(paths), True) if paths is not None else (0, False)
    if paths is None:
        paths, total, every = paths_to_compare(file.plan, terms.max_paths)
    comparison = terms.comparison()
    for number, path in enumerate(paths):
        terms.progress("paths", number, len(paths))
        _compare(comparison, eager, file, path, "")
    sizes, untried = _other_sizes(eager, axes, bounds, paths[0])
    few = _spread(paths, RESIZED_PATHS)
    for number, (chosen, other) in enumerate(sizes):
        terms.progress("other sizes", number, len(sizes))
        for path in few:
            _compare(comparison, other, file, path, f" at {chosen}")
    comparison.failures += [
        f"axis {axis!r}: expected a second size that the model accepts, got none" for axis in untried
    ]
    if not comparison.compared:
        comparison.failures.append("expected outputs to compare, got none")
    shown = "all" if every else "pairwise covering, most probable and seeded random"
    tried = ", ".join(chosen for chosen, _ in sizes)
    return Check(
        "paths",
        not comparison.failures,
        f"{len(paths)} of {total} paths ({shown})"
        + (f", {len(few)} of them also at {tried}" if tried else "")
        + f"; {comparison.compared} outputs, largest difference {comparison.worst:.2g} "
        f"({f'{terms.share:.0%} of the deviation' if terms.share else f'rtol {terms.rtol:g}, atol {terms.atol:g}'})",
        tuple(comparison.failures),
        {
            "paths": len(paths),
            "of": total,
            "exhaustive": every,
            "outputs": comparison.compared,
            "largest_difference": comparison.worst,
            "other_sizes": [chosen for chosen, _ in sizes],
        },
    )


def _compare(comparison: Comparison, eager: Reference, file: Forced, path: Sequence[int], where: str) -> None:
    expected = eager.on_path(path)
    try:
        got = file.on_path(eager.inputs, path)
    except Exception as error:  # a file that fails where the model does not is another model
        comparison.failures.append(f"path {list(path)}{where}: expected outputs, got {type(error).__name__}: {error}")
        return
    comparison.add(f"path {list(path)}{where}", expected.outputs, got.outputs)
    if not np.array_equal(expected.path, got.path):
        comparison.failures.append(
            f"path {list(path)}{where}: expected path taken {expected.path.tolist()}, got {got.path.tolist()}"
        )


def _other_sizes(
    eager: Reference,
    axes: Mapping[str, Sequence[int | str]],
    bounds: Mapping[str, Sequence[int | None]],
    path: Sequence[int],
) -> tuple[list[tuple[str, Reference]], list[str]]:
    """Two other sizes for every named axis that the eager model accepts; and the axes where none was accepted."""
    known: dict[str, int] = {}
    for name, labels in axes.items():
        known |= {
            lab: eager.inputs[name].shape[i]
            for i, lab in enumerate(labels)
            if isinstance(lab, str) and lab.isidentifier()
        }
    found: list[tuple[str, Reference]] = []
    untried: list[str] = []
    for label, size in known.items():
        accepted = 0
        for other in (size + 1, size - 1, size + 2, size - 2, size + 3):
            least, most = bounds.get(label, (None, None))
            if accepted == 2 or other < (least or 1) or (most is not None and other > most):
                continue
            resized = eager.resized({label: other}, axes)
            try:
                resized.on_path(path)
            except Exception:  # a size that the eager model itself does not take, for whatever reason
                continue
            found.append((f"{label}={other}", resized))
            accepted += 1
        if not accepted:
            untried.append(label)
    return found, untried


def _spread(paths: Sequence[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    """At most ``count`` of the paths, evenly apart, first and last among them."""
    if len(paths) <= count:
        return list(paths)
    return [paths[i] for i in itertools.islice(dict.fromkeys(np.linspace(0, len(paths) - 1, count).astype(int)), count)]
