"""How paths to evaluate are chosen: each method asks for some, looks at their values, and asks for more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_export.quality.additive_model import AdditiveModel, extreme_path, fit_additive, predicted_front
from rr_export.quality.front import PricedPath, layers_of, spread_out, undominated
from rr_export.quality.path_values import PathValue, PathValues, TakenPath

STEP = 4  # changes that a greedy walk tries
AT_ONCE = 16  # paths of a round: the same however many workers there are, so that they are the same paths
BEAM = 64
PARENTS, TRIES = 32, 40


class Explored:
    """What a search knows: the paths that it evaluated, and how many it still may.

    Attributes:
        plan: the sites.
        costs: of the paths.
        found: the evaluated paths, in order.
        left: how many more may be evaluated.
    """

    def __init__(self, values: PathValues, costs: Costs, evaluations: int) -> None:
        self.plan, self.costs, self.left = values.subject.plan, costs, evaluations
        self.found: dict[TakenPath, PricedPath] = {}
        self._values, self._told = values, list[PathValue]()
        self._dearest = costs.dearest(self.plan)
        # what a site takes that was not reached before
        self._usual = [int(np.argmax(law)) for law in self.plan.evenly().marginals()]

    def ask(self, paths: Iterable[TakenPath]) -> None:
        """Evaluates those that are not known, as many as may be."""
        new = list(islice((path for path in dict.fromkeys(paths) if path not in self.found), self.left))
        for value in self._values.of(new):
            self._told.append(value)
            self.found[value.path] = self._priced(value.path, value.value, value.deviation)
        self.left -= len(new)

    def model(self) -> AdditiveModel:
        """Returns the additive model of all that is known."""
        return fit_additive(self.plan, self._told)

    def guessed(self, paths: Iterable[TakenPath], model: AdditiveModel) -> list[PricedPath]:
        """Returns paths that are not known with the quality that a model holds them for."""
        return [self._priced(p, model.of(p), None) for p in dict.fromkeys(paths) if p not in self.found]

    def cost(self, path: TakenPath) -> float:
        """Returns what a path costs."""
        return self.costs.of(path)

    def latent(self, path: TakenPath) -> list[int]:
        """Returns a route for every site: where one is not reached, its most probable one."""
        return [usual if route < 0 else route for route, usual in zip(path, self._usual, strict=True)]

    def taken(self, latent: Sequence[int]) -> TakenPath:
        """Returns the path taken with these routes."""
        return tuple(self.plan.taken(latent).tolist())

    def changes(self, path: TakenPath) -> list[TakenPath]:
        """Returns the paths on which one reached site takes another route."""
        return [changed for _, _, changed in single_changes(self.plan, path, self.latent(path))]

    def _priced(self, path: TakenPath, quality: float, deviation: float | None) -> PricedPath:
        cost = self.costs.of(path)
        return PricedPath(path, quality, deviation, cost, min(1.0, cost / self._dearest))  # rounding aside


def single_changes(plan: Plan, path: TakenPath, latent: Sequence[int]) -> list[tuple[int, int, TakenPath]]:
    """Returns every site that is reached on a path, every other route that it has, and the path on which it takes that.

    Args:
        plan: the sites.
        path: the path taken.
        latent: a route for every site, those of the path where it is reached.
    """
    found = []
    for site in (i for i, route in enumerate(path) if route >= 0):
        for route in range(len(plan.sites[site].branches)):
            if route != path[site]:
                changed = plan.taken([*latent[:site], route, *latent[site + 1 :]])
                found.append((site, route, tuple(changed.tolist())))
    return found


def begin(explored: Explored, start: Sequence[TakenPath], random: np.random.Generator) -> None:
    """The first paths are known, at most half of what may be evaluated.

    They are those of the user, the dearest, the cheapest and the most probable one, and around the last one all single
    changes, which tell an additive model every branch that is reached.
    """
    plan, costs = explored.plan, explored.costs
    usual = plan.evenly().most_probable()
    first = [*start, extreme_path(plan, costs, 1), extreme_path(plan, costs, -1), usual]
    changes = explored.changes(usual)
    room = max(0, explored.left // 2 - len(set(first)))
    explored.ask(first)
    explored.ask(changes[i] for i in random.permutation(len(changes))[:room])


def greedy(explored: Explored, *, leave: int = 0) -> None:
    """Walks from the dearest path to the cheapest, and back.

    Every step takes the change of one site that loses least for what it saves (gains most for what it costs), of those
    that the additive model holds for the best.

    Args:
        explored: what is known.
        leave: how many evaluations are left to others.
    """
    for sign in (1, -1):
        here = extreme_path(explored.plan, explored.costs, sign)
        while here in explored.found:
            model = explored.model()
            ways = [way for way in explored.changes(here) if sign * (explored.cost(way) - explored.cost(here)) < 0]
            ways.sort(
                key=lambda way: (-_slope(explored.cost(here), explored.cost(way), model.of(way), model.of(here)), way)
            )
            explored.ask(ways[:STEP])
            known = [explored.found[way] for way in ways if way in explored.found]
            if not known or explored.left <= leave:
                break
            at = explored.found[here]
            here = max(known, key=lambda p: (_slope(at.cost, p.cost, p.quality, at.quality), p.path)).path


def _slope(before: float, after: float, quality: float, earlier: float) -> float:
    """The quality that is gained for a unit of cost that is saved or paid."""
    return (quality - earlier) / abs(after - before)


def beam(explored: Explored) -> None:
    """Evaluates what the additive model, fitted again every time, holds for undominated.

    Where it holds nothing more for that, the single changes of the front that are nearest to it by the model.
    """
    while explored.left:
        model = explored.model()
        new = explored.guessed(predicted_front(explored.plan, model, explored.costs, BEAM), model)
        ahead = spread_out(new, AT_ONCE) if new else _nearest(explored, model)
        if not ahead:
            return
        explored.ask(path.path for path in ahead)


def _nearest(explored: Explored, model: AdditiveModel) -> list[PricedPath]:
    """Single changes of the front, those that are least below it by the model first."""
    front = undominated(list(explored.found.values()))
    costs, best = np.array([p.cost for p in front]), [p.quality for p in front]
    # what the model misses on a path, it misses on its neighbours too
    missed = {p.path: p.quality - model.of(p.path) for p in front}
    guesses: dict[TakenPath, float] = {}
    for path in front:
        for guess in explored.guessed(explored.changes(path.path), model):
            place = int(np.searchsorted(costs, guess.cost, side="right")) - 1
            ahead = guess.quality + missed[path.path] - (best[place] if place >= 0 else -np.inf)
            guesses[guess.path] = max(ahead, guesses.get(guess.path, -np.inf))
    order = sorted(guesses, key=lambda path: (-guesses[path], path))
    return explored.guessed(order[:AT_ONCE], model)


def evolve(explored: Explored, random: np.random.Generator) -> None:
    """Breeds paths of the best ones by crossing and mutation, and evaluates those that the model holds for the best.

    Selection is that of NSGA-II (Deb, Pratap, Agarwal, Meyarivan: A Fast and Elitist Multiobjective Genetic Algorithm,
    2002): by the front that a path is on, then by the room around it.
    """
    widths = np.array([len(site.branches) for site in explored.plan.sites])
    while explored.left:
        parents = _selected(list(explored.found.values()), PARENTS)
        latents = np.array([explored.latent(path.path) for path in parents])
        children: dict[TakenPath, None] = {}
        for _ in range(TRIES * AT_ONCE):
            one, other = latents[random.integers(len(latents), size=2)]
            child = np.where(random.random(len(widths)) < 0.5, one, other)
            mutated = random.random(len(widths)) < 1 / len(widths)
            child = np.where(mutated, random.integers(widths), child)
            children[explored.taken(child.tolist())] = None
            if len(children) > 8 * AT_ONCE:
                break
        model = explored.model()
        guessed = explored.guessed(children, model)
        if not guessed:
            return
        chosen = {path.path for path in _selected([*guessed, *_as_guessed(explored, parents, model)], 4 * AT_ONCE)}
        ahead = [path.path for path in guessed if path.path in chosen]
        explored.ask((ahead or [path.path for path in guessed])[:AT_ONCE])


def _as_guessed(explored: Explored, paths: Sequence[PricedPath], model: AdditiveModel) -> list[PricedPath]:
    return [replace(path, quality=model.of(path.path), deviation=None) for path in paths]


def _selected(paths: Sequence[PricedPath], count: int) -> list[PricedPath]:
    chosen: list[PricedPath] = []
    for front in layers_of(paths):
        chosen += spread_out(front, count - len(chosen))
        if len(chosen) >= count:
            break
    return chosen
