"""Point 3, statistical: the routes are distributed as the plan says, wherever they are drawn.

Every figure is a count of an event with known probability p among n runs. It is rejected where its two-sided
Chernoff bound ``2 exp(-n KL(k/n || p))`` (Hoeffding 1963, theorem 1) is below the false-alarm rate of one test.
The bound holds for every n, so with the rate divided by the number of tests (Bonferroni) the total is rigorous.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.laws.policies import LAW_TOLERANCE
from rr_export.lowering.deciding_slice import RoutingSlice, threshold_failures
from rr_export.lowering.free_draws import free_draw_failures
from rr_export.parity.compare import Arrays
from rr_export.parity.random_node import FirstRuns
from rr_export.parity.subject import Candidate
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_runtime.draws import fresh_seed

if TYPE_CHECKING:
    from rr_export.parity.eager_model import Eager

FALSE_ALARM = 1e-6  # of one whole verification
OS_RUNS, LONG_RUNS, EAGER_RUNS, WHOLE_RUNS = 10_000, 10_000, 5_000, 16


def check_law(
    eager: Eager | None, file: Candidate, routing: RoutingSlice, drawn: FirstRuns, inputs: Arrays, terms: Terms
) -> Check:
    """Compares marginals, pairs of sites and kept counts with the plan, for every source of routes.

    Without an eager model its own free draws are no source; where its own code draws, the laws that it gives its draws
    are compared with the plan exactly. ``drawn`` waits for first runs by the random node.
    """
    if file.interface == "plain":
        return Check("law", None, "a model without sites has no law")
    plan, gates = file.plan.settled(), list(file.plan.gates)  # the slice is asked for route 0 there
    sources: list[tuple[str, Callable[[], NDArray[np.int64]]]] = []
    failures: list[str] = []
    latents: dict[str, NDArray[np.int64]] = {}
    if file.interface != "standalone":
        sources.append(("file, seeds of the operating system", lambda: _os_seeds(routing)))
    if routing.has_random_node:
        sources.append(("random node, one long run", lambda: _long_run(routing)))
        sources.append(("random node, first run of many sessions", drawn))
    if eager is not None:
        latents["eager free draws"] = _settle(eager.free_routes(EAGER_RUNS), gates)
    for number, (name, sample) in enumerate(sources):
        terms.progress("law", number, len(sources))
        runs = sample()
        latents[name] = runs[:, 0]
        if not gates:  # else the path taken is known at the end of the run only
            failures += [f"{name}: {text}" for text in _reach_failures(plan, runs[:, 0], runs[:, 1])]
    tests = len(latents) * count_tests(plan)
    figures: dict[str, object] = {"false_alarm_rate": FALSE_ALARM, "tests": tests}
    for name, latent in latents.items():
        failures += [f"{name}: {text}" for text in law_failures(plan, latent, FALSE_ALARM / tests)]
        figures[name] = {
            "runs": len(latent),
            "frequencies": [f.round(6).tolist() for f in _frequencies(plan, latent)],
        }
    if eager is not None:
        from rr_export.parity.code_laws import code_law_failures  # with torch, which files are proven without

        failures += _eager_runs(eager, file.plan) + code_law_failures(eager, file, terms.comparison())
    failures += _whole_runs(file, routing, inputs) + threshold_failures(file.plan, routing)
    deciding = ir.from_proto(onnx.load_from_string(routing.content))
    failures += free_draw_failures(deciding, file.interface, len(plan.sites))
    runs_text = ", ".join(f"{name}: {len(latent)}" for name, latent in latents.items())
    return Check(
        "law",
        not failures,
        "draws on either side of every threshold, and the random node's numbers, exactly; marginals, pairs of sites "
        f"and kept counts ({runs_text} runs); {tests} tests, false-alarm rate {FALSE_ALARM:g} in all",
        tuple(failures),
        figures,
    )


def count_tests(plan: Plan) -> int:
    """Returns how many events :func:`law_failures` tests."""
    branches = np.array([site.policy.branches for site in plan.sites])
    total = int(branches.sum())
    return total + (total**2 - int((branches**2).sum())) // 2 + len(branches) + 1


def law_failures(plan: Plan, latent: NDArray[np.int64], rate: float) -> list[str]:
    """Returns one sentence per event whose frequency among the runs contradicts the plan.

    Args:
        plan: the law.
        latent: int64 [runs, S], latent routes.
        rate: false-alarm rate of one test.
    """
    runs, count = latent.shape
    failures: list[str] = []
    for i, law in enumerate(plan.marginals()):
        seen = np.bincount(latent[:, i], minlength=len(law))
        failures += [
            f"site {plan.sites[i].name!r}: expected route {k} with probability {law[k]:.6g}, got {seen[k] / runs:.6g}"
            for k in rejected(seen, law, runs, rate)
        ]
    for i in range(count):
        for j in range(i + 1, count):
            law = plan.joint(i, j)
            seen = np.bincount(latent[:, i] * law.shape[1] + latent[:, j], minlength=law.size)
            failures += [
                f"sites {plan.sites[i].name!r} and {plan.sites[j].name!r}: expected routes "
                f"{divmod(int(k), law.shape[1])} with probability {law.flat[k]:.6g}, got {seen[k] / runs:.6g}"
                for k in rejected(seen, law.ravel(), runs, rate)
            ]
    law = plan.kept_counts()
    seen = np.bincount((latent != 0).sum(axis=1), minlength=len(law))
    failures += [
        f"kept sites: expected {k} with probability {law[k]:.6g}, got {seen[k] / runs:.6g}"
        for k in rejected(seen, law, runs, rate)
    ]
    return failures


def deviation(seen: float | NDArray[np.float64], law: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns KL(seen || law) of two Bernoulli laws, in nats; infinite where the impossible was seen."""
    q, p = np.asarray(seen, dtype=np.float64), np.asarray(law, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(q > 0, q * np.log(q / p), 0.0)
        second = np.where(q < 1, (1 - q) * np.log((1 - q) / (1 - p)), 0.0)
    return np.asarray(first + second)


def rejected(seen: NDArray[np.int64], law: NDArray[np.float64], runs: int, rate: float) -> list[int]:
    """Returns which events contradict every law within the tolerance of float32 thresholds.

    Args:
        seen: int64 [E], how often each event was seen.
        law: float64 [E], their probabilities.
        runs: how many runs there were.
        rate: false-alarm rate of one event.
    """
    frequency = seen / runs
    # a law of exactly 0 or 1 has no tolerance: a branch of probability 0 is never drawn
    certain = (law < LAW_TOLERANCE / 2) | (law > 1 - LAW_TOLERANCE / 2)
    slack = np.where(certain, 0.0, 2 * LAW_TOLERANCE)
    nearest = np.clip(frequency, np.clip(law - slack, 0, 1), np.clip(law + slack, 0, 1))
    return [int(k) for k in np.flatnonzero(runs * deviation(frequency, nearest) > np.log(2 / rate))]


def _reach_failures(plan: Plan, latent: NDArray[np.int64], taken: NDArray[np.int64]) -> list[str]:
    """Runs whose path is not what their latent routes reach."""
    pairs = np.unique(np.concatenate([latent, taken], axis=1), axis=0)
    for routes, path in (np.split(pair, 2) for pair in pairs):
        expected = plan.taken(np.where(routes < 0, 0, routes))
        if not np.array_equal(expected, path):
            return [f"expected routes {routes.tolist()} to take path {expected.tolist()}, got {path.tolist()}"]
    return []


def _settle(latent: NDArray[np.int64], gates: list[int]) -> NDArray[np.int64]:
    """The latent routes, int64 [runs, S], as if gates had been asked for route 0."""
    latent[:, gates] = 0
    return latent


def _frequencies(plan: Plan, latent: NDArray[np.int64]) -> Sequence[NDArray[np.float64]]:
    return [np.bincount(latent[:, i], minlength=s.policy.branches) / len(latent) for i, s in enumerate(plan.sites)]


def _os_seeds(routing: RoutingSlice) -> NDArray[np.int64]:
    with routing.open() as decide:
        return np.stack([decide(fresh_seed()) for _ in range(OS_RUNS)])


def _long_run(routing: RoutingSlice) -> NDArray[np.int64]:
    with routing.open() as decide:
        return np.stack([decide(None) for _ in range(LONG_RUNS)])


def _eager_runs(eager: Eager, plan: Plan) -> list[str]:
    """Paths that the eager model reports must be what its latent routes reach."""
    told = ((path, plan.taken(routes)) for path, routes in eager.free_runs(WHOLE_RUNS))
    return [
        f"eager: expected path {expected.tolist()}, got {path.tolist()}"
        for path, expected in told
        if not np.array_equal(expected, path)
    ]


def _whole_runs(file: Candidate, routing: RoutingSlice, inputs: Arrays) -> list[str]:
    """Whole runs must agree with what was measured on their parts."""
    if file.interface == "standalone":
        return []
    failures: list[str] = []
    with routing.open() as decide:
        for seed in range(WHOLE_RUNS):
            whole, part = file.on_seed(inputs, seed).path, decide(seed)[1]
            if file.plan.gates:  # what is reached depends on them
                part = np.where(whole < 0, -1, part)
                part[list(file.plan.gates)] = whole[list(file.plan.gates)]
            if not np.array_equal(whole, part):
                failures.append(f"seed {seed}: expected the slice's path {part.tolist()}, got {whole.tolist()}")
    return failures
