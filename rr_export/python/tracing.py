"""Runs a model's own code so that every decision goes all its ways, and joins what the ways leave behind."""

from __future__ import annotations

import functools
import itertools
import operator
import sys
import types
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.distributions import Distribution
from torch.utils import _pytree as pytree

from rr_export.errors import CaptureError
from rr_export.python import diagram as dd
from rr_export.python import heap
from rr_export.python.decisions import Deciding, Decision, Line
from rr_export.python.joining import Joiner, Ragged
from rr_export.python.sources import (
    COND,
    IN_PLACE,
    REGULARISING,
    TORCH,
    Asked,
    GeneratorGivenError,
    Law,
    cond_arguments,
    original_of,
    own_generator,
    called_in_place,
    reading,
    reseeds,
    sample,
)
from rr_export.python.state import State
from rr_export.python.training import TrainingNoiseError
from rr_export.python.values import (
    MOST_WAYS,
    ROUNDINGS,
    Drawn,
    Later,
    Poison,
    Sifted,
    Uniform,
    Varying,
    at_hand,
    call_plain,
    has_tensors,
    is_symbolic,
    operate,
    operate_torch,
    plain,
    settled,
    truth,
)
from rr_export.python.varied import Varied
from rr_export.recorder import DenseRecorder

# builtins that only compute: called once for every value
PURE: frozenset[Any] = frozenset(
    {abs, bool, divmod, float, int, len, max, min, pow, range, round, str, sum, sorted, tuple, repr, hash, ord, chr}
    | {isinstance, issubclass, type, getattr, hasattr, id, callable, list, dict, set, zip, enumerate, reversed}
    | set(ROUNDINGS)
    | {f for f in vars(operator).values() if callable(f) and not isinstance(f, type)}
)
# methods of plain containers and strings that only compute
PURE_METHODS = frozenset(
    {"keys", "values", "items", "get", "index", "count", "copy", "upper", "lower", "strip", "split", "startswith", "endswith"}
    | {"union", "intersection", "difference", "issubset", "isdigit", "format", "join", "replace", "title", "bit_length"}
)
CALLEE = object()  # in place of a function: the first argument is what to call, and may vary


@dataclass(frozen=True)
class Method:
    """In place of a function: a method of the first argument, which may vary."""

    name: str

    def of(self, owner: Any) -> Any:
        """Returns the method bound to its owner."""
        return getattr(owner, self.name)


EFFECTS: frozenset[Any] = frozenset({print, input, open, exec, eval, breakpoint, next})


_BETWEEN = ("torch", "numpy", "random", "rr_export", "contextlib", "functools")  # code between the author's and a draw


