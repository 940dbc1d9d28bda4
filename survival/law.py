"""Whether a file still follows the plan's law: sampled, and from given random numbers on, exactly."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import rr_export as rr
from rr_export.lowering import TAKEN
from rr_export.parity.law import count_tests, deviation, law_failures
from rr_runtime.draws import draws
from survival.engines import Arrays, Run, UnusableError, open_file
from survival.reference import Files, Reference, difference, with_path
from survival.routing_part import routing_part
from survival.tool import Tolerance

FALSE_ALARM = 1e-6  # of one cell
FIRST_RUNS, LONG_RUNS = 200, 2000  # of the routing part alone
WHOLE_FIRST_RUNS, WHOLE_LONG_RUNS = 40, 400  # of whole files
SLOW_FIRST_RUNS = 12  # of engines that take long to load a file


def sampled_law(files: Files, reference: Reference) -> list[str]:
    """The random node's first runs in many sessions, and one long run, follow the plan."""
    content = with_path(files, reference, "output")
    part = routing_part(content)
    feeds = reference.feeds(reference.inputs[0])
    sessions = SLOW_FIRST_RUNS if files.engine == "openvino" else WHOLE_FIRST_RUNS
    if part is not None and files.engine != "openvino":
        content, sessions = part.content, FIRST_RUNS
        feeds = {name: feeds[name] for name in part.inputs}
    sample = partial(_sample, content, files.engine, feeds)
    samples = {"first runs": sample(sessions=sessions, runs=1), "a long run": sample(sessions=1, runs=LONG_RUNS)}
    failures: list[str] = []
    for name, taken in samples.items():
        failures += [f"law: {name}: {text}" for text in path_law_failures(reference.law, taken, len(samples))]
    return failures


def random_bits(files: Files, reference: Reference, tolerance: Tolerance) -> list[str]:
    """What follows from given random numbers: the paths of the seeds that they spell, exactly.

    The random node's output is cut into an input; where a file has no such node, there is nothing to cut.
    """
    try:
        content = with_path(files, reference, "output")
    except UnusableError:
        return []
    part = routing_part(content, from_random=True)
    if part is None or part.noise is None:
        return []
    (name, dtype), lanes = part.noise, reference.lanes
    run, plan = open_file(part.content, "onnxruntime"), reference.law
    given = {n: v for n, v in reference.feeds(reference.inputs[0]).items() if n in part.inputs}
    failures: list[str] = []
    for seed in (*range(64), *reference.edge_seeds):
        noise = np.zeros(lanes.shape, dtype=dtype)
        rest = seed
        for place in np.argsort(-lanes, kind="stable"):
            if lanes[place] > 0:
                noise[place], rest = divmod(rest, int(lanes[place]))
        drawn = draws(seed, len(plan.sites))
        if reference.is_unsure(drawn, tolerance):
            continue
        expected = plan.taken(plan.routes(drawn)).tolist()
        got = run([TAKEN], {**given, name: noise})[0].tolist()
        if expected != got:
            failures.append(f"random bits: of seed {seed}: expected path {expected}, got {got}")
    return failures


def whole_runs(files: Files, reference: Reference, tolerance: Tolerance) -> list[str]:
    """The very file, without any cut: every output is some path's, and the paths found so follow the plan."""
    slow = files.engine == "openvino"
    seeds = np.random.default_rng(8).integers(0, 2**31, size=SLOW_FIRST_RUNS if slow else WHOLE_FIRST_RUNS)
    found: dict[str, list[int]] = {"first runs": [], "a long run": []}
    failures: list[str] = []
    run: Run | None = None
    for number in range(len(seeds) + WHOLE_LONG_RUNS):
        first = number < len(seeds)
        if first or run is None:
            onnxruntime.set_seed(int(seeds[number]))
            run = open_file(files.file, files.engine)
        vector = reference.vector(run(reference.names, reference.feeds(reference.inputs[0])))
        nearest = reference.nearest(vector, 0)
        problem = difference(reference.outputs[nearest][0], vector, tolerance)
        if problem:
            return [*failures, f"whole runs: nearest to path {list(reference.paths[nearest])}: {problem}"]
        found["first runs" if first else "a long run"].append(nearest)
    for name, numbers in found.items():
        taken = np.array([reference.paths[n] for n in numbers])
        failures += [f"whole runs: {name}: {t}" for t in path_law_failures(reference.law, taken, len(found))]
    return failures


def path_law_failures(plan: rr.Plan, taken: NDArray[np.int64], samples: int) -> list[str]:
    """Returns one sentence per path, marginal and pair whose frequency contradicts the plan.

    The two-sided Chernoff bound of :mod:`rr_export.parity.law`, at ``FALSE_ALARM`` for all ``samples`` together.

    Args:
        plan: the law.
        taken: int64 [runs, S], paths taken.
        samples: how many such samples share the false-alarm rate.
    """
    law = {path: plan.probability(path) for path in plan.paths()}
    seen = dict.fromkeys(law, 0)
    failures: list[str] = []
    for row in map(tuple, taken.tolist()):
        if row not in seen:
            return [f"expected a path of the plan, got {list(row)}"]
        seen[row] += 1
    nested = any(() not in site.calls for site in plan.sites)
    rate = FALSE_ALARM / samples / (len(law) + (0 if nested else count_tests(plan)))
    for path, probability in law.items():
        if len(taken) * deviation(seen[path] / len(taken), probability) > np.log(2 / rate):
            failures.append(
                f"expected path {list(path)} with probability {probability:.3g}, got {seen[path] / len(taken):.3g}"
            )
    return failures if nested else failures + law_failures(plan, taken, rate)


def _sample(content: Path | bytes, engine: str, feeds: Arrays, *, sessions: int, runs: int) -> NDArray[np.int64]:
    """Paths taken, int64 [sessions * runs, S]; every session has a seed of its own."""
    seeds = np.random.default_rng(7).integers(0, 2**31, size=sessions)
    found = []
    for seed in seeds:
        onnxruntime.set_seed(int(seed))
        run = open_file(content, engine)
        found += [run([TAKEN], feeds)[0] for _ in range(runs)]
    return np.stack(found)
