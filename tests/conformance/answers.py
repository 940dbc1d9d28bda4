"""The runs of a case and what eager torch answers: asked paths, seeds, both, neither, ensembles, and refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rr_export.capture.request import bind
from rr_export.laws.plan import Plan
from rr_export.parity.eager_model import Eager
from rr_export.parity.subject import Answer
from rr_runtime.draws import SEEDS, draws
from tests.conformance.arrays import all_to_json
from tests.conformance.specs import Spec

Run = dict[str, Any]

SEEDED = (0, 1, 7)
# Of these only the path is compared: small ones, and near every size at which an engine may cut a number off.
STREAM = (*range(2, 7), *(power + d for power in (2**24, 2**31, 2**32, 2**53, 2**62) for d in (-1, 0, 1)),
          *(n * 0x9E3779B97F4A7C15 % SEEDS for n in range(1, 17)), SEEDS - 2, SEEDS - 1)  # fmt: skip
ALL_PATHS = 16  # above, a covering set is forced
FRESH_REPEATS = 24  # of three sites at .5, .7, .4: all the same with probability below .21^23 = 3e-16
ENSEMBLE_RUNS, ENSEMBLE_SEED = 5, SEEDS - 2  # across the last seed
CLEARANCE = 0.02  # two paths' answers differ by more, relative and absolute: more than half precision blurs


def runs_of(spec: Spec, model: nn.Module, plan: Plan) -> list[Run]:
    """Returns the runs of a case, JSON-ready; every expected number is eager torch's.

    Raises:
        ValueError: two paths of the case cannot be told apart by their outputs, so that it would prove little.
    """
    eager = Eager(bind(model, spec.args))
    inputs = all_to_json(eager.inputs)
    if not plan.sites:
        runs = [_run("inputs", inputs, [eager.on_path([])])]
        runs += [_at_other_size(Eager(bind(model, args)), number, None) for number, args in enumerate(spec.others)]
    elif spec.interface == "standalone":
        runs = []
    else:
        runs = [*_forced(eager, plan, inputs), *_seeded(eager, plan, inputs), _stream(eager, plan, inputs)]
        for number, args in enumerate(spec.others):
            other = Eager(bind(model, args))
            runs += [_at_other_size(other, number, path) for path in (_last(plan), None)]
    if spec.fresh:
        runs.append(_fresh(spec, eager, plan, inputs))
    if spec.ensemble:
        runs.append(_ensemble(eager, inputs))
    if spec.refusals:
        runs += _refusals(spec, plan, eager.inputs)
    return runs


def _forced(eager: Eager, plan: Plan, inputs: Mapping[str, Any]) -> Iterator[Run]:
    """All paths or a covering set, and every site on its last branch, reached or not."""
    law = plan.evenly()  # gates are forced as any site
    few = law.path_count() <= ALL_PATHS
    paths = list(law.paths()) if few else [*law.covering(), law.most_probable()]
    for path in dict.fromkeys([*map(tuple, paths), tuple(_last(plan))]):
        asked = [int(r) for r in path]
        yield _run(f"path {_words(asked)}", inputs, [eager.on_path(asked)], path=asked)


def _seeded(eager: Eager, plan: Plan, inputs: Mapping[str, Any]) -> Iterator[Run]:
    """Seeds, and seeds of which the first or the last site is forced: chains follow, no other draw moves."""
    for seed in SEEDED:
        yield _run(f"seed {seed}", inputs, [eager.on_seed(seed)], seed=seed)
    first, last = [-1] * len(plan.sites), [-1] * len(plan.sites)
    first[0], last[-1] = len(plan.sites[0].branches) - 1, 0
    for seed, path in ((3, first), (4, last)):
        answer = eager.on_seed_and_path(seed, path)
        yield _run(f"seed {seed}, path {_words(path)}", inputs, [answer], seed=seed, path=path)


def _stream(eager: Eager, plan: Plan, inputs: Mapping[str, Any]) -> Run:
    """Many seeds, and the path of each: the plan's, or where gates decide, that of eager torch."""
    if plan.gates:
        paths = [eager.on_seed(seed).path.tolist() for seed in STREAM]
    else:
        paths = [plan.taken(plan.routes(draws(seed, len(plan.sites)))).tolist() for seed in STREAM]
    return {
        "name": f"paths of {len(STREAM)} seeds",
        "kind": "stream",
        "inputs": inputs,
        "seeds": [str(seed) for seed in STREAM],
        "expected": paths,
    }


def _at_other_size(eager: Eager, number: int, path: Sequence[int] | None) -> Run:
    name, inputs = f"size {number + 1}", all_to_json(eager.inputs)
    if not eager_sites(eager):
        return _run(name, inputs, [eager.on_path([])])
    if path is None:
        return _run(f"{name}, seed 2", inputs, [eager.on_seed(2)], seed=2)
    return _run(f"{name}, path {_words(path)}", inputs, [eager.on_path(path)], path=path)


def eager_sites(eager: Eager) -> bool:
    """Tells whether the model has sites."""
    import rr_export as rr

    return bool(rr.plan_of(eager.model).sites)


