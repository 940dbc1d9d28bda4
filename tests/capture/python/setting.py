"""What the parts of the interpreter are tested with: a function that runs, and a log of calls that makes no graph."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import nn

from rr_export.capture.python import arithmetic
from rr_export.capture.python import diagram as dd
from rr_export.capture.python.aliases import Aliases
from rr_export.capture.python.ancestry import Ancestry
from rr_export.capture.python.decisions import Decision, Line
from rr_export.capture.python.frames import Frame, Stack
from rr_export.capture.python.heap import FLOW, Scope
from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.markers import Markers
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.notes import Notes
from rr_export.capture.python.source_code import analysed
from rr_export.capture.python.splitting import Splitter
from rr_export.capture.python.values import UniformDraw, Varying, active_interpreter
from rr_export.capture.python.varied import Varied
from rr_export.capture.python.whereabouts import Whereabouts

LINE = Line("model.py", 7)


class Setting:
    """A function that runs, with what it can change, and decisions that may go both ways.

    Attributes:
        model: the root.
        body: the statements of the function.
    """

    def __init__(self, code: str = "pass", variables: dict[str, Any] | None = None) -> None:
        source = f"def forward({', '.join(variables or {})}):\n{textwrap.indent(textwrap.dedent(code), '    ')}"
        node = ast.parse(source).body[0]
        assert isinstance(node, ast.FunctionDef)
        self.model, self.body = nn.Linear(2, 2), node.body
        self.stack, self.ledger = Stack(), Ledger()
        self.whereabouts = Whereabouts(self.model, self.stack, Notes())
        self.memory = Memory(self.model, self.stack, self.whereabouts)
        self.aliases = Aliases(self.ledger, self.memory, self.whereabouts)
        self.varied = Varied()
        self.numbers = KnownNumbers(Notes(), self.varied, Ancestry(list), self.whereabouts)
        self.markers = Markers(self.ledger, self.varied, wanted=False)
        self.variables: dict[str, Any] = {**(variables or {}), FLOW: "next"}
        scope = Scope(self.variables, "forward")
        self.stack.frames.append(Frame(analysed(node, "model.py"), scope, None, {}, {}, node))

    def coin(self) -> dd.Diagram:
        """Returns 0 or 1, as a new draw says."""
        number = self.ledger.add(Decision("draw", LINE, self.ledger.guard))
        return dd.node(number, (0.5,), (dd.Leaf(0), dd.Leaf(1)))

    def flip(self, low: Any, high: Any) -> Varying:
        """Returns one of two values, as a new draw says."""
        return Varying(dd.apply(lambda k: (low, high)[k], self.coin()))

    def splitter(self, log: FakeLog) -> Splitter:
        """Returns what runs code all ways, and tells the log."""
        parts = (self.ledger, self.markers, self.memory, self.aliases, self.varied, self.whereabouts)
        return Splitter(log, *parts)  # type: ignore[arg-type]

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Inside, values that vary are those of this run."""
        token = active_interpreter.set(FakeTracer(self))  # type: ignore[arg-type]
        try:
            yield
        finally:
            active_interpreter.reset(token)


class FakeTracer:
    """What values that vary ask: it computes with them, and has nothing that lifts functions."""

    operate = staticmethod(arithmetic.operate)
    operate_torch = staticmethod(arithmetic.operate_torch)
    drawn_method = staticmethod(arithmetic.drawn_method)

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    @property
    def guard(self) -> dd.Diagram:
        return self._setting.ledger.guard

    def constant(self, tensor: torch.Tensor) -> Any:
        return self._setting.numbers.constant(tensor)

    def compares(self, draw: UniformDraw) -> None:
        """Draws may be compared with any number."""

    def refuse(self, expected: str, got: str, do: str) -> NoReturn:
        self._setting.whereabouts.refuse(expected, got, do)


class FakeLog:
    """A log of calls that notes what it is told, and lets the first branch win."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.selected: list[Any] = []
        self.calls = 0

    def open_call(self, site: int) -> int:
        self.calls += 1
        return self.calls - 1

    def note_fixed_axes(self, where: str) -> None:
        self.told.append(f"axes at {where}")

    @contextmanager
    def inside(self, call: int, branch: int) -> Iterator[None]:
        self.told.append(f"into {call}:{branch}")
        yield

    def select(
        self, number: int, decided: Any, operands: Sequence[Sequence[torch.Tensor]], name: str, given: Any
    ) -> Sequence[torch.Tensor]:
        self.selected.append((number, decided, operands, name))
        return [tensor.clone() for tensor in operands[0]]
