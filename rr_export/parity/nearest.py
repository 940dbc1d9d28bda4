"""On every path a file is nearer to the original on that path than on any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rr_export.parity.compare import Arrays
from rr_export.parity.paths import paths_to_compare
from rr_export.parity.subject import Forced, Reference
from rr_export.parity.terms import Terms
from rr_export.report.report import Check

NUMBERS = 4096  # of each output that the nearest path is told by


def check_nearest(
    original: Reference,
    file: Forced,
    terms: Terms,
    *,
    paths: Sequence[tuple[int, ...]] | None = None,
) -> Check:
    """On every path the file is nearer to the original on that path than on any other: a tolerance hides no swap."""
    if paths is None:
        paths, _, _ = paths_to_compare(file.plan, terms.max_paths)
    expected = np.stack([_numbers(original.on_path(p).outputs) for p in paths])
    failures: list[str] = []
    worst = 0.0
    for i, path in enumerate(paths):
        terms.progress("nearest", i, len(paths))
        got = _numbers(file.on_path(original.inputs, path).outputs)
        if got.shape != expected[i].shape:
            failures.append(f"path {list(path)}: expected {expected[i].size} numbers, got {got.size}")
            continue
        apart = np.linalg.norm(expected - got, axis=1)
        others = (expected != expected[i]).any(axis=1)
        if not others.any():
            continue
        nearest = int(np.flatnonzero(others)[apart[others].argmin()])
        if apart[i] > 0:  # nothing is more than 1e9 times as far
            worst = max(worst, float(apart[i] / max(apart[nearest], 1e-9 * apart[i])))
        if not apart[i] < apart[nearest]:
            failures.append(f"path {list(path)}: expected the original's outputs, got nearer to {list(paths[nearest])}")
    return Check(
        "nearest",
        not failures,
        f"on each of {len(paths)} paths nearer to the original on that path than on any other: at most {worst:.2g} as "
        f"far (by {expected.shape[1]} numbers)",
        tuple(failures),
        {"paths": len(paths), "largest_ratio": worst, "numbers": expected.shape[1]},
    )


def _numbers(outputs: Arrays) -> NDArray[np.float64]:
    """Numbers of all outputs as one vector, of a large one some everywhere in it.

    What is not finite counts as 0: the paths' own check holds it.
    """
    parts = [a.ravel() for a in outputs.values() if a.dtype.kind in "fiub"]
    picked = [p[np.linspace(0, p.size - 1, NUMBERS).astype(int)] if p.size > NUMBERS else p for p in parts]
    joined = np.concatenate([np.zeros(0), *(p.astype(np.float64) for p in picked)])
    return np.asarray(np.nan_to_num(joined, posinf=0, neginf=0))