def _fresh(spec: Spec, eager: Eager, plan: Plan, inputs: Mapping[str, Any]) -> Run:
    """Many runs without a seed: each is one of all paths, and not all are the same."""
    answers = [eager.on_path(path) for path in plan.evenly().paths()]
    run = _run("fresh", inputs, answers, kind="fresh", hidden=spec.interface == "standalone")
    return {**run, "repeat": FRESH_REPEATS}


def _ensemble(eager: Eager, inputs: Mapping[str, Any]) -> Run:
    seeds = [(ENSEMBLE_SEED + i) % SEEDS for i in range(ENSEMBLE_RUNS)]
    answers = [eager.on_seed(seed) for seed in seeds]
    stacked = {
        name: np.stack([answer.outputs[name].astype(np.float64) for answer in answers]) for name in answers[0].outputs
    }
    expected = {
        "paths": [answer.path.tolist() for answer in answers],
        "seeds": [str(seed) for seed in seeds],
        "mean": all_to_json({name: values.mean(0) for name, values in stacked.items()}),
        "std": all_to_json({name: values.std(0) for name, values in stacked.items()}),
    }
    return {
        "name": f"ensemble of {ENSEMBLE_RUNS}",
        "kind": "ensemble",
        "inputs": inputs,
        "seed": str(ENSEMBLE_SEED),
        "runs": ENSEMBLE_RUNS,
        "expected": [expected],
    }


def _refusals(spec: Spec, plan: Plan, inputs: Mapping[str, NDArray[Any]]) -> Iterator[Run]:
    """Calls of section 9 of the contract, with the class that rr_runtime raises."""

    def refused(name: str, error: str, given: Mapping[str, NDArray[Any]] = inputs, **asked: Any) -> Run:
        return {"name": name, "kind": "refused", "inputs": all_to_json(given), **_asked(**asked), "error": error}

    count = len(plan.sites)
    if spec.interface == "standalone" or not count:
        yield refused("a seed where none is taken", "ValueError", seed=7)
        yield refused("a path where none is taken", "ValueError", path=[0] * count)
    else:
        highest = len(plan.sites[0].branches)
        rest = [-1] * (count - 1)
        yield refused("seed -1", "ValueError", seed=-1)
        yield refused("seed 2^63", "ValueError", seed=SEEDS)
        yield refused("a path too short", "ValueError", path=rest)
        yield refused("a path too long", "ValueError", path=[-1, -1, *rest])
        yield refused("a route too high", "ValueError", path=[highest, *rest])
        yield refused("a route of -2", "ValueError", path=[-2, *rest])
    name, array = next(iter(inputs.items()))
    other = np.float64 if array.dtype != np.float64 else np.float32
    yield refused("a missing input", "ValueError", {n: a for n, a in inputs.items() if n != name})
    yield refused("an unknown input", "ValueError", {**inputs, "unknown": array})
    yield refused("an input of the runtime's own", "ValueError", {**inputs, "rr_path": np.full(count, -1)})
    yield refused("another dtype", "TypeError", {**inputs, name: array.astype(other)})
    yield refused("another rank", "ValueError", {**inputs, name: array[None]})
    yield refused("another last size", "ValueError", {**inputs, name: np.concatenate([array, array], -1)})


def _run(
    name: str,
    inputs: Mapping[str, Any],
    answers: Sequence[Answer],
    *,
    kind: str = "run",
    hidden: bool = False,
    **asked: Any,
) -> Run:
    """Returns a run with what it may answer; ``hidden``: the file does not tell its path."""
    expected = [
        {"path": None if hidden or not len(a.path) else a.path.tolist(), "outputs": all_to_json(a.outputs)}
        for a in answers
    ]
    return {"name": name, "kind": kind, "inputs": inputs, **_asked(**asked), "expected": expected}


def _asked(*, seed: int | None = None, path: Sequence[int] | None = None) -> Run:
    """Seeds are decimal texts, as they do not fit into a float64."""
    return {"seed": None if seed is None else str(seed), "path": None if path is None else list(path)}


def _last(plan: Plan) -> list[int]:
    return [len(site.branches) - 1 for site in plan.sites]


def _words(path: Sequence[int]) -> str:
    return ",".join(map(str, path))


def indistinct(spec: Spec, runs: Sequence[Run]) -> list[str]:
    """Returns pairs of paths whose expected outputs lie within the case's tolerance of each other."""
    answers: dict[str, dict[tuple[int, ...] | int, NDArray[Any]]] = {}
    for run in runs:
        if run["kind"] in ("run", "fresh"):
            for number, answer in enumerate(run["expected"]):
                key = number if answer["path"] is None else tuple(answer["path"])
                values = [x for row in answer["outputs"].values() for x in row["data"]]
                answers.setdefault(str(run["inputs"]), {})[key] = np.array(values, np.float64)
    found = []
    for of_inputs in answers.values():
        for (one, a), (other, b) in combinations(of_inputs.items(), 2):
            atol, rtol = max(CLEARANCE, 2 * spec.atol), max(CLEARANCE, 2 * spec.rtol)
            if np.all(np.abs(a - b) <= atol + rtol * np.abs(b)):
                found.append(f"{spec.name}: expected paths {one} and {other} to differ, got equal outputs")
    return found
