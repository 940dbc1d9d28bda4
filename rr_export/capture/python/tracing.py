"""The decisions of one run over all ways, and how a branch goes each of its ways."""

from __future__ import annotations

import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from rr_export.capture.python import diagram as dd
from rr_export.capture.python import heap
from rr_export.capture.python.arithmetic import truth
from rr_export.capture.python.decisions import Deciding, Decision, Line, is_between
from rr_export.capture.python.joining import Joiner, Ragged
from rr_export.capture.python.notes import Notes
from rr_export.capture.python.state import State
from rr_export.capture.python.training import TrainingNoiseError
from rr_export.capture.python.values import CHOOSES, DEFINITE, Sifted, Varying, is_symbolic, settled
from rr_export.capture.python.varied import Varied, tensors_in
from rr_export.capture.recorder import DenseRecorder
from rr_export.errors import CaptureError

# functions of torch that answer with a bool of Python
_ANSWERS = (torch.equal, torch.allclose, torch.is_nonzero, torch.Tensor.equal, torch.Tensor.allclose)


class Tracing:
    """The decisions of one run over all ways.

    Args:
        root: the model.
        recorder: which keeps the calls, and makes the markers.
        notes: of the first run.
        training: paths of modules whose training routes are kept.
    """

    def __init__(self, root: nn.Module, recorder: DenseRecorder, notes: Notes, training: Collection[str] = ()) -> None:
        self.root, self.recorder, self.notes, self.training = root, recorder, notes, tuple(training)
        self.decisions: list[Decision] = []
        self.deciding: dict[int, Deciding] = {}
        self.guard: dd.Diagram = dd.TRUE
        self.stack: list[Any] = []  # the frames
        self.depth = 0  # of branches
        self.paths = {id(vars(m)): n for n, m in root.named_modules()}
        self.inputs: list[torch.Tensor] = []
        self.varied = Varied()
        self.by_site: dict[int, int] = {}
        self.state = State()
        self.conditions = WeakIdKeyDictionary()  # bool [] by the tensors that the code asks
        self.gates = WeakIdKeyDictionary()  # decisions by the tensors that are their conditions
        self.ragged: Ragged = {}  # lists that are longer on some paths, with who is there
        self.lasting = set(heap.snapshot([("self", root)]).places)  # containers that were there before the run

    @property
    def frame(self) -> Any:
        """The frame that runs now."""
        return self.stack[-1]

    def push(self, frame: Any) -> None:
        """A function begins."""
        self.stack.append(frame)

    def pop(self) -> None:
        """A function ends."""
        self.stack.pop()

    def line(self) -> Line:
        """Returns where the code is: the innermost line that is neither ours nor of a numeric library."""
        frame: types.FrameType | None = sys._getframe()
        while frame is not None:
            home = str(frame.f_globals.get("__name__", ""))
            if home.startswith("rr_export.capture.python"):
                if self.stack:
                    return Line(self.frame.source.file, self.frame.node.lineno, self._interpreted_module())
            elif not is_between(frame):
                return Line(frame.f_code.co_filename, frame.f_lineno, self._module_around(frame))
            frame = frame.f_back
        return Line("model", 0)

    def _module_around(self, frame: types.FrameType | None) -> str:
        """The path of the innermost module whose code runs, from a frame outwards."""
        while frame is not None and not str(frame.f_globals.get("__name__", "")).startswith("rr_export.capture.python"):
            path = self._path_of(frame.f_locals.get("self"))
            if path is not None:
                return path
            frame = frame.f_back
        return self._interpreted_module()

    def _interpreted_module(self) -> str:
        found = (self._path_of(frame.scope.variables.get("self")) for frame in reversed(self.stack))
        return next((path for path in found if path is not None), "")

    def _path_of(self, owner: Any) -> str | None:
        return self.paths.get(id(vars(owner))) if isinstance(owner, nn.Module) else None

    def refuse(self, expected: str, got: str, do: str) -> NoReturn:
        """Raises a CaptureError that names the line."""
        line = self.line()
        text = f"{line}: expected {expected}, got {got}; {do}"
        if expected in (CHOOSES, DEFINITE) and line.module in self.training:
            raise TrainingNoiseError(text, line.module)
        raise CaptureError(text)

    def is_constant(self, tensor: torch.Tensor) -> bool:
        """Returns whether a tensor is the same in every run."""
        found: bool = self.notes.ask(str(self.line()), lambda: tensor not in self.varied)
        return found

    def constant(self, tensor: torch.Tensor) -> NDArray[Any] | None:
        """Returns the numbers of a tensor that is the same in every run, None where it is not."""

        def find() -> NDArray[Any] | None:
            if tensor in self.varied:
                return None
            return tensor.detach().cpu().numpy().copy()

        found: NDArray[Any] | None = self.notes.ask(str(self.line()), find)
        return found

    def numbers(self, tensor: torch.Tensor) -> NDArray[Any]:
        """Returns the numbers of a tensor that says how to draw.

        Raises:
            CaptureError: it depends on the input.
        """
        found = self.constant(tensor)
        if found is None:
            self.refuse(
                "a probability that is the same in every run",
                "one that depends on the input",
                "compute it from parameters only, or decide by the input alone (a condition without a draw)",
            )
        return found

    def told(self, function: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """After a function of torch: what is made of something that varies, varies."""
        if not self.notes.replaying:
            self.varied.told(function, args, kwargs, result)
            if function in _ANSWERS and any(t in self.varied for t in tensors_in((args, kwargs))):
                self.refuse_number(f"torch.{function.__name__}()", "write a comparison and .all()")
        return result

    def refuse_number(self, what: str, do: str) -> NoReturn:
        """Raises: code reads a number out of the input in a way that cannot become a condition."""
        self.refuse("a number that is the same in every run", f"{what} of a tensor that depends on the input", do)

    def _add(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def use(self, which: dd.Diagram) -> None:
        """A branch, or a law, depends on these decisions here."""
        for node, condition in dd.nodes(which):
            decision = self.decisions[node.decision]
            decision.cuts |= set(node.cuts)
            decision.asked = dd.either(decision.asked, dd.both(self.guard, condition))

    def as_condition(self, value: Any) -> bool | Varying | torch.Tensor:
        """Returns a value as a condition: a bool, what depends on decisions, or bool [] that depends on the input."""
        if isinstance(value, Sifted):
            value = value.length()
        if isinstance(value, torch.Tensor):
            if value.numel() != 1:
                self.refuse("a condition with one element", f"a tensor of shape {list(value.shape)}", "reduce it")
            numbers = self.constant(value)
            if numbers is not None:
                return bool(numbers.reshape(()))
            if value not in self.conditions:
                self.conditions[value] = (value != 0).reshape(())
            found: torch.Tensor = self.conditions[value]
            return found
        if isinstance(value, torch.SymBool):
            return bool(value)
        if is_symbolic(value):
            found = settled(truth(value))
            return found if isinstance(found, Varying) else bool(found)
        return bool(value)

    def branch(self, condition: bool | Varying | torch.Tensor, arm: Callable[[bool], Any]) -> Any:
        """Returns what ``arm`` gives for the condition; both ways are run where it varies."""
        if isinstance(condition, bool):
            return arm(condition)
        if isinstance(condition, Varying):
            which = dd.apply(lambda holds: 0 if holds else 1, condition.diagram)
            return self.split(which, 2, lambda k: arm(k == 0), names=("true", "false"))
        asked = next((self.gates[c] for c in (condition,) if c in self.gates), None)
        if asked is not None and dd.given(self.decisions[asked].made, self.guard) is dd.TRUE:
            number = asked
        else:
            number = self.gates[condition] = len(self.decisions)
            tensor = self._gate_marker(condition, number)
            self._add(Decision("gate", self.line(), self.guard, tensor=tensor, cuts={1.0}))
        which = dd.node(number, (1.0,), (dd.Leaf(1), dd.Leaf(0)))  # outcome 1 of the gate: the condition holds
        return self.split(which, 2, lambda k: arm(k == 0), names=("true", "false"))

    def holds(self, value: Any) -> Any:
        """Returns a condition as a bool, or as one that varies; one on the input becomes a decision."""
        return settled(self.branch(self.as_condition(value), lambda outcome: outcome))

    def _gate_marker(self, condition: torch.Tensor, number: int) -> torch.Tensor:
        """The condition as a value that lowering knows by its number."""
        if not self.recorder.markers:
            return condition
        return torch.onnx.ops.symbolic(
            "rr::Gate", (condition,), attrs={"decision": number}, dtype=torch.bool, shape=(), version=1
        )

    def split(self, which: dd.Diagram, count: int, arm: Callable[[int], Any], names: tuple[str, ...] = ()) -> Any:
        """Returns the joined results of ``arm(k)``, each run in its branch, for every k that ``which`` may have."""
        which = dd.given(which, self.guard)
        feasible = dd.leaves(which)
        if len(feasible) == 1:
            return arm(feasible[0])
        gates = {d for d in dd.decisions(which) if self.decisions[d].kind == "gate"}
        if len(feasible) > 2 and (gates or not self._by_one(which)):
            half = feasible[: len(feasible) // 2]
            low = dd.apply(lambda k: 0 if k in half else 1, which)
            return self.split(low, 2, lambda side: self.split(which, count, arm, names))
        self.use(which)
        line = self.line()
        number = self.recorder.open_call(-1)
        position = {k: i for i, k in enumerate(feasible)}
        placed = dd.apply(lambda k: position[k], which)
        decided = None
        if gates or not self._by_one(which):
            decided = self.condition(dd.apply(lambda i: i == 1, placed))
        self.deciding[number] = Deciding(
            placed if decided is None else None, line, tuple(names[k] if names else str(k) for k in feasible)
        )
        before, ragged = heap.snapshot(self.roots()), self._ragged_now()
        outer, results, states, raggeds = self.guard, [], [], []
        written, everywhere = self.state.written, []
        made: list[tuple[Decision, int]] = []
        for i, k in enumerate(feasible):
            known = len(self.decisions)
            self.state.written = set(written)
            everywhere.append(self.state.written)
            self.guard = dd.both(outer, dd.apply(lambda v, i=i: v == i, placed))
            self.depth += 1
            with self.recorder.inside(number, i):
                try:
                    results.append(arm(k))
                except CaptureError:
                    raise
                except Exception as error:
                    raise CaptureError(
                        f"{line}: expected every branch to compute, got {type(error).__name__}: {error} where "
                        f"branch {self.deciding[number].names[i]!r} is taken; a branch cannot raise in a graph: "
                        "remove it"
                    ) from error
                finally:
                    self.depth -= 1
                    self.guard = outer
                states.append(heap.snapshot(self.roots()))
                raggeds.append(self._ragged_now())
            made += [(d, i) for d in self.decisions[known:] if d.kind == "gate"]
            self._check_tensors(before, line)
            heap.restore(before)
            self.ragged = {k: (store, list(there)) for k, (store, there) in ragged.items()}
        self.state.written = set.intersection(*everywhere)
        self.recorder.note_fixed_axes(str(line))
        joiner = Joiner(self, number, decided, placed, line, before, states, raggeds)
        return joiner.join(results, made)

    def _ragged_now(self) -> Ragged:
        return {k: (store, list(there)) for k, (store, there) in self.ragged.items()}

    def _by_one(self, which: dd.Diagram) -> bool:
        """Whether one draw or site decides, by contiguous intervals."""
        if isinstance(which, dd.Leaf) or len(dd.decisions(which)) != 1:
            return False
        values = [child.value for child in which.children if isinstance(child, dd.Leaf)]
        return len(values) == len(which.children) == len(set(values)) and (
            self.decisions[which.decision].kind != "gate"
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
        decision = self.decisions[number]
        for bound, low in zip(span, (True, False), strict=True):
            if abs(bound) == float("inf"):
                continue
            reaches = decision.tensor if decision.kind == "gate" else self.at_least(number, bound)
            yield reaches if low else torch.logical_not(reaches)

    def at_least(self, number: int, cut: float) -> torch.Tensor:
        """Returns bool []: the decision lies at ``cut`` or above."""
        if not self.recorder.markers:
            found = torch.ones((), dtype=torch.bool)
            self.varied.add(found)
            return found
        return torch.onnx.ops.symbolic(
            "rr::AtLeast", (), attrs={"decision": number, "cut": cut}, dtype=torch.bool, shape=(), version=1
        )

    def roots(self) -> Iterator[tuple[str, Any]]:
        """Yields what the code can change."""
        yield "self", self.root
        for frame in self.stack:
            for name in frame.source.used - frame.source.own:
                if isinstance(frame.space.get(name), dict | list | set | deque):
                    self.lasting.add(id(frame.space[name]))
                    yield name, frame.space[name]
            while frame is not None:
                yield frame.scope.function, frame.scope
                frame = frame.parent

    def _check_tensors(self, before: heap.Snapshot, line: Line) -> None:
        for tensor, version, name in before.tensors.values():
            if tensor._version != version:
                raise CaptureError(
                    f"{line}: expected branches that change nothing in place, got one that changes "
                    f"{name or 'a tensor'}; use the operation that returns a new tensor"
                )

    @contextmanager
    def entering(self, call: int, branch: int) -> Iterator[None]:
        """Around a branch of a site of rr_export: its route is one more decision."""
        site = self.recorder.calls[call].site
        if site < 0:
            yield
            return
        if site not in self.by_site:
            module = list(self.recorder.sites.values())[site]
            self.by_site[site] = len(self.decisions)
            cuts = {float(k) for k in range(1, module.policy.branches)}
            self._add(Decision("site", Line(self.recorder.names[site], 0), self.guard, site=module, cuts=cuts))
        number, outer = self.by_site[site], self.guard
        decision = self.decisions[number]
        decision.asked = dd.either(decision.asked, outer)
        cuts_ = sorted(decision.cuts)
        marks = [dd.Leaf(k == branch) for k in range(len(cuts_) + 1)]
        self.guard = dd.both(outer, dd.node(number, cuts_, marks))
        try:
            yield
        finally:
            self.guard = outer
