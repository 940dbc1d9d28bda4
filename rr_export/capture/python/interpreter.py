"""A small interpreter of Python, in which every decision goes all its ways: its parts, put together."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from numpy.typing import NDArray
from torch import nn

from rr_export.capture.python import arithmetic
from rr_export.capture.python import diagram as dd
from rr_export.capture.python.aliases import Aliases
from rr_export.capture.python.ancestry import Ancestry
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.calls import NativeCalls
from rr_export.capture.python.coins import Coins
from rr_export.capture.python.decisions import Deciding, Decision, Line
from rr_export.capture.python.drawing import Drawing
from rr_export.capture.python.effects import Effects
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.functions import Functions
from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.lifting import Lifter
from rr_export.capture.python.markers import Markers
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.notes import Notes
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.outputs import Outputs
from rr_export.capture.python.sequences import Sequences
from rr_export.capture.python.splitting import Splitter
from rr_export.capture.python.state import Entry, Left
from rr_export.capture.python.syntax.assignments import Assignments
from rr_export.capture.python.syntax.closures import Closures
from rr_export.capture.python.syntax.comprehensions import Comprehensions
from rr_export.capture.python.syntax.dispatch import Dispatch
from rr_export.capture.python.syntax.expressions import Expressions
from rr_export.capture.python.syntax.failures import Failures
from rr_export.capture.python.syntax.flow import Flow
from rr_export.capture.python.syntax.invocations import Invocations
from rr_export.capture.python.syntax.iterations import Iterations
from rr_export.capture.python.syntax.loops import Loops
from rr_export.capture.python.syntax.matching import Matching
from rr_export.capture.python.syntax.short_circuits import ShortCircuits
from rr_export.capture.python.syntax.statements import Statements
from rr_export.capture.python.syntax.tries import Tries
from rr_export.capture.python.syntax.watched_blocks import WatchedBlocks
from rr_export.capture.python.training_mode_routes import TrainingRoutes
from rr_export.capture.python.values import UniformDraw, Varying, diagram_of
from rr_export.capture.python.varied import Varied
from rr_export.capture.python.whereabouts import Whereabouts
from rr_export.capture.recorder import DenseRecorder


class Interpreter:
    """One run over all ways.

    It is put together here from what is remembered (the stack, the ledger of decisions, the memory), what goes all ways
    (the splitter, and what uses it), and what knows the syntax (expressions and statements). Each part holds just what
    it needs of those before it. Calls lead back from the last ones to the first: those get ``self.call``.

    Args:
        root: the model.
        recorder: which keeps the calls, and makes the markers.
        notes: of the first run.
        training: modules whose training routes are kept.
    """

    def __init__(self, root: nn.Module, recorder: DenseRecorder, notes: Notes, training: TrainingRoutes) -> None:
        self.root, self.recorder, self.notes, self.training = root, recorder, notes, training
        self.varied = Varied()
        self._stack, self._ledger = Stack(), Ledger()
        self._whereabouts = Whereabouts(root, self._stack, notes, training)
        self._memory = Memory(root, self._stack, self._whereabouts)
        ancestry = Ancestry(lambda: [tensor for _, tensor in recorder.inputs])
        self._numbers = KnownNumbers(notes, self.varied, ancestry, self._whereabouts)
        self._coins = Coins()
        self._effects = Effects(self._ledger, self._memory, self._whereabouts)
        markers = Markers(self._ledger, self.varied, wanted=recorder.markers)
        aliases = Aliases(self._ledger, self._memory, self._whereabouts)
        self._splitter = Splitter(
            recorder, self._ledger, markers, self._memory, aliases, self.varied, self._whereabouts
        )
        self._branching = Branching(self._splitter, self._ledger, markers, self._numbers, self._whereabouts)
        self._lifter = Lifter(self._ledger, self._splitter, self._numbers, self._whereabouts, self.call)
        self._drawing = Drawing(self._ledger, self._numbers, self._memory, self._whereabouts, notes.divided)
        self._natives = NativeCalls(
            *(self._stack, self._branching, self._lifter, self._drawing, self._numbers, self._effects),
            *(self.call, self._coins),
        )
        self._outputs = Outputs(self._ledger, self._lifter)
        evaluate, execute = Dispatch(self._stack), Dispatch(self._stack)
        flow = Flow(evaluate, execute, self._stack, self._branching, self._splitter.settle)
        self._functions = Functions(
            evaluate, flow, self._natives, self._stack, self._ledger, self._memory, self._whereabouts
        )
        self._learn_syntax(evaluate, execute, flow)

    def _learn_syntax(self, evaluate: Dispatch, execute: Dispatch, flow: Flow) -> None:
        """The parts that know the syntax, each handed what it needs."""
        stack, ledger, memory, whereabouts = self._stack, self._ledger, self._memory, self._whereabouts
        branching, lifter, effects, natives = self._branching, self._lifter, self._effects, self._natives
        operations = self._operations = Operations(lifter, branching, memory, self._coins, self.call)
        tries = Tries()
        sequences = Sequences(memory, whereabouts, branching, self.call)
        closures = Closures(evaluate, stack, self._functions.run_source)
        settle = self._splitter.settle
        assignments = Assignments(evaluate, stack, memory, operations, sequences, effects, settle)
        assign = assignments.assign
        comprehensions = Comprehensions(evaluate, assign, stack, ledger, branching, memory, operations, sequences)
        iterations = Iterations(assign, stack, memory, operations, sequences)
        for expressions in (
            Expressions(evaluate, stack, memory, operations, lifter),
            ShortCircuits(evaluate, branching, operations, memory),
            Invocations(
                *(evaluate, comprehensions, stack, memory, operations, sequences, natives),
                *(self.call, settle),
            ),
            *(comprehensions, closures, assignments, iterations),
        ):
            evaluate.learn(expressions.expressions())
        for statements in (
            Statements(evaluate, stack, assignments, closures, self.call),
            Failures(evaluate, branching, effects, stack, ledger, tries, whereabouts),
            Loops(evaluate, iterations, flow, stack, branching, ledger, whereabouts),
            Matching(evaluate, flow, stack, branching, operations),
            WatchedBlocks(evaluate, assign, flow, stack, ledger, tries),
            *(flow, assignments),
        ):
            execute.learn(statements.statements())

    @property
    def decisions(self) -> Sequence[Decision]:
        """The decisions so far, in the order in which they were made."""
        return self._ledger.decisions

    @property
    def by_site(self) -> Mapping[int, int]:
        """The decisions that are routes of sites, by the index of the site."""
        return self._ledger.by_site

    @property
    def deciding(self) -> Mapping[int, Deciding]:
        """What the recorder's calls choose by, where the model's own code decides, by the number of the call."""
        return self._splitter.deciding

    def by_route(self, site: int) -> dd.Diagram:
        """Returns the route of a site, by the decision that it is."""
        return self._ledger.by_route(site)

    def apart(self, call: int, results: Sequence[Any]) -> Any:
        """Returns the value that stands for the tensors of different shapes that the branches of a site return."""
        which = self._ledger.by_route(self.recorder.calls[call].site)
        return self._splitter.one_of(dd.choose(which, list(map(diagram_of, results))))

    @property
    def inputs(self) -> list[torch.Tensor]:
        """The tensors that the model was given."""
        return self._memory.inputs

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around the run: after it everything that code can change is as before."""
        self._memory.begin()
        try:
            yield
        finally:
            self._memory.forget()

    def left(self, unread: Sequence[Entry]) -> Iterator[Left]:
        """Yields what the next run would find changed; not the entries that were kept from being read."""
        yield from self._memory.left(unread)

    @contextmanager
    def entering(self, call: int, branch: int) -> Iterator[None]:
        """Around a branch of a site of rr_export: its route is one more decision."""
        site = self.recorder.calls[call].site
        if site < 0:
            yield
            return
        module = list(self.recorder.sites.values())[site]
        with self._ledger.route(site, self.recorder.names[site], module, branch):
            yield

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call gives, interpreted where the function's source is at hand."""
        return self._functions.call(function, args, kwargs)

    def run_function(self, function: types.FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a plain Python function gives."""
        return self._functions.run_function(function, args, kwargs)

    def drawn(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a random function gives: the numbers that it draws are decisions."""
        return self._natives.draw(function, args, kwargs)

    def told(self, function: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """After a function of torch: what is made of something that varies, varies."""
        self._coins.check_tensors(args, kwargs)
        return self._numbers.told(function, args, kwargs, result)

    def outputs(self, result: Any) -> Any:
        """Returns what the model returns: tensors, whatever is decided."""
        return self._outputs.of(result)

    # What the values that vary ask for: this is their Tracer.
    operate = staticmethod(arithmetic.operate)
    operate_torch = staticmethod(arithmetic.operate_torch)
    drawn_method = staticmethod(arithmetic.drawn_method)

    @property
    def guard(self) -> dd.Diagram:
        """How the decisions went, where the code runs now."""
        return self._ledger.guard

    def lift(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what ``function`` gives, called once for every combination of values that its arguments can have."""
        return self._lifter.lift(function, args, kwargs)

    def tensor_attribute(self, value: Varying, name: str) -> Any:
        """Returns an attribute of a value that is one of several tensors."""
        if callable(getattr(torch.Tensor, name)):
            return lambda *args, **kwargs: self._natives.call_method(value, name, args, kwargs)
        return self._operations.attribute(value, name)

    def constant(self, tensor: torch.Tensor) -> NDArray[Any] | None:
        """Returns the numbers of a tensor that is the same in every run, None where it is not."""
        return self._numbers.constant(tensor)

    def compare_varying(self, draw: UniformDraw, number: Varying, below: bool) -> Any:
        """Returns whether a draw is below a number that depends on a decision, or not."""
        return self._drawing.compare_varying(draw, number, below)

    def compares(self, draw: UniformDraw) -> None:
        """A draw is compared with a number that is the same on every path."""
        self._drawing.compares(draw)

    def line(self) -> Line | None:
        """Returns the line of interpreted code that runs; None: there is none."""
        if not self._stack.frames:
            return None
        top = self._stack.top
        return Line(top.source.file, top.node.lineno)  # type: ignore[attr-defined]

    def refuse(self, expected: str, got: str, do: str) -> NoReturn:
        """Raises a CaptureError that names the line."""
        self._whereabouts.refuse(expected, got, do)
