"""The laws of draws as policies: each of its own, or a step of a chain."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.decisions import Decision
from rr_export.capture.python.random_functions import Law
from rr_export.errors import CaptureError
from rr_export.laws.policies import Categorical, Markov, Policy


def policies_of(decisions: Sequence[Decision], draws: Sequence[int]) -> dict[int, Policy]:
    """Returns the law of every draw: of its own, or a step of a chain with the draw that its law depends on.

    Raises:
        CaptureError: laws depend on each other other than in a chain.
    """
    parents = {i: next(iter(dd.decisions(decisions[i].law)), None) for i in draws}
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        if parent is not None:
            children.setdefault(parent, []).append(child)
    policies: dict[int, Policy] = {}
    for i in draws:
        if parents[i] is not None:
            continue
        chain = [i]
        while chain[-1] in children:
            steps = children[chain[-1]]
            if len(steps) > 1:
                lines = " and ".join(str(decisions[s].line) for s in steps)
                raise CaptureError(
                    f"{decisions[steps[1]].line}: expected a chain, in which one law depends on the decision of "
                    f"{decisions[chain[-1]].line}, got those of {lines}; let each law depend on the decision before it"
                )
            chain.append(steps[0])
        cuts = [sorted(decisions[c].cuts) for c in chain]
        first = _checked(decisions[i], Categorical, _row(decisions[i].laws()[0], cuts[0]))
        if len(chain) == 1:
            policies[i] = first
            continue
        tables = [_table(decisions, p, c, cuts[t + 1]) for t, (p, c) in enumerate(itertools.pairwise(chain))]
        markov = _checked(decisions[i], Markov, first.table[0], tables)
        policies |= {c: markov.step(t) for t, c in enumerate(chain)}
    for i in draws:
        if i not in policies:
            raise CaptureError(
                f"{decisions[i].line}: expected a law that depends on a draw, got one that depends on the input or on "
                "a site; let it depend on a decision of the code"
            )
    return policies


def _checked(decision: Decision, make: Callable[..., Any], *args: Any) -> Any:
    try:
        return make(*args)
    except ValueError as error:
        raise CaptureError(f"{decision.line}: expected probabilities that draws can hit, got {error}") from error


def _table(decisions: Sequence[Decision], parent: int, child: int, cuts: Sequence[float]) -> list[list[float]]:
    """The transition probabilities, a row for every route of the parent."""
    law, rows = decisions[child].law, []
    for low, _ in dd.spans(sorted(decisions[parent].cuts)):
        position = max(low, 0.0) if low != -float("inf") else 0.0
        rows.append(_row(dd.at(law, {parent: position}), cuts))
    return rows


def _row(law: Law, cuts: Sequence[float]) -> list[float]:
    """The probabilities of the intervals between the cuts."""
    if law.probabilities is None:
        return np.diff([0.0, *cuts, 1.0]).tolist()  # type: ignore[no-any-return]
    edges = [0, *(int(c) for c in cuts), len(law.probabilities)]
    return [sum(law.probabilities[a:b]) for a, b in itertools.pairwise(edges)]
