"""Lists in which an element is there on some paths only: one for several ways, and changes of every form of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.values import Poison, Varying, diagram_here, diagram_of, is_plain, plain

Element = tuple[Any, Any]  # whether it is there, a bool or what varies, and what it is
Way = tuple[dd.Diagram, Sequence[Element]]  # where a list has these elements


def aligned(ways: Sequence[Way]) -> list[Element]:
    """Returns the elements of one list that is each of several in its way; those that lists share stand once."""
    values: list[Any] = []
    there: list[dd.Diagram] = []
    for here, elements in ways:
        place = 0
        for held, value in elements:
            found = next((i for i in range(place, len(values)) if dd.same(values[i], value)), None)
            if found is None:
                found = place
                values.insert(place, value)
                there.insert(place, dd.FALSE)
            there[found] = dd.either(there[found], dd.both(here, diagram_of(held)))
            place = found + 1
    return [(plain(held), value) for held, value in zip(there, values, strict=True)]


UNREADABLE = Poison(
    "a list of the same values on every path",
    "one of which an element that is computed is there on some paths only",
    "append or remove it in every branch, or add up what it is for as the branches run",
)


def is_readable(elements: Sequence[Element]) -> bool:
    """Returns whether no element that is there on some paths only must be computed."""
    return all(held is True or isinstance(value, Varying) or is_plain(value) for held, value in elements)


def readable(elements: Sequence[Element]) -> list[Element]:
    """Returns the elements, of which those are not to be read that must be computed and are not there on every path."""
    return [one if is_readable([one]) else (one[0], UNREADABLE) for one in elements]


def changed_in_all(forms: dd.Diagram, change: Callable[..., Any], args: Sequence[Any]) -> tuple[list[Element], Any]:
    """Returns the elements of a list after a change, and what that returns.

    Args:
        forms: from decisions to the elements that are there, a tuple.
        change: of a list and ``args``.
        args: its arguments, of which some may vary.

    Raises:
        Exception: what ``change`` raises for one of the forms.
    """

    def done(form: tuple[Any, ...], *given: Any) -> tuple[Any, Any]:
        values = list(form)
        result = change(values, *given)
        return tuple(values), result

    both = dd.apply(done, forms, *map(diagram_here, args))
    after = dd.apply(lambda pair: pair[0], both)
    ways = [
        (dd.apply(lambda form, one=one: dd.same(form, one), after), [(True, value) for value in one])
        for one in dd.leaves(after)
    ]
    return readable(aligned(ways)), plain(dd.apply(lambda pair: pair[1], both))
