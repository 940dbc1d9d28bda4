"""The original model on a path: its random functions give numbers that decide as they are told to.

The model's code runs as it was written. Every random function, and every number that is read out of a tensor to decide,
is met in the order that the survey saw; a call that it did not see there is an error, not a guess.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import nn

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.conclude import Program
from rr_export.capture.python.decisions import Decision, is_between
from rr_export.capture.python.detect import modules_of
from rr_export.capture.python.given_laws import watch_run
from rr_export.capture.python.intercepting import called_in_place, intercepted, stand_ins
from rr_export.capture.python.quantiles import QUANTILES
from rr_export.capture.python.random_functions import SHUFFLES, Asked, Law, handed_over, reading, regularises
from rr_export.capture.python.read_numbers import ReadTruth, extremes_read, following, number_read
from rr_export.capture.python.told_numbers import ToldNumber, drawn_values, is_told
from rr_export.capture.python.training_mode_routes import routed_in_training
from rr_export.capture.python.varied import Varied, tensors_in
from rr_export.capture.python.watched_numbers import WatchedFloat, WatchedTensors
from rr_export.eager.code_sites import CodeRun, CodeSite
from rr_export.errors import RunError
from rr_export.laws.plan import Plan

Outcome = tuple[int, bool]  # the number of a decision that is a condition on the input, and how it went

_turned: ContextVar[Mapping[int, bool]] = ContextVar("rr_python_gates", default={})  # noqa: B039 (never changed)
_watched: ContextVar[set[Outcome] | None] = ContextVar("rr_python_gates_watched", default=None)


@contextmanager
def turned_gates(outcomes: Mapping[int, bool]) -> Iterator[None]:
    """Inside the block conditions on the input, by the numbers of their decisions, go as told in every run."""
    token = _turned.set(outcomes)
    try:
        yield
    finally:
        _turned.reset(token)


@contextmanager
def watched_gates() -> Iterator[set[Outcome]]:
    """Yields what holds, when runs inside the block are over, how conditions on the input went in them."""
    seen: set[Outcome] = set()
    token = _watched.set(seen)
    try:
        yield seen
    finally:
        _watched.reset(token)


@dataclass
class OwnCode:
    """The decisions of a model's own code.

    Attributes:
        program: what the survey found.
        sites: what stands for its draws in a run, by name.
    """

    program: Program
    sites: dict[str, CodeSite] = field(init=False)

    def __post_init__(self) -> None:
        plan = self.program.plan
        self.sites = {
            plan.sites[i].name: CodeSite(plan.sites[i].policy, plan.sites[i].branches) for i in self.program.draws
        }

    def site(self, decision: int) -> CodeSite | None:
        """Returns what stands for a draw; None: nothing depends on it."""
        index = self.program.sites.get(decision)
        return None if index is None else self.sites.get(self.program.plan.sites[index].name)

    @property
    def plan(self) -> Plan:
        """All sites."""
        return self.program.plan

    def many_runs(self, root: nn.Module) -> AbstractContextManager[None]:
        """Inside the block runs begin faster: the code's random functions stay intercepted between them."""
        return stand_ins(modules_of(root))

    @contextmanager
    def following(self, root: nn.Module, run: CodeRun, given: Any) -> Iterator[None]:
        """Inside the block the code's draws decide as ``run`` says."""
        walk = _Walk(self, run, Varied(given))
        token = following.set(walk)
        with (
            intercepted(walk.draw, modules_of(root), walk.told),
            routed_in_training(root, self.program.training.kept),
            extremes_read() if walk.gated else nullcontext(),
        ):
            try:
                yield
                if run.finished:
                    walk.finish()
            finally:
                following.reset(token)


@dataclass(frozen=True)
class _Made:
    """A condition that nobody has asked yet.

    Attributes:
        condition: itself.
        outcome: how it goes by itself.
        places: files and lines of where it was made and of the calls around, from the innermost out.
    """

    condition: ReadTruth | torch.Tensor
    outcome: bool
    places: tuple[tuple[str, int], ...]