class Notes:
    """What the first run, on real numbers, found out, for the second run, in which tensors have none.

    The second run makes the same calls in the same order.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[str, Any]] = []
        self.position = 0
        self.replaying = False

    def again(self) -> Notes:
        """Returns the notes for a second run."""
        notes = Notes()
        notes.entries, notes.replaying = self.entries, True
        return notes

    def ask(self, where: str, find: Callable[[], Any]) -> Any:
        """Returns what the first run found here."""
        if not self.replaying:
            self.entries.append((where, find()))
            return self.entries[-1][1]
        if self.position >= len(self.entries) or self.entries[self.position][0] != where:
            raise CaptureError(
                f"{where}: expected the same code to run again, got other calls the second time; remove what makes "
                "the model's code depend on something else than its arguments and draws"
            )
        self.position += 1
        return self.entries[self.position - 1][1]


class Tracing:
    """The decisions of one run over all ways.

    Args:
        root: the model.
        recorder: which keeps the calls, and makes the markers.
        notes: of the first run.
        training: paths of modules whose training routes are kept.
    """

    def __init__(
        self, root: nn.Module, recorder: DenseRecorder, notes: Notes, training: Collection[str] = ()
    ) -> None:
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

    # Where

    def line(self) -> Line:
        """Returns where the code is: the innermost line that is neither ours nor of a numeric library."""
        frame: types.FrameType | None = sys._getframe()
        while frame is not None:
            home = str(frame.f_globals.get("__name__", ""))
            if home.startswith("rr_export.python"):
                if self.stack:
                    return Line(self.frame.source.file, self.frame.node.lineno, self._interpreted_module())
            elif home.partition(".")[0] not in _BETWEEN:
                return Line(frame.f_code.co_filename, frame.f_lineno, self._module_around(frame))
            frame = frame.f_back
        return Line("model", 0)

    def _module_around(self, frame: types.FrameType | None) -> str:
        """The path of the innermost module whose code runs, from a frame outwards."""
        while frame is not None and not str(frame.f_globals.get("__name__", "")).startswith("rr_export.python"):
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
        raise CaptureError(f"{self.line()}: expected {expected}, got {got}; {do}")

    # Numbers

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
            self.varied.told(args, kwargs, result)
        return result

    # Draws

    def drawn(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the numbers that a random function draws, as decisions."""
        if function is COND:
            condition, on_true, on_false, operands = cond_arguments(*args, **kwargs)
            return self.branch(
                self.as_condition(condition), lambda outcome: self.call(on_true if outcome else on_false, operands, {})
            )
        if reseeds(function):
            self.refuse(
                "draws from the global generators as they are",
                f"a generator that is seeded or made by {function.__name__}()",
                "leave it out; seeds are given to the exported file",
            )
        read = reading(function)
        assert read is not None
        if function in REGULARISING and read(self.numbers, *args, **kwargs) is None:
            return self._not_drawn(function, args, kwargs)
        asked = self._asked(lambda *a, **k: read(self.numbers, *a, **k), args, kwargs)
        first = next(a for a in dd.leaves(asked) if isinstance(a, Asked))
        if first.laws is None:
            line = self.line()
            if line.module in self.training:
                raise TrainingNoiseError(f"{line}: expected a draw that chooses, got {first.why}", line.module)
            self.refuse(
                "a draw that chooses",
                f"one that is used as a number ({first.why})",
                "make the numbers an input of the model, or call model.eval() if this is dropout",
            )
        elements = [self._decide(dd.apply(lambda a, i=i: a.laws[i], asked)) for i in range(len(first.laws))]
        if first.like == "python" or (first.like == "numpy" and first.shape is None):
            return elements[0]
        if first.like == "list":
            return elements
        array = np.empty(len(elements), dtype=object)
        for i, element in enumerate(elements):
            array[i] = element
        result = Drawn(array.reshape(first.shape), first.like)
        return self._in_place(args[0], result) if function in IN_PLACE else result

    def _not_drawn(self, function: Any, args: Any, kwargs: Any) -> Any:
        if self.varies((args, kwargs)):
            return self._call_varied(function, args, kwargs)
        return self.told(function, args, kwargs, function(*args, **kwargs))

    def _in_place(self, target: Any, result: Drawn) -> Any:
        if isinstance(target, Drawn):
            target.values = result.values
            return target
        return result

    def _asked(self, read: Callable[..., Asked], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dd.Diagram:
        def reads(*values: Any) -> Asked:
            given, named = pytree.tree_unflatten([at_hand(v) for v in values], spec)
            try:
                return read(*given, **named)
            except GeneratorGivenError:
                self.refuse(
                    "a draw from the global generator",
                    "one from a generator that was passed explicitly",
                    "leave the generator out; seeds are given to the exported file",
                )
            except (ValueError, TypeError, IndexError) as error:
                self.refuse("arguments of a random function", f"{type(error).__name__}: {error}", "mend them")

        flat, spec = pytree.tree_flatten((args, kwargs))
        found = dd.apply(reads, *(self._diagram(v) for v in flat))
        kinds = {(a.laws is None or len(a.laws), a.shape) for a in dd.leaves(found)}
        if len(kinds) > 1:
            self.refuse("as many numbers on every path", "calls that draw differently", "draw the same number of them")
        return found

    def _diagram(self, value: Any) -> dd.Diagram:
        if isinstance(value, Drawn):
            value = value.item() if value.values.size == 1 else value.values.tolist()
        if isinstance(value, Uniform):
            self.refuse(
                "a draw that chooses", "one that is used as a number", "compare it, or make the number an input of the model"
            )
        return dd.given(value.diagram, self.guard) if isinstance(value, Varying) else dd.Leaf(value)

    def _decide(self, law: dd.Diagram) -> Any:
        """A new decision with this law."""
        laws: list[Law] = dd.leaves(law)
        number = len(self.decisions)
        if all(one.probabilities is None for one in laws):
            if len(laws) > 1:
                self.refuse(
                    "a uniform draw with fixed bounds", "bounds that depend on a decision", "compare with what depends"
                )
            self._add(Decision("draw", self.line(), self.guard, dd.Leaf(Law())))
            return Uniform(number, laws[0].scale, laws[0].offset)
        counts = {len(one.values) for one in laws}
        if len(counts) > 1:
            self.refuse("as many outcomes on every path", f"{sorted(counts)}", "give the others probability 0")
        count = counts.pop()
        self._add(Decision("draw", self.line(), self.guard, law))
        if count > 1:
            self._use_law(law)
        outcomes = [dd.apply(lambda one, k=k: one.values[k], law) for k in range(count)]
        route = dd.node(number, [float(k) for k in range(1, count)], [dd.Leaf(k) for k in range(count)])
        return plain(dd.choose(route, outcomes))

    def _add(self, decision: Decision) -> None:
        self.decisions.append(decision)

    def _use_law(self, law: dd.Diagram) -> None:
        """The decisions that a law depends on are asked."""
        parents = dd.decisions(law)
        if len(parents) > 1:
            lines = ", ".join(sorted(str(self.decisions[p].line) for p in parents))
            self.refuse(
                "probabilities that depend on one decision at most",
                f"some that depend on {len(parents)} ({lines})",
                "let the law depend on the last step only, as a Markov chain's does",
            )
        self.use(law)

    def compare_varying(self, draw: Uniform, number: Varying, below: bool) -> Any:
        """Returns whether a draw is below a number that depends on a decision (outcome 0), or not: a step of a chain."""
        decision = self.decisions[draw.decision]
        bound = dd.given(number.diagram, self.guard)
        if isinstance(bound, dd.Leaf):
            return operate(operator.lt if below else operator.ge, draw, bound.value)
        if decision.cuts or not isinstance(decision.law, dd.Leaf):
            self.refuse("a draw that is compared once", "one compared with several numbers", "draw anew")
        share = dd.apply(lambda n: min(max((float(n) - draw.offset) / draw.scale, 0.0), 1.0), bound)
        if draw.scale < 0:
            share = dd.apply(lambda s: 1 - s, share)
        decision.law = dd.apply(lambda s: Law((s, 1 - s), (0, 1)), share)
        self._use_law(decision.law)
        return plain(dd.node(draw.decision, (1.0,), (dd.Leaf(below), dd.Leaf(not below))))

    # Decisions that choose

    def use(self, which: dd.Diagram) -> None:
        """A branch, or a law, depends on these decisions here."""
        for node, condition in dd.nodes(which):
            decision = self.decisions[node.decision]
            decision.cuts |= set(node.cuts)
            decision.asked = dd.either(decision.asked, dd.both(self.guard, condition))

    def as_condition(self, value: Any) -> bool | Varying | torch.Tensor:
        """Returns a value as a condition: a bool, or what depends on decisions, or bool [] that depends on the input."""
        if isinstance(value, torch.Tensor):
            if value.numel() != 1:
                self.refuse("a condition with one element", f"a tensor of shape {list(value.shape)}", "reduce it")
            numbers = self.constant(value)
            return (value != 0).reshape(()) if numbers is None else bool(numbers.reshape(()))
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
        number = len(self.decisions)
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

    def lift(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what ``function`` gives, called once for every combination of values that its arguments can have."""
        flat, spec = pytree.tree_flatten((args, kwargs), is_leaf=is_symbolic)
        diagrams = [self._array(v) if isinstance(v, Drawn) else self._diagram(v) for v in flat]
        joint = dd.given(dd.apply(lambda *values: values, *diagrams), self.guard)

        def call(values: Any) -> Any:
            made = [v.tensor() if isinstance(v, _Numbers) else at_hand(v) for v in values]
            given, named = pytree.tree_unflatten(made, spec)
            if function is CALLEE or isinstance(function, Method):
                first = given[0] if function is CALLEE else function.of(given[0])
                return self.call(first, given[1:], named)
            return self.call(function, given, named)

        def compute(*values: Any) -> Any:
            found = call(values[0])
            return Later(lambda: call(values[0])) if isinstance(found, torch.Tensor) else found

        ways = dd.leaves(joint)
        if len(ways) == 1:
            return call(ways[0])
        if len(ways) > MOST_WAYS:
            self.refuse(
                f"a choice among at most {MOST_WAYS} values",
                f"{len(ways)} combinations of draws at once",
                "draw one number for the whole batch (batch size 1, or mode='batch'), or make them an input",
            )
        if self._computes(function, flat, ways):
            return plain(dd.apply(compute, joint))
        which = dd.apply(lambda v: next(k for k, w in enumerate(ways) if dd.same(w, v)), joint)
        return self.split(which, len(ways), lambda k: call(ways[k]), names=self._way_names(flat, ways))

    def _computes(self, function: Any, flat: Sequence[Any], ways: Sequence[Any]) -> bool:
        """Whether calls only compute what is the same in every run, so that they need no branch of the graph."""
        values = list(itertools.chain(flat, *ways))
        tensors = any(isinstance(v, torch.Tensor | Later | _Numbers) for v in values)
        if tensors and not all(self.is_constant(v) for v in values if isinstance(v, torch.Tensor)):
            return False
        if isinstance(function, Method):
            return all(_is_pure_method(way[0], function.name) for way in ways)
        if function is CALLEE:
            return False
        return function in PURE or (isinstance(function, type) and issubclass(function, Distribution))

    def _way_names(self, flat: Sequence[Any], ways: Sequence[Any]) -> tuple[str, ...]:
        varying = [i for i, v in enumerate(flat) if is_symbolic(v)]
        names = []
        for k, way in enumerate(ways):
            values = [way[i] for i in varying]
            shown = [str(v) if isinstance(v, bool | int | float | str) else str(k) for v in values]
            names.append(",".join(shown))
        return tuple(names) if len(set(names)) == len(names) else tuple(map(str, range(len(ways))))

    def _array(self, drawn: Drawn) -> dd.Diagram:
        """The values of an array of draws as tensors or numpy arrays."""
        elements = [self._diagram(v) for v in drawn.values.reshape(-1)]
        if sum(isinstance(e, dd.Node) for e in elements) > 1:
            self.refuse(
                "one draw for the whole batch",
                f"{len(elements)} numbers that are drawn, used together as a tensor, such as one for each row",
                "draw one number (batch size 1, or mode='batch'), or use the numbers one by one",
            )

        def build(*values: Any) -> Any:
            if drawn.like == "numpy":
                return np.array(values).reshape(drawn.values.shape)
            return _Numbers((drawn.values.shape, *values))

        return dd.apply(build, *elements)

    def split(
        self, which: dd.Diagram, count: int, arm: Callable[[int], Any], names: tuple[str, ...] = ()
    ) -> Any:
        """Returns the joined results of ``arm(k)``, run for every k that ``which`` can have here, each in its branch."""
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
                        f"{line}: expected every branch to compute, got {type(error).__name__}: {error} where the branch "
                        f"{self.deciding[number].names[i]!r} is taken; a branch cannot raise in a graph: remove it"
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

    def outputs(self, result: Any) -> Any:
        """Returns what the model returns: tensors, whatever is decided."""
        values, spec = pytree.tree_flatten(result, is_leaf=is_symbolic)
        return pytree.tree_unflatten([self._output(value) for value in values], spec)

    def _output(self, value: Any) -> Any:
        if isinstance(value, Poison):
            raise CaptureError(f"model: expected {value.expected}, got {value.got}; {value.do}")
        value = settled(value)
        if has_tensors(value) and all(isinstance(v, Later | torch.Tensor) for v in dd.leaves(value.diagram)):
            return self.lift(lambda tensor: tensor.clone(), (value,), {})
        if not is_symbolic(value) and not isinstance(value, Sifted):
            return value
        got = "a number that is drawn"
        if isinstance(value, Varying):
            kinds = " and ".join(sorted({type(at_hand(v)).__name__ for v in dd.leaves(value.diagram)}))
            got = f"one of type {kinds} that depends on what is decided there"
        lines = ", ".join(sorted({str(self.decisions[d].line) for d in _decisions_in(value)}))
        raise CaptureError(f"{lines}: expected tensors as outputs of the model, got {got}; return what is computed from it")

    def _check_tensors(self, before: heap.Snapshot, line: Line) -> None:
        for tensor, version, name in before.tensors.values():
            if tensor._version != version:
                raise CaptureError(
                    f"{line}: expected branches that change nothing in place, got one that changes {name or 'a tensor'}; "
                    "use the operation that returns a new tensor"
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

    # Calls

    def varies(self, values: Any) -> bool:
        """Returns whether any of the values, or of those in them, depends on a decision."""
        return any(is_symbolic(v) for v in pytree.tree_leaves(values, is_leaf=is_symbolic))

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call gives."""
        raise NotImplementedError

    def call_native(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a call of something that is not interpreted gives."""
        if function is len and isinstance(args[0], Sifted):
            return args[0].length()
        args = tuple(a.whole() if isinstance(a, Sifted) else a for a in args)
        if is_symbolic(function):
            return self.lift(CALLEE, (function, *args), kwargs)
        original = original_of(function)
        if original is not function or reading(original) is not None:
            return self.drawn(original, args, kwargs)
        if own_generator(function):
            self.refuse(
                "draws from the global generators",
                f"one from a {type(function.__self__).__name__} of its own",
                "use torch.rand, random.random or numpy.random.rand; seeds are given to the exported file",
            )
        if self.depth and function in EFFECTS:
            self.refuse(
                "branches that only compute",
                f"a side effect, {function.__name__}(), that would be lost",
                "move it out of the branch",
            )
        if self.notes.replaying and isinstance(function, type) and issubclass(function, Distribution):
            kwargs = {**kwargs, "validate_args": False}  # the first run did
        if self.varies((args, kwargs)):
            return self._call_varied(function, args, kwargs)
        number = self._number_of(function, args, kwargs)
        if number is not None:
            return number
        return function(*args, **kwargs)

    def call_method(self, owner: Varying, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a method of something that varies gives."""
        if name in ("sample", "rsample") and all(isinstance(v, Distribution) for v in dd.leaves(owner.diagram)):
            return self.drawn(sample, (owner, *args), kwargs)
        return self.lift(Method(name), (owner, *args), kwargs)

    def _call_varied(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        owner = getattr(function, "__self__", None)
        if isinstance(owner, Drawn | Varying | Uniform) or _stores(function, owner):
            return function(*args, **kwargs)  # a list may hold what varies
        if any(isinstance(a, Drawn | Uniform) for a in args) and _is_of_torch(function):
            return operate_torch(function, args, kwargs)
        if function in (list, tuple, zip, enumerate, reversed) and all(not isinstance(a, Varying) for a in args):
            return function(*args, **kwargs)
        if function in (any, all, sum) and len(args) == 1 and not isinstance(args[0], Varying):
            return self._reduced(function, list(args[0]))
        if function in (isinstance, type, id, callable) and isinstance(args[0], Drawn | Uniform):
            return function(*((torch.zeros(()) if isinstance(args[0], Drawn) else 0.0), *args[1:]))
        if function in PURE and not any(isinstance(a, torch.Tensor) for a in args) and not kwargs:
            if all(not isinstance(a, list | tuple | dict) for a in args):
                return call_plain(function, *args)
        return self.lift(function, args, kwargs)

    def _reduced(self, function: Any, items: list[Any]) -> Any:
        if function is sum:
            return functools.reduce(lambda a, b: operate(operator.add, a, b), items, 0)
        joined = operator.or_ if function is any else operator.and_
        return functools.reduce(lambda a, b: operate(joined, a, truth(b)), items, function is all)

    def _number_of(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The number in a tensor: itself where it is the same in every run, else a tensor that stands for it."""
        owner = getattr(function, "__self__", None)
        if isinstance(owner, torch.Tensor) and getattr(function, "__name__", "") in ("item", "tolist", "numpy"):
            numbers = self.constant(owner)
            name = function.__name__
            if numbers is not None:
                return numbers if name == "numpy" else numbers.item() if name == "item" else numbers.tolist()
            if name == "item":
                return owner.reshape(()).double() if owner.is_floating_point() else owner.reshape(())
            return None
        if len(args) == 1 and not kwargs and isinstance(args[0], torch.Tensor) and function in (float, int, bool):
            numbers = self.constant(args[0])
            if numbers is not None:
                return function(numbers.reshape(()))
            if function is not bool:
                self.refuse(
                    "a number that is the same in every run",
                    f"{function.__name__}() of a tensor that depends on the input",
                    "write .item(), or use the tensor itself as the condition",
                )
            return self.holds(args[0])
        return None


def _decisions_in(value: Any) -> set[int]:
    """The decisions that a value depends on."""
    if isinstance(value, Uniform):
        return {value.decision}
    if isinstance(value, Drawn):
        return set().union(*map(_decisions_in, value.values.reshape(-1)))
    if isinstance(value, Sifted):
        return set().union(*(_decisions_in(there) for there, _ in value.items))
    return dd.decisions(value.diagram) if isinstance(value, Varying) else set()


class _Numbers(tuple[Any, ...]):
    """The shape and then the values of drawn numbers, made a tensor where they are used."""

    def tensor(self) -> torch.Tensor:
        """Returns the tensor."""
        shape, *values = self
        flat = [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in values]
        return torch.tensor(flat).reshape(shape)


def _is_of_torch(function: Any) -> bool:
    return str(getattr(function, "__module__", None) or "torch").partition(".")[0] == "torch" and not isinstance(
        function, type | nn.Module
    )


def _is_pure_method(owner: Any, name: str) -> bool:
    """Whether a method changes nothing and draws nothing."""
    if isinstance(owner, Later | torch.Tensor):
        return not name.endswith("_") and getattr(torch.Tensor, name, None) not in TORCH
    return isinstance(owner, dict | list | tuple | str | range | set | frozenset | int | float) and name in PURE_METHODS


def _stores(function: Any, owner: Any) -> bool:
    name = getattr(function, "__name__", "")
    return isinstance(owner, list | dict | set) and name in ("append", "extend", "insert", "update", "setdefault", "add")

