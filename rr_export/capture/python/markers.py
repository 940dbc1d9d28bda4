"""Conditions as values of the graph, which lowering knows by the numbers of their decisions."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.varied import Varied


class Markers:
    """Makes the markers of conditions.

    Args:
        ledger: the decisions.
        varied: learns what differs from run to run.
        wanted: whether a graph is made; on real numbers there are no markers.
    """

    def __init__(self, ledger: Ledger, varied: Varied, *, wanted: bool) -> None:
        self._ledger, self._varied, self._wanted = ledger, varied, wanted

    def gate(self, condition: torch.Tensor, number: int) -> torch.Tensor:
        """Returns bool []: a condition on the input, which is the decision of this number."""
        if not self._wanted:
            return condition
        return torch.onnx.ops.symbolic(
            "rr::Gate", (condition,), attrs={"decision": number}, dtype=torch.bool, shape=(), version=1
        )

    def at_least(self, number: int, cut: float) -> torch.Tensor:
        """Returns bool []: the decision lies at ``cut`` or above."""
        if not self._wanted:
            found = torch.ones((), dtype=torch.bool)
            self._varied.add(found)
            return found
        return torch.onnx.ops.symbolic(
            "rr::AtLeast", (), attrs={"decision": number, "cut": cut}, dtype=torch.bool, shape=(), version=1
        )

    def condition(self, holds: dd.Diagram) -> torch.Tensor:
        """Returns bool [], where a diagram holds, computed from routes and gates."""
        total: torch.Tensor | None = None
        for way, leaf in dd.paths(holds):
            if not leaf.value:
                continue
            literals = [literal for number, span in way.items() for literal in self._literals(number, span)]
            every = functools.reduce(torch.logical_and, literals)
            total = every if total is None else torch.logical_or(total, every)
        assert total is not None
        return total

    def _literals(self, number: int, span: dd.Span) -> Iterator[torch.Tensor]:
        decision = self._ledger.decisions[number]
        for bound, low in zip(span, (True, False), strict=True):
            if abs(bound) == float("inf"):
                continue
            reaches = decision.tensor if decision.kind == "gate" else self.at_least(number, bound)
            yield reaches if low else torch.logical_not(reaches)
