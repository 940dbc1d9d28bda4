"""The laws that code gives its draws while it runs, and whether they are those of a plan."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rr_export.capture.python.conclude import Program
from rr_export.capture.python.random_functions import Law
from rr_export.capture.python.told_numbers import is_compared
from rr_export.laws.plan import Plan
from rr_export.laws.policies import LAW_TOLERANCE


@dataclass
class RunLaws:
    """What one run of a model's own code gave its draws.

    Attributes:
        positions: of its decisions on their axes, by number, at last of all of them.
        laws: of its draws.
        compared: the positions on its axis that a uniform draw was compared with.
    """

    positions: Mapping[int, float]
    laws: dict[int, Law] = field(default_factory=dict)
    compared: dict[int, set[float]] = field(default_factory=dict)


_watched: ContextVar[list[RunLaws] | None] = ContextVar("rr_python_watched", default=None)


@contextmanager
def laws_watched() -> Iterator[list[RunLaws]]:
    """Gives what the runs of models' own code inside the block give their draws, run by run."""
    runs: list[RunLaws] = []
    token = _watched.set(runs)
    try:
        yield runs
    finally:
        _watched.reset(token)


def watch_run(positions: Mapping[int, float]) -> RunLaws:
    """Returns where the laws of a run that begins are written down."""
    run, runs = RunLaws(positions), _watched.get()
    if runs is not None:
        runs.append(run)
    return run


def law_differences(program: Program, plan: Plan, run: RunLaws) -> Iterator[str]:
    """Yields, of a run, the laws of draws that differ from those of the plan, each with its line and the path.

    Args:
        program: the decisions of the code.
        plan: what has the laws, with the sites of the program.
        run: what the code gave.
    """
    path = [_route(program, i, run.positions) for i in range(len(plan.sites))]
    for number, law in run.laws.items():
        site = program.sites.get(number)
        if site is None:
            continue
        rows = _rows(plan, site, path)
        given = _given(program, number, law)
        if given is not None and (given.shape != rows.shape[1:] or abs(rows - given).max() > LAW_TOLERANCE):
            yield (
                f"{program.decisions[number].line}: expected a draw by the law {_shown(rows[0])} on path {path}, as "
                f"the file has it, got one by {_shown(given)} from the code"
            )


def threshold_differences(program: Program, plan: Plan, run: RunLaws) -> Iterator[str]:
    """Yields, of a run, the uniform draws that were compared with numbers that are no thresholds of the plan."""
    path = [_route(program, i, run.positions) for i in range(len(plan.sites))]
    for number, found in run.compared.items():
        site = program.sites.get(number)
        decision = program.decisions[number]
        known = np.array(sorted(decision.cuts))
        if site is not None and is_compared(decision):
            known = np.cumsum(_rows(plan, site, path)[0])[:-1]
            known = 1 - known if decision.falling else known
        strange = [t for t in sorted(found) if 0 < t < 1 and (not known.size or abs(known - t).min() > LAW_TOLERANCE)]
        if strange:
            yield (
                f"{decision.line}: expected a draw with the thresholds {_shown(known)} on path {path}, as the file has "
                f"it, got one that the code compares with {_shown(np.array(strange))}"
            )


def _route(program: Program, site: int, positions: Mapping[int, float]) -> int:
    number = next((d for d, s in program.sites.items() if s == site), None)
    if number is None or number not in positions:
        return -1
    return sum(cut <= positions[number] for cut in program.decisions[number].cuts)


def _rows(plan: Plan, site: int, path: list[int]) -> NDArray[np.float64]:
    """The law of a site after the route of the step before it; all rows where that was not reached."""
    table = plan.sites[site].policy.table
    chain = next(chain for chain in plan.chains if site in chain)
    place = chain.index(site)
    before = path[chain[place - 1]] if place else 0
    return table if before < 0 or len(table) == 1 else table[before : before + 1]


def _given(program: Program, number: int, law: Law) -> NDArray[np.float64] | None:
    """The probabilities of the routes; None: of a uniform draw the thresholds say them, not the call."""
    decision = program.decisions[number]
    outcomes = decision.laws()[0].probabilities
    if law.probabilities is None:
        uniform = outcomes is None or is_compared(decision)
        return None if uniform else np.ones(1)
    if outcomes is None or len(outcomes) != len(law.probabilities):
        return np.array(law.probabilities)
    edges = [0, *(int(cut) for cut in sorted(decision.cuts)), len(outcomes)]
    return np.array([sum(law.probabilities[a:b]) for a, b in itertools.pairwise(edges)])


def _shown(numbers: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{n:.9g}" for n in numbers) + "]"
