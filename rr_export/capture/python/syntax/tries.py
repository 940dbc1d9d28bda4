"""The ``try`` and ``with`` statements whose blocks are running, and the errors raised in branches of them.

An error that is raised in a branch, and caught by a ``try`` around it in the same function, is one more way in which
the function goes on, beside next, continue, break and return: what follows runs where nothing was raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rr_export.capture.python.frames import Frame


@dataclass(eq=False)
class Try:
    """A ``try`` whose block is running; a ``with`` catches nothing.

    Attributes:
        frame: the function that it is in.
        depth: how many branches there were around it.
        catches: the place of the handler that an error goes to, None where there is none.
        caught: errors that were raised in branches, with the place of their handler, by the flow that stands for each.
    """

    frame: Frame
    depth: int
    catches: Callable[[Exception], int | None]
    caught: dict[str, tuple[int, Exception]] = field(default_factory=dict)


class Tries:
    """The blocks that are running, outermost first, and the errors that are being handled."""

    def __init__(self) -> None:
        self._running: list[Try] = []
        self._handled: list[Exception] = []
        self._count = 0

    @contextmanager
    def running(self, one: Try) -> Iterator[None]:
        """Inside, the block runs."""
        self._running.append(one)
        try:
            yield
        finally:
            self._running.remove(one)

    @contextmanager
    def handling(self, error: Exception) -> Iterator[None]:
        """Inside, a handler runs."""
        self._handled.append(error)
        try:
            yield
        finally:
            self._handled.pop()

    @property
    def handled(self) -> Exception | None:
        """What ``raise`` alone raises again."""
        return self._handled[-1] if self._handled else None

    def flow_of(self, error: Any, frame: Frame, depth: int) -> str | None:
        """Returns the flow of a function that raises in a branch; None where it may really raise.

        Args:
            error: what is raised.
            frame: the function.
            depth: how many branches there are around here.

        Raises:
            LookupError: nothing in the function catches it, or a ``with`` sees it first.
        """
        made = error() if isinstance(error, type) and issubclass(error, Exception) else error
        passed = False
        for one in reversed(self._running):
            place = one.catches(made) if isinstance(made, Exception) else None
            if place is not None:
                if one.depth == depth:
                    return None
                if passed or one.frame is not frame:
                    break
                self._count += 1
                flow = f"raise {self._count}"
                one.caught[flow] = place, made
                return flow
            passed |= one.catches is catches_nothing
        if not depth:
            return None
        raise LookupError


def catches_nothing(error: Exception) -> None:
    """A ``with`` statement has no handlers."""
