"""Numbers that decide as they are told: where on its axis a draw lies, and which number a random function gives there.

The axis of a uniform draw is [0, 1), that of one of K outcomes [0, K). A draw that is compared with what depends on
another decision has two outcomes, below and not below, each an interval of [0, 1) that this decision moves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal

import numpy as np
import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.decisions import Decision
from rr_export.capture.python.quantiles import QUANTILES
from rr_export.capture.python.random_functions import Asked, Law

Place = Literal["middle", "low", "high"]
EDGE = 2.0**-20  # how far inside an interval its ends are tried: a few roundings of float32

BEYOND = 1e6  # further out than what a draw is compared with

_place: ContextVar[Place] = ContextVar("rr_python_place", default="middle")


@contextlib.contextmanager
def drawn_at(place: Place) -> Iterator[None]:
    """Inside the block draws that are told their routes lie at this end of their intervals, not in the middle.

    What decides otherwise than at the ends that are known goes another way at one of them.
    """
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


def is_told() -> bool:
    """Returns whether draws on which nothing depends are told where to lie, too."""
    return _place.get() != "middle"


def is_compared(decision: Decision) -> bool:
    """Returns whether a uniform draw is compared with what depends on another decision."""
    return isinstance(decision.law, dd.Node) and bool(decision.laws()[0].values == (0, 1))


class ToldNumber:
    """One number that a call of a random function draws in a run.

    Args:
        decision: which it is.
        law: that the call gave.
        positions: of the decisions before it.
    """

    def __init__(self, decision: Decision, law: Law, positions: dict[int, float]) -> None:
        self._decision, self._law = decision, law
        self._compared = law.probabilities is None and is_compared(decision)
        known = self._compared and dd.decisions(decision.law) <= positions.keys()
        self._share = dd.at(decision.law, positions).probabilities[0] if known else None

    def of_route(self, route: int, asked: Asked) -> tuple[float, Any]:
        """Returns the position on the decision's axis, and the number, with which a route is taken."""
        edges = [0.0, *sorted(self._decision.cuts), self._length]
        low, high = edges[route], edges[route + 1]
        if self._law.probabilities is not None:
            position = self._outcome(int(low), int(high))
            return position, self._law.values[int(position)]
        if self._compared:
            return float(route), self._number(self._inside(*self._interval(route), self._resolution(asked)))
        position = self._inside(low, high, self._resolution(asked))
        return position, self._number(position)

    def free(self, asked: Asked) -> tuple[float, Any]:
        """Returns a position and a number where no route is told: nothing depends on the draw."""
        place = _place.get()
        if self._law.probabilities is None:
            position = _uniform() if place == "middle" else self._inside(0.0, 1.0, self._resolution(asked))
            return position, self._number(position)
        position = self._outcome(0, len(self._law.probabilities))
        if place == "middle":
            edges = np.cumsum(self._law.probabilities)[:-1]
            position = float(np.searchsorted(edges, _uniform(), "right"))
        return position, self._law.values[int(position)]

    def position_of(self, value: Any) -> float | None:
        """Returns where a number that the code drew itself lies on the axis; None: a later decision says it."""
        if self._law.probabilities is not None:
            same = [i for i, v in enumerate(self._law.values) if v is value]
            return float((same or [i for i, v in enumerate(self._law.values) if _is_equal(v, value)])[0])
        position = QUANTILES[self._law.quantile].share((float(value) - self._law.offset) / self._law.scale)
        if not self._compared:
            return position
        if self._share is None:
            return None
        low, high = self._interval(0)
        return float(not low <= position < high)

    @property
    def _length(self) -> float:
        if self._law.probabilities is not None:
            return float(len(self._law.probabilities))
        return 2.0 if self._compared else 1.0

    def _interval(self, outcome: int) -> tuple[float, float]:
        """Where in [0, 1) a draw lies that is below what it is compared with (outcome 0), or not."""
        first = (outcome == 0) is not self._decision.falling
        if self._share is None:
            return (0.0, 0.0) if first else (1.0, 1.0)
        border = 1 - self._share if self._decision.falling else self._share
        return (0.0, border) if first else (border, 1.0)

    def _inside(self, low: float, high: float, edge: float) -> float:
        """A position in an interval; of an empty one, a number beyond the axis on its side."""
        if low >= high:
            return -BEYOND if low <= 0 else BEYOND
        place = _place.get()
        if place == "middle" or high - low <= 2 * edge:
            return (low + high) / 2
        return low + edge if place == "low" else high - edge

    def _outcome(self, low: int, high: int) -> float:
        """An outcome of a group that can be drawn; the most likely one in its middle."""
        assert self._law.probabilities is not None
        weights = self._law.probabilities[low:high]
        likely = [k for k, weight in enumerate(weights) if weight > 0] or [0]
        place = _place.get()
        chosen = {"low": likely[0], "high": likely[-1], "middle": int(np.argmax(weights))}
        return float(low + chosen[place])

    def _number(self, position: float) -> float:
        if 0 < position < 1:
            position = QUANTILES[self._law.quantile].number(position)
        return self._law.offset + self._law.scale * position

    def _resolution(self, asked: Asked) -> float:
        """How near to its interval's end a number surely lies inside, after it is rounded to its type."""
        dtype = torch.float64
        if asked.like == "torch":
            assert asked.laws is not None
            made = asked.make([0.0] * len(asked.laws)).dtype
            dtype = made if made.is_floating_point else torch.float32
        most = max(abs(self._law.offset), abs(self._law.offset + self._law.scale)) / (abs(self._law.scale) or 1.0)
        return max(EDGE, 8 * torch.finfo(dtype).eps) * max(1.0, most)


def _is_equal(known: Any, value: Any) -> bool:
    """Whether an outcome is a value that was drawn; of several at once, whether each is."""
    if isinstance(known, tuple) and isinstance(value, tuple):
        return len(known) == len(value) and all(a is b or bool(a == b) for a, b in zip(known, value, strict=True))
    return bool(known == value)


def _uniform() -> float:
    """A number of ours, which is no draw of the code that runs."""
    with torch._C.DisableTorchFunction():
        return float(torch.rand((), dtype=torch.float64))


def drawn_values(result: Any, asked: Asked) -> Sequence[Any]:
    """Returns the numbers that a call drew, from what it returned; of several that are chosen at once, one."""
    if asked.joint:
        return [tuple(result.tolist() if isinstance(result, torch.Tensor) else result)]
    if isinstance(result, torch.Tensor | np.ndarray):
        return list(result.reshape(-1).tolist())
    return list(result) if asked.like == "list" else [result]
