"""How much of a known front each method of ``rr.search`` finds, on problems whose every path has a known quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

import rr_export as rr
from benchmarks.table import Row, Section
from rr_export.laws.site import Site
from rr_export.quality.front import PricedPath, undominated
from rr_export.quality.path_values import PathValue, PathValues, TakenPath
from rr_export.quality.search_methods import Explored
from rr_export.quality.searching import EVALUATIONS, WALKS, explore
from rr_runtime.tools.timing import Tell, spread_of

METHODS = {"auto": WALKS, "beam": "beam", "evolutionary": "evolutionary", "greedy": "greedy", "drawn alike": ""}
SIZES = ((12, 2), (14, 2), (7, 4))  # sites, and branches of each
STRENGTHS = (0.0, 0.3, 1.0)  # of interactions, over that of single effects


@dataclass(frozen=True)
class Problem:
    """A plan whose paths all have a known quality and cost.

    Attributes:
        plan: the sites.
        costs: of the paths.
        quality: of every path.
        front: the true one.
    """

    plan: rr.Plan
    costs: rr.Costs
    quality: dict[TakenPath, float]
    front: tuple[PricedPath, ...]

    def values(self) -> PathValues:
        """Returns the values of the paths, as a search asks for them."""

        def evaluate(paths: Sequence[TakenPath], tell: Callable[[int], None]) -> dict[TakenPath, PathValue]:
            return {path: PathValue(path, self.quality[path], None, (self.quality[path],), (1,)) for path in paths}

        subject: Any = SimpleNamespace(plan=self.plan)
        return PathValues(subject, "quality", evaluate, None)

    def priced(self, path: TakenPath) -> PricedPath:
        """Returns a path with its quality and cost."""
        cost = self.costs.of(path)
        return PricedPath(path, self.quality[path], None, cost, min(1.0, cost / self.costs.dearest(self.plan)))


def make_problem(sites: int, branches: int, *, nested: bool, strength: float, rng: np.random.Generator) -> Problem:
    """Returns a random problem.

    Args:
        sites: how many.
        branches: of each.
        nested: the second half of the sites stand each in branch 1 of one of the first half.
        strength: of interactions between pairs of branches, over that of single effects.
        rng: a source of random numbers.
    """
    half = (sites + 1) // 2
    names = tuple(map(str, range(branches)))
    calls = [(((i - half, 1),),) if nested and i >= half else ((),) for i in range(sites)]
    plan = rr.Plan([Site(f"s{i}", names, rr.Uniform(branches), calls=calls[i]) for i in range(sites)])
    steps = np.sort(rng.exponential(size=(sites, branches)), axis=1)  # a dearer branch tends to be better
    costs = rr.Costs("ms", 1.0, tuple(tuple(float(c) for c in row - row[0]) for row in steps))
    worth = steps - steps[:, :1] + rng.normal(size=(sites, branches))
    pairs = strength * rng.normal(size=(sites, branches, sites, branches)) / np.sqrt(sites)
    paths = list(plan.paths())
    taken = (np.array(paths)[:, :, None] == np.arange(branches)).reshape(len(paths), -1).astype(np.float64)
    flat = pairs.reshape(sites * branches, -1)
    above = flat * np.triu(np.ones((sites, sites)), 1).repeat(branches, 0).repeat(branches, 1)  # each pair once
    numbers = taken @ worth.ravel() + ((taken @ above) * taken).sum(1)
    quality = dict(zip(paths, numbers.tolist(), strict=True))
    problem = Problem(plan, costs, quality, ())
    cheap = np.argsort(taken @ np.array(costs.branches).ravel(), kind="stable")
    best = np.maximum.accumulate(numbers[cheap])
    front = [paths[i] for i, highest in zip(cheap, best, strict=True) if numbers[i] == highest]  # and equals of cost
    return Problem(plan, costs, quality, undominated([problem.priced(path) for path in front]))


def measure(
    *,
    runs: int,
    progress: Tell | None = None,
    sizes: Sequence[tuple[int, int]] = SIZES,
    evaluations: int = EVALUATIONS,
) -> Section:
    """Returns for each method the share of the volume under the true front, and of its paths, over random problems.

    Args:
        runs: random problems of every kind.
        progress: told (stage, done, total).
        sizes: numbers of sites, and of branches of each.
        evaluations: that a search may make.
    """
    volumes: dict[str, list[float]] = {name: [] for name in METHODS}
    shares: dict[str, list[float]] = {name: [] for name in METHODS}
    made = list(_problems(runs, sizes))
    for number, (kind, seed) in enumerate(made):
        if progress is not None:
            progress("searching known fronts", number, len(made))
        problem = make_problem(**kind, rng=np.random.default_rng(seed))
        for name, method in METHODS.items():
            found = _found(problem, method, evaluations, seed)
            true = {path.path for path in problem.front}
            volumes[name].append(_volume(found, problem) / _volume(problem.front, problem))
            shares[name].append(len(true & {path.path for path in found}) / len(true))
    rows = [
        Row(f"{name}: {what}", spread_of(np.array(told[name])))
        for name in METHODS
        for what, told in (("volume under the front", volumes), ("paths of the front", shares))
    ]
    kinds = ", ".join(f"{sites} sites of {branches}" for sites, branches in sizes)
    return Section(
        "Searches of known fronts",
        rows,
        f"shares of the true front found within {evaluations} evaluations; {len(made)} random problems: {kinds}; "
        f"independent and nested; interactions of {', '.join(map(str, STRENGTHS))}; numpy {np.__version__}; no torch",
    )


def _problems(runs: int, sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[dict[str, Any], list[int]]]:
    for seed in range(runs):
        for size, (sites, branches) in enumerate(sizes):
            for nested in (False, True):
                for level, strength in enumerate(STRENGTHS):
                    kind = {"sites": sites, "branches": branches, "nested": nested, "strength": strength}
                    yield kind, [seed, size, nested, level]


def _found(problem: Problem, method: str, evaluations: int, seed: list[int]) -> tuple[PricedPath, ...]:
    if not method:
        paths = list(problem.quality)
        chosen = np.random.default_rng([*seed, 1]).permutation(len(paths))[:evaluations]
        return undominated([problem.priced(paths[i]) for i in chosen])
    explored: Explored = explore(problem.values(), problem.costs, method, evaluations=evaluations, seed=seed[0])
    return undominated(list(explored.found.values()))


def _volume(front: Sequence[PricedPath], problem: Problem) -> float:
    """The area under a front, from the worst quality and up to the dearest path's cost."""
    worst, dearest = min(problem.quality.values()), problem.costs.dearest(problem.plan)
    ends = [*(path.cost for path in front[1:]), dearest]
    return float(sum((end - path.cost) * (path.quality - worst) for path, end in zip(front, ends, strict=True)))
