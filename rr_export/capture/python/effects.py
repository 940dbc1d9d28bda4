"""What code may not do, since a graph cannot: above all in a branch, all of which are run while it is made."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python import heap
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.plain_access import look
from rr_export.capture.python.random_functions import own_generator
from rr_export.capture.python.values import Varying, varies
from rr_export.capture.python.whereabouts import Whereabouts

EFFECTS: frozenset[Any] = frozenset({print, input, open, breakpoint, next})
_COMPILING = (torch.compile, torch.jit.script, torch.jit.trace)
_SETTING = ("update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__delitem__")  # methods that set globals
_SETTING_ATTRIBUTES = ("setattr", "delattr", "__setattr__", "__delattr__")


class Effects:
    """Refuses side effects.

    Args:
        ledger: which knows of branches.
        memory: what else holds a tensor.
        whereabouts: where the code is.
    """

    def __init__(self, ledger: Ledger, memory: Memory, whereabouts: Whereabouts) -> None:
        self._ledger, self._memory, self._whereabouts = ledger, memory, whereabouts

    def check_call(self, function: Any, args: Sequence[Any] = ()) -> None:
        """Raises if a function must not be called here."""
        if self._ledger.depth and look(function, "__name__", "") in _SETTING_ATTRIBUTES:
            owner = look(function, "__self__")
            bound = owner is not None and not isinstance(owner, types.ModuleType)
            set_ = (owner, *args) if bound else args
            if len(set_) > 1 and isinstance(set_[1], str):
                self.check_attribute(set_[0], set_[1])
        if own_generator(function):
            self._whereabouts.refuse(
                "draws from the global generators",
                f"one from a {type(function.__self__).__name__} of its own",
                "use torch.rand, random.random or numpy.random.rand; seeds are given to the exported file",
            )
        if any(function is one for one in (eval, exec)):
            self._whereabouts.refuse("code whose source is available", f"{function.__name__}()", "write it out")
        if self._ledger.depth and any(function is one for one in _COMPILING):
            self._whereabouts.refuse(
                "branches that only compute",
                f"torch's {look(function, '__name__')}() of a part, called in one",
                "call the part itself",
            )
        if self._ledger.depth and is_globals(look(function, "__self__")) and function.__name__ in _SETTING:
            self.check_global(f"{function.__name__}() of globals")
        if self._ledger.depth and any(function is one for one in EFFECTS):
            self._whereabouts.refuse(
                "branches that only compute",
                f"a side effect, {function.__name__}(), that would be lost",
                "write next((x for ... if ...), default), or a loop with break"
                if function is next
                else "move it out of the branch",
            )

    def check_global(self, name: str) -> None:
        """Raises if a global must not be set here."""
        if self._ledger.depth:
            self._whereabouts.refuse(
                "branches that only compute",
                f"a side effect that would be lost: the global {name!r} is set",
                "return the value, or keep it in an attribute that every branch sets",
            )

    def check_attribute(self, owner: Any, name: str) -> None:
        """Raises if an attribute must not be set or deleted here."""
        if isinstance(owner, torch.Tensor) and name == "data":
            self._whereabouts.refuse(
                "tensors that functions of torch make", "one whose `.data` is set", "give the new tensor a name"
            )
        for one in self._owners(owner):
            if isinstance(one, type | types.ModuleType):
                kept, what = self._memory.is_tracked(one), f"{name!r} of {one.__name__}"
            else:
                kept, what = heap.keeps_attributes(one), f"{name!r} of a {type(one).__name__}"
            if not kept or (name.startswith("__") and name.endswith("__")):
                self._refuse_set(what)

    def _owners(self, owner: Any) -> Sequence[Any]:
        """The objects that one may be that is changed in a branch."""
        if not self._ledger.depth:
            return ()
        return dd.leaves(owner.diagram) if isinstance(owner, Varying) else [owner]

    def _refuse_set(self, what: str) -> NoReturn:
        self._whereabouts.refuse(
            "branches that only compute",
            f"a side effect that would be lost: {what} is set, of which no track is kept",
            "keep the value in a local name or an attribute of the model",
        )

    def refuse_raise(self, error: Any) -> NoReturn:
        """Raises a refusal: a branch raises what its own function does not catch."""
        self._whereabouts.refuse(
            "branches that compute",
            f"one that raises {getattr(error, '__name__', type(error).__name__)}: a side effect that would be lost",
            "a graph cannot raise: remove it, check before exporting, or catch it in the same function",
        )

    def check_entry(self, owner: Any, key: Any) -> None:
        """Raises if an entry must not be set here."""
        if isinstance(owner, torch.Tensor) and self._ledger.depth:
            self._whereabouts.refuse(
                "branches that change nothing in place", "an assignment into a tensor", "use torch.where"
            )
        for one in self._owners(owner):
            if is_globals(one):
                self.check_global(str(key))
            if not heap.keeps_entries(one):
                self._refuse_set(f"an entry of a {type(one).__name__}")
        if varies(key):
            self._whereabouts.refuse("an entry that is the same on every path", "one that varies", "assign in branches")

    def forbids_in_place(self, tensor: torch.Tensor) -> bool:
        """Returns whether the operation that returns a new tensor must stand for one that changes this in place.

        Raises:
            CaptureError: something else may see the change, so that it cannot.
        """
        if not self._ledger.depth:
            return False
        self._memory.check_own(tensor)
        return True


def is_globals(owner: Any) -> bool:
    """Returns whether a dictionary is that of the globals of a module."""
    name = owner.get("__name__") if type(owner) is dict else None
    return isinstance(name, str) and vars(sys.modules.get(name, types)) is owner
