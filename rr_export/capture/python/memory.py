"""What interpreted code can change, before and after a branch, and what it reads there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rr_export.capture.python import heap
from rr_export.capture.python.decisions import Line
from rr_export.capture.python.frames import Frame, Stack
from rr_export.capture.python.state import Key, State
from rr_export.capture.python.values import Poison, Sifted, settled
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
    """

    reached: heap.Snapshot
    ragged: Ragged
    written: frozenset[Key]


class Memory:
    """What interpreted code can change.

    Attributes:
        ragged: lists that are longer on some paths, with who is there.
        lasting: containers that were there before the run.
        inputs: the tensors that the model was given.
        state: the attributes of modules that live on from run to run.
    """

    def __init__(self, root: nn.Module, stack: Stack, whereabouts: Whereabouts) -> None:
        self._root, self._stack, self._whereabouts = root, stack, whereabouts
        self.ragged: Ragged = {}
        self.lasting = set(heap.snapshot([("self", root)]).places)
        self.inputs: list[torch.Tensor] = []
        self.state = State()

    def now(self) -> Moment:
        """Returns everything as it is now."""
        return Moment(heap.snapshot(self._roots()), _copied(self.ragged), frozenset(self.state.written))

    def go_back(self, moment: Moment) -> None:
        """Everything but tensors is again as it was."""
        heap.restore(moment.reached)
        self.ragged = _copied(moment.ragged)
        self.state.written = set(moment.written)

    def agree_on_written(self, moments: Sequence[Moment]) -> None:
        """Of the attributes of modules those are set that are set at each of these moments."""
        self.state.written = set(frozenset.intersection(*(moment.written for moment in moments)))

    def check_tensors(self, before: Moment, line: Line) -> None:
        """Raises if a tensor was changed in place."""
        for tensor, version, name in before.reached.tensors.values():
            if tensor._version != version:
                raise CaptureError(
                    f"{line}: expected branches that change nothing in place, got one that changes "
                    f"{name or 'a tensor'}; use the operation that returns a new tensor"
                )

    def read(self, value: Any) -> Any:
        """Returns a value that the code reads, which must be one."""
        if isinstance(value, Poison):
            self._whereabouts.refuse(value.expected, value.got, value.do)
        if type(value) is list and id(value) in self.ragged:
            _, there = self.ragged[id(value)]
            return Sifted(list(zip(there, value, strict=True)), (value, there))
        return settled(value)

    def reads(self, owner: Any, name: str) -> None:
        """An attribute is read."""
        self.state.reads(owner, name, self._whereabouts.line)

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
        yield "self", self._root
        for running in self._stack.frames:
            for name in running.source.used - running.source.own:
                if isinstance(running.space.get(name), dict | list | set | deque):
                    self.lasting.add(id(running.space[name]))
                    yield name, running.space[name]
            frame: Frame | None = running
            while frame is not None:
                yield frame.scope.function, frame.scope
                frame = frame.parent


def _copied(ragged: Ragged) -> Ragged:
    return {key: (store, list(there)) for key, (store, there) in ragged.items()}
