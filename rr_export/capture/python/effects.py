"""What code may not do, since a graph cannot: above all in a branch, all of which are run while it is made."""

from __future__ import annotations

import types
from typing import Any, NoReturn

import torch

from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.memory import Memory
from rr_export.capture.python.random_functions import own_generator
from rr_export.capture.python.values import varies
from rr_export.capture.python.whereabouts import Whereabouts

EFFECTS: frozenset[Any] = frozenset({print, input, open, breakpoint, next})


class Effects:
    """Refuses side effects.

    Args:
        ledger: which knows of branches.
        memory: what else holds a tensor.
        whereabouts: where the code is.
    """

    def __init__(self, ledger: Ledger, memory: Memory, whereabouts: Whereabouts) -> None:
        self._ledger, self._memory, self._whereabouts = ledger, memory, whereabouts

    def check_call(self, function: Any) -> None:
        """Raises if a function must not be called here."""
        if own_generator(function):
            self._whereabouts.refuse(
                "draws from the global generators",
                f"one from a {type(function.__self__).__name__} of its own",
                "use torch.rand, random.random or numpy.random.rand; seeds are given to the exported file",
            )
        if any(function is one for one in (eval, exec)):
            self._whereabouts.refuse("code whose source is available", f"{function.__name__}()", "write it out")
        if self._ledger.depth and any(function is one for one in EFFECTS):
            self._whereabouts.refuse(
                "branches that only compute",
                f"a side effect, {function.__name__}(), that would be lost",
                "move it out of the branch",
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
        if self._ledger.depth and isinstance(owner, type | types.ModuleType) and not self._memory.is_tracked(owner):
            self._whereabouts.refuse(
                "branches that only compute",
                f"a side effect that would be lost: {name!r} of {owner.__name__} is set, which is no code of the model",
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
