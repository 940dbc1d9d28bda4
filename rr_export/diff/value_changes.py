"""What changed in what two bundles give, and in how long they take for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rr_export.bundle.bundle import Bundle
from rr_export.parity.compare import Arrays
from rr_export.parity.data_check import check_data
from rr_export.parity.subject import File, Original
from rr_export.parity.terms import Terms
from rr_export.report.changes import Aspect
from rr_runtime import Session
from rr_runtime.target import DEFAULT

NO_INPUTS = "expected inputs, got none: neither has golden cases, and there are no data; give some (data=, --data)"
WARM = 5  # runs that are not timed
SAME_LATENCY = 0.05  # share by which medians may differ and be called the same


def compare_outputs(
    before: tuple[Bundle, Path], after: tuple[Bundle, Path], inputs: Sequence[Arrays], terms: Terms
) -> Aspect:
    """Returns how far outputs agree on some inputs, on the same paths."""
    why = _not_comparable(before[0], after[0]) or ("" if inputs else NO_INPUTS)
    if why:
        return Aspect("outputs", None, why)
    old, new = (File(folder, bundle) for bundle, folder in (before, after))
    check = check_data((Original(old, given) for given in inputs), new, terms)
    return Aspect("outputs", not check.passed, check.summary, check.failures, check.figures)


def compare_latency(
    before: tuple[Bundle, Path], after: tuple[Bundle, Path], inputs: Sequence[Arrays], *, runs: int
) -> Aspect:
    """Returns the law of latency over paths of both, timed in turns on one thread.

    Args:
        before: a bundle, with the folder of its files.
        after: alike.
        inputs: of which both are fed the first.
        runs: how many are timed, each on the path of another seed.
    """
    if before[0].manifest["inputs"] != after[0].manifest["inputs"]:
        return Aspect("latency", None, "they take other inputs")
    if not inputs:
        return Aspect("latency", None, NO_INPUTS)
    sessions = [Session(folder, target=DEFAULT, threads=1) for _, folder in (before, after)]
    seeded = [session.manifest.interface in ("explicit", "host") for session in sessions]
    times = np.zeros((runs, 2))
    for number in range(-WARM, runs):
        for side in (0, 1) if number % 2 else (1, 0):
            seed = number + WARM if seeded[side] else None
            start = time.perf_counter()
            sessions[side].run(inputs[0], seed=seed)
            if number >= 0:
                times[number, side] = time.perf_counter() - start
    quantiles = np.quantile(times, [0.1, 0.5, 0.9], axis=0) * 1e3
    ratio = float(quantiles[1, 1] / quantiles[1, 0])
    told = ["/".join(f"{q:.3g}" for q in quantiles[:, side]) for side in (0, 1)]
    summary = f"{told[0]} -> {told[1]} ms (10/50/90 % of {runs} runs), median x {ratio:.3f}"
    figures = {"before_ms": quantiles[:, 0].tolist(), "after_ms": quantiles[:, 1].tolist(), "ratio": ratio}
    return Aspect("latency", abs(ratio - 1) > SAME_LATENCY, summary, (), figures)


def _not_comparable(before: Bundle, after: Bundle) -> str:
    """Why outputs cannot be compared path by path; "" where they can."""
    for what, key in (("sites", "sites"), ("inputs", "inputs"), ("outputs", "outputs")):
        one, other = ([row["name"] for row in bundle.manifest[key]] for bundle in (before, after))
        if one != other:
            return f"they have other {what}: no path of one is a path of the other"
    branches = [[len(site.branches) for site in bundle.plan.sites] for bundle in (before, after)]
    return "" if branches[0] == branches[1] else "their sites have other numbers of branches"
