"""Where objects keep what code can change, each looked at as a dictionary: slots, classes, cells, and globals."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator, MutableMapping
from typing import Any


class Fields(MutableMapping[str, Any]):
    """Some values of an object by name.

    Args:
        owner: the object.
    """

    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def copy(self) -> dict[str, Any]:
        """Returns what the fields hold now."""
        return dict(self.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def names(self) -> list[str]:
        """Returns the names of the fields that are set."""
        raise NotImplementedError


class SlotFields(Fields):
    """The slots of an object."""

    def __init__(self, owner: Any) -> None:
        super().__init__(owner)
        self._slots: dict[str, Any] = {
            slot.__name__: slot
            for kind in reversed(type(owner).__mro__)
            if "__slots__" in vars(kind)
            for slot in vars(kind).values()
            if isinstance(slot, types.MemberDescriptorType)
        }

    def names(self) -> list[str]:
        """Returns the names of the slots that are set."""
        found = []
        for name, slot in self._slots.items():
            with contextlib.suppress(AttributeError):
                slot.__get__(self.owner)
                found.append(name)
        return found

    def __getitem__(self, name: str) -> Any:
        try:
            return self._slots[name].__get__(self.owner)
        except AttributeError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        self._slots[name].__set__(self.owner, value)

    def __delitem__(self, name: str) -> None:
        self._slots[name].__delete__(self.owner)


class ClassFields(Fields):
    """The attributes of a class, those that Python itself gives it apart."""

    def names(self) -> list[str]:
        """Returns their names."""
        return [n for n in vars(self.owner) if not (n.startswith("__") and n.endswith("__"))]

    def __getitem__(self, name: str) -> Any:
        return vars(self.owner)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        type.__setattr__(self.owner, name, value)

    def __delitem__(self, name: str) -> None:
        type.__delattr__(self.owner, name)


class CellFields(Fields):
    """What a variable holds that an inner function shares with the function around it."""

    def names(self) -> list[str]:
        """Returns one name where it is set."""
        try:
            self.owner.cell_contents  # noqa: B018 (raises where there is none)
        except ValueError:
            return []
        return ["contents"]

    def __getitem__(self, name: str) -> Any:
        try:
            return self.owner.cell_contents
        except ValueError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        self.owner.cell_contents = value

    def __delitem__(self, name: str) -> None:
        del self.owner.cell_contents


class GlobalFields(Fields):
    """The globals that functions name which have run.

    Args:
        owner: all globals.
    """

    def __init__(self, owner: dict[str, Any]) -> None:
        super().__init__(owner)
        self.known: set[str] = set()

    def names(self) -> list[str]:
        """Returns those that are set."""
        return [n for n in self.known if n in self.owner]

    def __getitem__(self, name: str) -> Any:
        return self.owner[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.owner[name] = value

    def __delitem__(self, name: str) -> None:
        del self.owner[name]
