"""Entries and attributes of other objects that live on: a run may set them before it reads them, and not otherwise."""

from __future__ import annotations

import collections
import random
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])
SHARED = {"p": 0.5}


class Open(dict[str, float]):
    """Attributes that are entries."""

    def __getattr__(self, name: str) -> float:
        return self[name]

    def __setattr__(self, name: str, value: float) -> None:
        self[name] = value


class Settings:
    """Attributes that another dictionary holds."""

    def __init__(self) -> None:
        self.__dict__["held"] = {"p": 0.5}

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["held"][name]

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__["held"][name] = value


class Slotted:
    __slots__ = ("p",)

    def __init__(self) -> None:
        self.p = 0.5


class Holder(nn.Module):
    def __init__(self, decide: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.decide = nn.Linear(4, 4), decide
        self.entries, self.items = {"p": 0.5}, [0, 5]
        self.open, self.settings, self.slotted = Open(p=0.5), Settings(), Slotted()
        self.space, self.user = types.SimpleNamespace(p=0.5), collections.UserDict(p=0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.decide(self, x)


def drawn() -> float:
    return 0.3 if random.random() < 0.5 else 0.7


def in_a_dictionary(m: Any, x: Tensor) -> Tensor:
    m.entries["p"] = drawn()
    return m.a(x) if random.random() < m.entries["p"] else x


def in_a_global(m: Any, x: Tensor) -> Tensor:
    SHARED["p"] = drawn()
    return m.a(x) if random.random() < SHARED["p"] else x


def in_a_list(m: Any, x: Tensor) -> Tensor:
    m.items[0] = 1 if random.random() < 0.4 else 2
    return x * m.items[0]


def in_an_open_dictionary(m: Any, x: Tensor) -> Tensor:
    if random.random() < 0.4:
        m.open.p = 0.2
    else:
        m.open.p = 0.9
    return m.a(x) if random.random() < m.open.p else x


def in_settings(m: Any, x: Tensor) -> Tensor:
    m.settings.p = drawn()
    return m.a(x) if random.random() < m.settings.p else x


def in_slots(m: Any, x: Tensor) -> Tensor:
    m.slotted.p = drawn()
    return m.a(x) if random.random() < m.slotted.p else x


def in_a_namespace(m: Any, x: Tensor) -> Tensor:
    m.space.p = drawn()
    return m.a(x) if random.random() < m.space.p else x


def in_a_user_dictionary(m: Any, x: Tensor) -> Tensor:
    m.user["p"] = drawn()
    return m.a(x) if random.random() < m.user["p"] else x


def only_written(m: Any, x: Tensor) -> Tensor:
    if random.random() < 0.4:
        m.entries["p"] = 3.0
        return m.a(x)
    return x


@pytest.mark.parametrize(
    "decide",
    [
        *(in_a_dictionary, in_a_global, in_a_list, in_an_open_dictionary, in_settings, in_slots, in_a_namespace),
        *(in_a_user_dictionary, only_written),
    ],
)
def test_what_every_run_sets_first_has_the_law_of_the_code(decide: Callable[[Any, Tensor], Tensor]) -> None:
    law = law_of_code(Holder(decide).eval(), (X,), 10)
    assert len(law) == 2
    assert differences(law, law_of_file(rr.export(Holder(decide).eval(), (X,)), (X,))) == []


def read_first(m: Any, x: Tensor) -> Tensor:
    y = m.a(x) if random.random() < m.entries["p"] else x
    m.entries["p"] = 0.9
    return y


def set_on_some_paths(m: Any, x: Tensor) -> Tensor:
    if random.random() < 0.5:
        m.space.p = 0.9
    return m.a(x) if random.random() < m.space.p else x


def asked_for_none(m: Any, x: Tensor) -> Tensor:
    found = m.entries.get("p") is None
    m.entries["p"] = drawn()
    return m.a(x) if found else x * m.entries["p"]


def compared_as_a_whole(m: Any, x: Tensor) -> Tensor:
    same = m.items == [0, 5]
    m.items[0] = 1 if random.random() < 0.4 else 2
    return m.a(x) if same else x * m.items[0]


def summed(m: Any, x: Tensor) -> Tensor:
    total = sum(m.items)
    m.items[0] = 1 if random.random() < 0.4 else 2
    return x * m.items[0] if total else x


def shown(m: Any, x: Tensor) -> Tensor:
    text = str(m.items)
    m.items[0] = 1 if random.random() < 0.4 else 2
    return m.a(x) if len(text) == 6 else x * m.items[0]


def counted(m: Any, x: Tensor) -> Tensor:
    m.items[0] += 1
    return m.a(x) if random.random() < 0.5 and m.items[0] % 2 else x


@pytest.mark.parametrize(
    "decide", [read_first, set_on_some_paths, asked_for_none, compared_as_a_whole, summed, shown, counted]
)
def test_what_is_read_before_it_is_set_is_refused_by_its_line(decide: Callable[[Any, Tensor], Tensor]) -> None:
    text = r"test_state\.py:\d+: expected runs that start alike, got .*is read before it is set, is changed by a run"
    with pytest.raises(CaptureError, match=text) as error:
        rr.export(Holder(decide).eval(), (X,))
    line = int(str(error.value).partition(":")[2].partition(":")[0])
    assert decide.__code__.co_firstlineno < line <= decide.__code__.co_firstlineno + 4


def test_afterwards_everything_is_as_before() -> None:
    model = Holder(in_a_dictionary).eval()
    rr.plan_of(model, (X,))
    assert model.entries == {"p": 0.5}
    with pytest.raises(CaptureError):
        rr.plan_of(Holder(counted).eval(), (X,))
    rr.plan_of(Holder(in_a_global).eval(), (X,))
    assert type(SHARED["p"]) is float
