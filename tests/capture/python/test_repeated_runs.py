"""A model that decides nothing when it first runs is not taken for one that never does."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from rr_runtime import Session

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])
GLOBAL: dict[str, int] = {}

Function = Callable[[Any, Tensor], Tensor]


class Keeper(nn.Module):
    """Things to leave something in."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.function = nn.Linear(4, 4), function
        self.kept: dict[str, Any] = {}
        self.items: list[Any] = []
        self.runs = 0
        self.register_buffer("scale", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def set_once(m: Any, x: Tensor) -> Tensor:
    if not m.kept:
        m.kept["ready"] = True
        return x
    return m.a(x)


def an_attribute_once(m: Any, x: Tensor) -> Tensor:
    if not hasattr(m, "ready"):
        m.ready = True
        return x
    return m.a(x)


def as_long_as_a_list(m: Any, x: Tensor) -> Tensor:
    m.items.append(1)
    return x * len(m.items)


def the_fourth_time(m: Any, x: Tensor) -> Tensor:
    m.runs += 1
    return m.a(x) if m.runs > 3 else x


def the_fourth_time_by_an_entry(m: Any, x: Tensor) -> Tensor:
    m.kept["runs"] = m.kept.get("runs", 0) + 1
    return m.a(x) if m.kept["runs"] > 3 else x


def a_counting_global(m: Any, x: Tensor) -> Tensor:
    GLOBAL["runs"] = GLOBAL.get("runs", 0) + 1
    return x * GLOBAL["runs"]


def a_counting_buffer(m: Any, x: Tensor) -> Tensor:
    m.scale.add_(1)
    return m.a(x) * m.scale


def what_came_before(m: Any, x: Tensor) -> Tensor:
    y = x + m.kept.get("last", 0)
    m.kept["last"] = x
    return y


def a_draw_later(m: Any, x: Tensor) -> Tensor:
    if m.kept and random.random() < 0.5:
        return x
    m.kept["ready"] = True
    return m.a(x)


def an_error_later(m: Any, x: Tensor) -> Tensor:
    if m.kept:
        raise ValueError("it has run")
    m.kept["ready"] = True
    return x


def the_first_input(m: Any, x: Tensor) -> Tensor:
    if "first" not in m.kept:
        m.kept["first"] = x * 2
    return m.a(x) + m.kept["first"]


@pytest.mark.parametrize(
    "function",
    [
        *(set_once, an_attribute_once, as_long_as_a_list, the_fourth_time, the_fourth_time_by_an_entry),
        *(a_counting_global, a_counting_buffer, what_came_before, a_draw_later, an_error_later, the_first_input),
    ],
)
def test_a_model_that_changes_by_running_is_refused(function: Function) -> None:
    GLOBAL.clear()
    with pytest.raises(CaptureError, match="expected runs that start alike, got a model that does something else"):
        rr.export(Keeper(function).eval(), (X,))


@pytest.mark.parametrize("first", [0, 2])
def test_whole_numbers_that_are_kept_are_refused(first: int) -> None:
    def the_first_tokens(m: Any, ids: Tensor) -> Tensor:
        return m.kept.setdefault("first", m.a.weight[ids])

    with pytest.raises(CaptureError, match="does something else once it has run before"):
        rr.export(Keeper(the_first_tokens).eval(), (torch.tensor([first, 1]),))


def the_operating_system(m: Any, x: Tensor) -> Tensor:
    return x * os.urandom(1)[0]


def test_draws_that_cannot_be_followed_are_told_by_their_line() -> None:
    with pytest.raises(
        CaptureError, match=r"test_repeated_runs.py:\d+: expected draws from .* another source: os.urandom"
    ):
        rr.export(Keeper(the_operating_system).eval(), (X,))


def a_table(m: Any, x: Tensor) -> Tensor:
    if "table" not in m.kept:
        m.kept["table"] = torch.arange(4.0)
    return m.a(x) + m.kept["table"]


def a_table_of_its_size(m: Any, x: Tensor) -> Tensor:
    if m.kept.get("size") != len(x):
        m.kept.update(size=len(x), table=torch.arange(len(x))[:, None] * 0.5)
    return m.a(x) + m.kept["table"]


def a_count_that_nothing_reads(m: Any, x: Tensor) -> Tensor:
    m.kept["runs"] = m.kept.get("runs", 0) + 1
    return m.a(x)


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
@pytest.mark.parametrize("function", [a_table, a_table_of_its_size, a_count_that_nothing_reads])
def test_what_is_kept_and_changes_nothing_is_no_hindrance(function: Function, tmp_path: Path) -> None:
    model = Keeper(function).eval()
    bundle = rr.export(model, (X,))
    bundle.save(tmp_path / "model")
    (got,) = Session(tmp_path / "model").run({"x": (-X).numpy()}).outputs.values()
    with torch.no_grad():
        np.testing.assert_allclose(got, model(-X).numpy(), rtol=1e-5)