class _Walk:
    """The decisions of one run, in order."""

    def __init__(self, code: OwnCode, run: CodeRun, varied: Varied) -> None:
        self.code, self.run, self.varied = code, run, varied
        self.decisions = code.program.decisions
        self.positions: dict[int, float] = {}
        self.gated = any(decision.kind == "gate" for decision in self.decisions)
        self.unseen = any(decision.unseen for decision in self.decisions)
        self.asked: dict[int, tuple[Any, int, bool]] = {}  # conditions by identity, first decision and outcome
        self.unasked: list[_Made] = []
        self.waiting: dict[int, tuple[Law, Any]] = {}  # draws whose outcome a later decision says
        self.tensors = WatchedTensors()
        self.drawn = Varied()  # what is made of draws
        self.next = 0
        self.given = watch_run(self.positions)

    def expect(self) -> int | None:
        """Returns the next decision that is made after those so far."""
        for number in range(self.next, len(self.decisions)):
            decision = self.decisions[number]
            if decision.kind == "site":
                assert decision.site is not None
                self.positions[number] = float(self.run.route_of_module(decision.site))
            elif self.holds(decision.made):
                return number
        return None

    def holds(self, diagram: dd.Diagram) -> bool:
        """Whether something holds after the decisions so far."""
        try:
            return bool(dd.at(diagram, self.positions))
        except KeyError:
            return False

    def draw(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a random function gives in this run."""
        if regularises(function):  # it is off: what it returns is made of what it is given
            return self.told(function, args, kwargs, function(*args, **kwargs))
        read = reading(function)
        if read is None:
            return called_in_place(function, args, kwargs)
        result = self._draw(function, read, args, kwargs)
        self.drawn.add(result)
        return result

    def _draw(self, function: Any, read: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        asked = read(lambda t: t.detach().cpu().numpy(), *args, **kwargs)
        if asked is None or asked.laws is None:
            return function(*args, **kwargs)
        numbers = [self._meet("draw") for _ in asked.laws]
        self.given.laws.update(zip(numbers, asked.laws, strict=True))
        sites = [self.code.site(n) for n in numbers]
        routes = [None if s is None else self.run.route_of(s) for s in sites]
        if all(r is None for r in routes) and not is_told():
            result = function(*args, **kwargs)
            drawn = args[0] if function in SHUFFLES else result
            for number, law, value in zip(numbers, asked.laws, drawn_values(drawn, asked), strict=True):
                self._place(number, law, value)
            return result
        values = []
        for number, law, route in zip(numbers, asked.laws, routes, strict=True):
            told = ToldNumber(self.decisions[number], law, self._known(number))
            self.positions[number], value = told.free(asked) if route is None else told.of_route(route, asked)
            values.append(self._watched(number, law, value, asked))
        result = asked.make(values)
        result = handed_over(function, args[0] if args else None, result)
        if isinstance(result, torch.Tensor) and result.numel() == 1 and asked.laws[0].probabilities is None:
            self.tensors.add(result, functools.partial(self._compared, numbers[0], asked.laws[0]), asked.laws[0])
        return result

    def _watched(self, number: int, law: Law, value: Any, asked: Asked) -> Any:
        """A number that is drawn, as one that tells what it is compared with where it is a plain one."""
        if law.probabilities is not None or not law.scale or asked.like == "torch":
            return value
        return WatchedFloat(value, functools.partial(self._compared, number, law), law.scale, law.offset)

    def _compared(self, number: int, law: Law, position: float) -> None:
        share = QUANTILES[law.quantile].share(position)
        self.given.compared.setdefault(number, set()).add(share)

    def _known(self, number: int) -> dict[int, float]:
        """The positions of decisions, of those too that the law of a draw depends on and that are told already."""
        known = dict(self.positions)
        for parent in dd.decisions(self.decisions[number].law) - known.keys():
            site = self.code.site(parent)
            route = None if site is None else self.run.route_of(site)
            if route is not None:
                known[parent] = [0.0, *sorted(self.decisions[parent].cuts)][route]
        return known

    def _place(self, number: int, law: Law, value: Any) -> None:
        """Finds where a number that the code drew itself lies, as soon as the decision is made that says it."""
        position = ToldNumber(self.decisions[number], law, self.positions).position_of(value)
        if position is None:
            self.waiting[number] = law, value
            return
        self.positions[number] = position
        for other in [n for n in self.waiting if n != number]:
            self._place(other, *self.waiting.pop(other))

    def _meet(self, kind: str) -> int:
        self._settle()
        number, frame = self.expect(), _author()
        decision = None if number is None else self.decisions[number]
        if decision is None or decision.kind != kind or decision.line.file != frame.f_code.co_filename:
            self._astray(number, f"a draw at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        assert number is not None
        self.next = number + 1
        return number

    def _astray(self, number: int | None, got: str) -> NoReturn:
        expected = "no more decisions" if number is None else f"a decision at {self.decisions[number].line}"
        raise RunError(
            f"model: expected {expected}, got {got}; the model's code does not run as it did when it was traced: call "
            "rr.plan_of(model, args) with these arguments"
        )

    def ask(self, condition: Any, natural: bool) -> bool:
        """Returns how a condition on the input goes in this run, by the object that the code asks."""
        frame = _author()
        self._settle(self._asked_before(condition, natural)[0], frame)
        first, known = self._asked_before(condition, natural)
        number = self.expect()
        if number is None or not self._is_asked(number, first, frame):
            return known
        return self._take(number, condition, natural)

    def _asked_before(self, condition: Any, natural: bool) -> tuple[int | None, bool]:
        """The first decision that a condition was in this run, and how it goes by what is known."""
        _, first, outcome = self.asked.get(id(condition), (None, None, natural))
        return first, outcome

    def compared(self, truth: ReadTruth) -> None:
        """Two numbers that were read are compared; the outcome may be asked here, later, or never."""
        self._made(truth, int(truth) == 1)

    def _made(self, condition: ReadTruth | torch.Tensor, outcome: bool) -> None:
        self.unasked.append(_Made(condition, outcome, tuple(_places(_author()))))

    def _is_asked(self, number: int, first: int | None, frame: FrameType) -> bool:
        """Whether a decision is the condition that is asked now, which was the decision ``first`` before."""
        gate = self.decisions[number]
        return (
            gate.kind == "gate" and self._first(gate) == first and gate.is_at(frame.f_code.co_filename, frame.f_lineno)
        )

    def _first(self, gate: Decision) -> int | None:
        """The decision that a condition was before in this run."""
        return gate.again if gate.again in self.positions else None

    def _take(self, number: int, condition: Any, natural: bool) -> bool:
        self.next = number + 1
        outcome = _turned.get().get(number, natural)
        watched = _watched.get()
        if watched is not None:
            watched.add((number, outcome))
        self.positions[number] = float(outcome)
        again = self.decisions[number].again
        self.asked[id(condition)] = (condition, number if again is None else again, outcome)
        return outcome

    def _settle(self, first: int | None = None, frame: FrameType | None = None) -> None:
        """Conditions that come next, and were made but not asked yet, are decided as if asked where they were made.

        Args:
            first: of the condition that is asked now.
            frame: which asks it.
        """
        while (number := self.expect()) is not None and self.decisions[number].kind == "gate":
            gate = self.decisions[number]
            if frame is not None and self._is_asked(number, first, frame):
                return
            made = self._made_for(gate)
            if made is None or self._first(gate) is not None:
                return
            self._take(number, made.condition, made.outcome)

    def _made_for(self, gate: Decision) -> _Made | None:
        """The condition that a decision is: the first that was made on its line, or the last in what that calls."""
        waiting = [made for made in self.unasked if id(made.condition) not in self.asked]
        here = [made for made in waiting if gate.is_at(*made.places[0])]
        inside = [made for made in waiting if any(gate.is_at(*place) for place in made.places)]
        return next(iter(here + inside[::-1]), None)

    def told(self, function: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """After a function of torch: returns its result, or how a condition on the input goes in this run."""
        self.tensors.told(function, args)
        if not self.gated:
            return result
        self.varied.told(function, args, kwargs, result)
        if self.unseen:
            self.drawn.told(function, args, kwargs, result)
        if function not in _READS:
            if self.gated:
                self._compared_tensors(args, result)
            return result
        asked = next((t for t in tensors_in(args) if t in self.varied), args[0])
        if asked not in self.varied and not self._awaits_unseen(asked):
            return result
        return self.ask(asked, result) if function is torch.Tensor.__bool__ else number_read(result)

    def _compared_tensors(self, args: Any, result: Any) -> None:
        """A condition that is a tensor is made, and may be asked later; what it is made of is none by itself."""
        used = tensors_in(args)
        self.unasked = [made for made in self.unasked if not any(made.condition is one for one in used)]
        single = isinstance(result, torch.Tensor) and result.dtype == torch.bool and result.numel() == 1
        if single and result in self.varied:
            self._made(result, bool(result))

    def _awaits_unseen(self, asked: torch.Tensor) -> bool:
        """Whether the next decision is a condition whose tensor need not be seen to depend on the input."""
        number = self.expect()
        return number is not None and self.decisions[number].unseen and asked not in self.drawn

    def finish(self) -> None:
        """Tells the run what was drawn, after all of the code has run."""
        self._settle()
        left = self.expect()
        if left is not None and self.decisions[left].kind == "draw":
            self._astray(left, "none: the model returned")
        for number, decision in enumerate(self.decisions):
            site = self.code.site(number)
            if site is not None and number in self.positions:
                self.run.took(site, sum(cut <= self.positions[number] for cut in decision.cuts))


def _author() -> FrameType:
    """The innermost frame that is neither ours nor of a numeric library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and is_between(frame):
        frame = frame.f_back
    return frame


def _places(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    """Yields the files and lines of a frame of the model's and of those around it, up to what calls the model."""
    while frame is not None and not str(frame.f_globals.get("__name__")).startswith("rr_export."):
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


_READS = (
    *(torch.Tensor.__bool__, torch.Tensor.item, torch.equal, torch.allclose, torch.is_nonzero),
    *(torch.Tensor.equal, torch.Tensor.allclose, torch.Tensor.is_nonzero),
)
