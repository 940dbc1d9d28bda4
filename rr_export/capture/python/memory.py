"""What interpreted code can change, before and after a branch, and what it reads there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from rr_export.capture.python import diagram as dd
from rr_export.capture.python import heap, world
from rr_export.capture.python.decisions import Line
from rr_export.capture.python.fields import GlobalFields
from rr_export.capture.python.frames import Frame, Stack
from rr_export.capture.python.plain_access import contents, refill
from rr_export.capture.python.ragged import Element, changed_in_all, is_readable
from rr_export.capture.python.state import Entry, Key, Left, State
from rr_export.capture.python.values import Poison, Sifted, Varying, settled
from rr_export.capture.python.varied import has_memory
from rr_export.capture.python.whereabouts import Whereabouts
from rr_export.errors import CaptureError

Ragged = dict[int, tuple[list[Any], list[Any]]]  # lists by identity, with whether each element is there


@dataclass(frozen=True)
class Moment:
    """What code could change at one time, as it was then.

    Attributes:
        reached: all containers and tensors that could be reached.
        ragged: the lists that are longer on some paths.
        written: the attributes of modules that the run had set.
        world: the settings of the process.
    """

    reached: heap.Snapshot
    ragged: Ragged
    written: frozenset[Key]
    world: world.World = field(default_factory=dict)

    def held(self, store: Any) -> Any:
        """Returns what a container, or the attributes of an object, held then; a new one holds that still."""
        found = self.reached.contents.get(id(store))
        return contents(store) if found is None else found

    def elements(self, store: list[Any]) -> list[Element]:
        """Returns the elements that a list had then, each with whether it was there."""
        held = self.held(store)
        return list(
            zip(self.ragged[id(store)][1] if id(store) in self.ragged else [True] * len(held), held, strict=True)
        )


class Memory:
    """What interpreted code can change.

    Attributes:
        ragged: lists that are longer on some paths, with who is there.
        lasting: containers that were there before the run.
        inputs: the tensors that the model was given.
        state: the attributes of modules that live on from run to run.
        made: tensors that a branch made, and that are held only where decisions say which of several tensors it is.
    """

    def __init__(self, root: nn.Module, stack: Stack, whereabouts: Whereabouts) -> None:
        self._root, self._stack, self._whereabouts = root, stack, whereabouts
        self.ragged: Ragged = {}
        self.start = heap.snapshot([("self", root)])
        self.lasting = set(self.start.places)
        self._spaces: dict[int, GlobalFields] = {}
        self._moments: list[Sequence[Moment]] = []  # of the branches that run
        self.inputs: list[torch.Tensor] = []
        self.state = State()
        self.made = WeakIdKeyDictionary()

    def now(self) -> Moment:
        """Returns everything as it is now."""
        return Moment(heap.snapshot(self._roots()), _copied(self.ragged), frozenset(self.state.written), world.now())

    def go_back(self, moment: Moment) -> None:
        """Everything but tensors is again as it was."""
        heap.restore(moment.reached)
        self.ragged = _copied(moment.ragged)
        self.state.written = set(moment.written)

    def agree_on_written(self, moments: Sequence[Moment]) -> None:
        """Of the attributes of modules those are set that are set at each of these moments."""
        self.state.written = set(frozenset.intersection(*(moment.written for moment in moments)))

    @contextmanager
    def parting(self, before: Moment, after: Sequence[Moment]) -> Iterator[None]:
        """Inside, branches run: these are the moments before them, and after each that has run."""
        depth = len(self._moments)
        self._moments += [(before,), after]
        try:
            yield
        finally:
            del self._moments[depth:]

    def enters(self, frame: Frame) -> None:
        """A function runs: from now on the globals that it names are looked at too.

        Nothing that was interpreted has changed them so far, so they are now what they were at earlier moments.
        """
        space = frame.space
        names = {n for n in frame.source.used - frame.source.own if n in space} | frame.source.outer
        fields = self._spaces.setdefault(id(space), GlobalFields(space))
        new = names - fields.known
        if not new:
            return
        fields.known |= new
        for reached in (self.start, *(moment.reached for moments in self._moments for moment in moments)):
            if id(fields) in reached.contents:
                there = {name: space[name] for name in sorted(new) if name in space}
                reached.contents[id(fields)].update(there)
                reached.add(there.items())
            else:
                reached.add([("", fields)])
        self.lasting = set(self.start.places)

    def is_tracked(self, owner: Any) -> bool:
        """Returns whether the attributes of a class or a module of Python are looked at."""
        return heap.is_authors(owner)

    def left(self, unread: Sequence[Entry]) -> Iterator[Left]:
        """Yields what the next run would find changed; not the entries that were kept from being read."""
        now = heap.snapshot([("self", self._root), *self._globals()])
        parts = {id(part) for m in self._root.modules() for part in (m._parameters, m._buffers, m._modules)}
        for one in self.state.left(self.start, now, unread):
            of_torch = one.entry is not None and id(one.entry.place.store) in parts
            yield Left(one.what, one.line) if of_torch else one

    def begin(self) -> None:
        """A run begins."""
        self.start = heap.snapshot([("self", self._root), *self._globals()])

    def forget(self) -> None:
        """Everything is again as it was when the run began."""
        heap.restore(self.start)

    def note_made(self, tensors: Iterable[Any], before: Moment) -> None:
        """These tensors stand for each other from now on; those are made in branches whose memory is new since then."""
        old = {t.untyped_storage()._cdata for t, _, _ in before.reached.tensors.values() if has_memory(t)}
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor) and has_memory(tensor) and tensor.untyped_storage()._cdata not in old:
                self.made[tensor] = True

    def check_untracked(self, before: Moment, line: Line, own: Sequence[torch.Tensor] = ()) -> None:
        """Raises if something was changed in place that cannot be undone and joined.

        Args:
            before: the moment before the branch.
            line: of the decision.
            own: tensors that there are in one branch alone, each: what a branch made may be changed in it.
        """
        changeable = {id(tensor) for tensor in own if tensor in self.made}
        for tensor, version, name in before.reached.tensors.values():
            if heap.version_of(tensor) != version and id(tensor) not in changeable:
                raise CaptureError(
                    f"{line}: expected branches that change nothing in place, got one that changes "
                    f"{name or 'a tensor'}; use the operation that returns a new tensor"
                )
        for what in (*heap.changed_others(before.reached, changeable), *world.settings_changed(before.world)):
            raise CaptureError(
                f"{line}: expected branches that leave the same things behind, got a side effect that would be lost: "
                f"{what} is changed in one; make a new one in every branch, or keep the value in a local name"
            )

    def read(self, value: Any) -> Any:
        """Returns a value that the code reads, which must be one."""
        if isinstance(value, Poison):
            self._whereabouts.refuse(value.expected, value.got, value.do)
        if type(value) is list and id(value) in self.ragged:
            return self._view(value)
        return settled(value)

    def hold(self, elements: Sequence[Element], store: list[Any] | None = None) -> list[Any]:
        """Returns a list, or this one, that has these elements on some paths only."""
        made: list[Any] = [] if store is None else store
        refill(made, [value for _, value in elements])
        self.ragged[id(made)] = made, [held for held, _ in elements]
        return made

    def change(self, view: Sifted, name: str, change: Callable[..., Any], args: Sequence[Any]) -> Any:
        """Changes a list whose length varies, in each of its forms; returns what the change returns.

        Args:
            view: of the list.
            name: what the code calls the change.
            change: of a list and ``args``.
            args: its arguments, of which some may vary.
        """
        if view.origin is None:
            self.refuse_varying_length(name)
        try:
            elements, result = changed_in_all(view.forms(), change, args)
        except (IndexError, ValueError) as error:
            self._whereabouts.refuse(
                "a list that has the element on every path",
                f"one whose length varies, where {name} raises {type(error).__name__}: {error}",
                "ask its length first",
            )
        except (TypeError, RuntimeError):  # it looks at elements that are not to be read
            self.refuse_varying_length(name)
        self.hold(elements, view.origin)
        return self._taken(result, name)

    def _taken(self, result: Any, name: str) -> Any:
        """What a change of a list returns."""
        if isinstance(result, Varying) and not is_readable([(False, one) for one in dd.leaves(result.diagram)]):
            self.refuse_varying_length(name)
        return self.read(result) if isinstance(result, Poison) else result

    def refuse_varying_length(self, use: str) -> NoReturn:
        """Raises: something is done to a list whose length varies that cannot be done to every form of it."""
        self._whereabouts.refuse(
            "a list whose length is the same on every path",
            f"one whose length varies, used by {use}",
            "append to it, loop over it, or ask its length or an element",
        )

    def _view(self, store: list[Any]) -> Sifted:
        return Sifted(origin=store, there=lambda: self.ragged[id(store)][1])

    def reads(self, owner: Any, name: str) -> None:
        """An attribute, or a global, is read."""
        self.state.reads(owner, name, self._whereabouts.line)

    def global_of(self, frame: Frame) -> Any:
        """Returns what has the globals of a function that runs as its attributes."""
        return self._spaces[id(frame.space)]

    def writes(self, owner: Any, name: str) -> None:
        """An attribute is set."""
        self.state.writes(owner, name)

    def rename(self, old: torch.Tensor, new: Any) -> None:
        """The names that hold a tensor hold another value.

        Raises:
            CaptureError: something else holds it too.
        """
        lasting = id(old) in heap.snapshot([("self", self._root)]).tensors
        if lasting or old._base is not None:
            self._whereabouts.refuse(
                "draws into a tensor that one name holds", "one that others hold too", "draw a new tensor"
            )
        for variables in self._variables():
            for name, value in variables.items():
                if value is old:
                    variables[name] = new

    def check_own(self, tensor: torch.Tensor) -> None:
        """Raises if something else may see an in-place change of a tensor that is made in a branch."""
        memory = tensor.untyped_storage()._cdata
        named = [v for variables in self._variables() for v in variables.values() if isinstance(v, torch.Tensor)]
        others = [*self.inputs, *self._root.parameters(), *self._root.buffers()]
        others += [v for v in named if v is not tensor]
        if sum(v is tensor for v in named) > 1 or any(t.untyped_storage()._cdata == memory for t in others):
            self._whereabouts.refuse(
                "branches that change nothing in place",
                "an in-place change of a value that is also used elsewhere, such as an input",
                "write x = x + y instead of x += y",
            )

    def _variables(self) -> Iterator[dict[str, Any]]:
        return (frame.scope.variables for frame in self._stack.frames)

    def _roots(self) -> Iterator[tuple[str, Any]]:
        """What the code can change."""
        yield from (("an input", tensor) for tensor in self.inputs)
        yield "self", self._root
        yield from self._globals()
        for running in self._stack.frames:
            yield from running.cells.items()
            frame: Frame | None = running
            while frame is not None:
                yield frame.scope.function, frame.scope
                frame = frame.parent

    def _globals(self) -> Iterator[tuple[str, Any]]:
        return (("", fields) for fields in self._spaces.values())


def _copied(ragged: Ragged) -> Ragged:
    return {key: (store, list(there)) for key, (store, there) in ragged.items()}
