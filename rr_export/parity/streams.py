"""Point 2, bit for bit: with the same seed, and with any routes forced, file and eager model take the same path."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.lowering.deciding_slice import RoutingSlice
from rr_export.parity.paths import told_nothing
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Answer, Candidate, Reference
from rr_export.parity.terms import Progress, Terms
from rr_export.report.report import Check
from rr_runtime.draws import draws

EAGER_SEEDS = (*range(30), 2**31, 2**63 - 1)
MIXED_SEEDS = range(100, 108)  # whole runs with some routes forced and the others drawn
FREE_RUNS = 4  # whole runs by the random node
SLICE_SEEDS = 2000  # every other one small, the others anywhere
MIXED_SLICE_SEEDS = 500


def check_streams(eager: Reference, file: Candidate, routing: RoutingSlice, terms: Terms) -> Check:
    """Compares whole runs for some seeds, and the file's routing slice with the plan for many more."""
    if file.interface in ("standalone", "plain"):
        return Check("streams", None, f"a {file.interface} file takes no seed")
    comparison = terms.comparison()
    failures: list[str] = []
    runs = list(_whole_runs(eager, file, terms.progress))
    for where, expected, got in runs:
        if not np.array_equal(expected.path, got.path):
            failures.append(f"{where}: expected path {expected.path.tolist()}, got {got.path.tolist()}")
        else:
            unless = rounding(eager, expected, got, expected.path.tolist()) if terms.rounds else None
            case = (eager, expected.path.tolist())
            comparison.add(where, expected.outputs, got.outputs, unless=unless, case=case)
    failures += _slice_failures(file.plan, routing) + comparison.failures
    return Check(
        "streams",
        not failures,
        f"paths of {len(runs)} whole runs (seeds; seeds with some routes forced"
        f"{'; the random node' if routing.has_random_node else ''}) and of {SLICE_SEEDS + MIXED_SLICE_SEEDS} runs "
        "of the routing slice, bit for bit" + told_nothing(comparison.rounded),
        tuple(failures),
        {
            "whole_runs": len(runs),
            "slice_runs": SLICE_SEEDS + MIXED_SLICE_SEEDS,
            "largest_difference": comparison.worst,
        },
        comparison.case,
    )


def _whole_runs(eager: Reference, file: Candidate, progress: Progress) -> Iterator[tuple[str, Answer, Answer]]:
    total = len(EAGER_SEEDS) + len(MIXED_SEEDS)
    for number, seed in enumerate(EAGER_SEEDS):
        progress("streams", number, total)
        yield f"seed {seed}", eager.on_seed(seed), file.on_seed(eager.inputs, seed)
    for number, seed in enumerate(MIXED_SEEDS):
        progress("streams", len(EAGER_SEEDS) + number, total)
        path = mixed_path(file.plan, seed)
        where = f"seed {seed}, path {path.tolist()}"
        expected = eager.on_seed_and_path(seed, path.tolist())
        yield where, expected, file.on_seed(eager.inputs, seed, path.tolist())
    if file.interface == "explicit":
        for _ in range(FREE_RUNS):
            got = file.on_random_node(eager.inputs)
            yield f"random node, path {got.path.tolist()}", eager.on_path(got.path.tolist()), got


def _slice_failures(plan: Plan, routing: RoutingSlice) -> list[str]:
    """Seeds alone, then seeds with some routes forced, among them routes above the last, which are clipped."""
    failures: list[str] = []
    count = len(plan.sites)
    last = np.array([site.policy.branches - 1 for site in plan.sites])
    anywhere = random.Random(0)
    with routing.open() as decide:
        for number in range(SLICE_SEEDS + MIXED_SLICE_SEEDS):
            seed = anywhere.getrandbits(anywhere.randint(12, 63)) if number % 2 else number // 2
            path = mixed_path(plan, number) if number >= SLICE_SEEDS else np.full(count, -1)
            asked = np.where((path == last) & (number % 4 == 0), path + 1 + number % 3, path)
            routes = plan.routes(draws(seed, count), path)
            expected = np.stack([routes, routes if plan.gates else plan.taken(routes)]).tolist()
            try:
                got = decide(seed, asked.tolist()).tolist()
            except Exception as error:  # onnxruntime's own exceptions have no common base
                got = f"{type(error).__name__}: {error}"
            if expected != got:
                failures.append(f"seed {seed}, path {asked.tolist()}: expected routes and path {expected}, got {got}")
    return failures


def mixed_path(plan: Plan, seed: int) -> NDArray[np.int64]:
    """Returns a path, int64 [S], that forces about half of the sites."""
    rng = np.random.default_rng(seed)
    routes = [int(rng.integers(site.policy.branches)) for site in plan.sites]
    return np.where(rng.random(len(routes)) < 0.5, routes, -1)
