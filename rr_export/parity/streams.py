"""Point 2, bit for bit: with the same seed the file and the eager model take the same path."""

from __future__ import annotations

import numpy as np

from rr_export.parity.compare import Comparison
from rr_export.parity.paths import Progress
from rr_export.parity.report import Check
from rr_export.parity.subject import Eager, File, RoutingSlice
from rr_runtime.draws import draws

EAGER_SEEDS = (*range(30), 2**31, 2**63 - 1)
SLICE_SEEDS = 2000


def check_streams(
    eager: Eager, file: File, routing: RoutingSlice, *, rtol: float, atol: float, progress: Progress
) -> Check:
    """Compares whole runs for some seeds, and the file's routing slice with the plan for many more."""
    if file.interface in ("standalone", "plain"):
        return Check("streams", None, f"a {file.interface} file takes no seed")
    comparison = Comparison(rtol, atol)
    failures: list[str] = []
    for number, seed in enumerate(EAGER_SEEDS):
        progress("streams", number, len(EAGER_SEEDS))
        expected, got = eager.on_seed(seed), file.on_seed(eager.inputs, seed)
        if not np.array_equal(expected.path, got.path):
            failures.append(f"seed {seed}: expected path {expected.path.tolist()}, got {got.path.tolist()}")
        else:
            comparison.add(f"seed {seed}", expected.outputs, got.outputs)
    plan = file.plan
    with routing.open() as decide:
        for seed in range(SLICE_SEEDS):
            routes = plan.routes(draws(seed, len(plan.sites)))
            expected_both, got_both = np.stack([routes, plan.taken(routes)]), decide(seed)
            if not np.array_equal(expected_both[1], got_both[1]):
                failures.append(f"seed {seed}: expected path {expected_both[1].tolist()}, got {got_both[1].tolist()}")
    failures += comparison.failures
    return Check(
        "streams",
        not failures,
        f"paths of {len(EAGER_SEEDS)} seeds in whole runs and of {SLICE_SEEDS} seeds in the routing slice, bit for bit",
        tuple(failures),
        {"whole_runs": len(EAGER_SEEDS), "slice_runs": SLICE_SEEDS, "largest_difference": comparison.worst},
    )
