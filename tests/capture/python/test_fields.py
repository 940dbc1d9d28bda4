from __future__ import annotations

from typing import Any

import pytest

from rr_export.capture.python import heap
from rr_export.capture.python.fields import CellFields, ClassFields, Fields, GlobalFields, SlotFields


class Base:
    __slots__ = ("first",)


class Slots(Base):
    __slots__ = ("__second", "third")


class Open:
    kept = 1

    def method(self) -> None:
        pass


def cell() -> Any:
    value = 1

    def read() -> int:
        return value

    assert read.__closure__ is not None
    return read.__closure__[0]


def slots() -> SlotFields:
    made = Slots()
    made.first, made.third = 1, 2
    return SlotFields(made)


def globals_() -> GlobalFields:
    made = GlobalFields({"known": 1, "other": 2})
    made.known |= {"known", "missing"}
    return made


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        (slots(), {"first": 1, "third": 2}),
        (ClassFields(Open), {"kept": 1, "method": Open.method}),
        (CellFields(cell()), {"contents": 1}),
        (globals_(), {"known": 1}),
    ],
)
def test_fields_are_a_dictionary_that_can_be_put_back(fields: Fields, held: dict[str, Any]) -> None:
    assert fields.copy() == held
    before = heap.Snapshot({1: heap.Place(fields, None, "")}, {1: fields.copy()})
    name = next(iter(held))
    fields[name] = "changed"
    assert fields[name] == "changed"
    heap.restore(before)
    assert fields.copy() == held
    del fields[name]
    assert name not in fields
    assert len(fields) == len(held) - 1
    heap.restore(before)
    assert fields.copy() == held


def test_private_slot_is_known_by_its_whole_name() -> None:
    fields = slots()
    fields["_Slots__second"] = 3
    assert fields.copy() == {"first": 1, "third": 2, "_Slots__second": 3}


def test_only_classes_of_the_author_are_looked_into() -> None:
    assert heap.is_authors(Open)
    assert not heap.is_authors(dict)
    assert not heap.is_authors(pytest.Item)
