"""Clocks and addresses: what decides by them is refused by its line, what only measures time is captured."""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.coins import hashed_by_address, is_source
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])


class Two(nn.Module):
    def __init__(self, decide: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decide = decide

    def forward(self, x: Tensor) -> Tensor:
        return self.decide(self, x)


def by_clock(m: Any, x: Tensor) -> Tensor:
    return m.a(x) if time.time() % 2 > 1 else x


def by_clock_after_a_draw(m: Any, x: Tensor) -> Tensor:
    if random.random() < 0.5:
        x = m.b(x)
    return m.a(x) if int(time.monotonic()) // 1000 % 2 else x


def by_date(m: Any, x: Tensor) -> Tensor:
    return m.a(x) if datetime.datetime.now().microsecond & 1 else x


def by_local_time(m: Any, x: Tensor) -> Tensor:
    return m.a(x) if time.localtime().tm_sec > 30 else x


def by_text(m: Any, x: Tensor) -> Tensor:
    return m.a(x) if f"{time.perf_counter():.3f}"[-1] == "3" else x


def by_address(m: Any, x: Tensor) -> Tensor:
    return (m.a, m.b)[id(object()) // 16 % 2](x)


def by_hash(m: Any, x: Tensor) -> Tensor:
    return {0: m.a}.get(hash(object()) % 2, m.b)(x)


def as_turns(m: Any, x: Tensor) -> Tensor:
    for _ in range(time.time_ns() % 3):
        x = m.a(x)
    return x


def as_number(m: Any, x: Tensor) -> Tensor:
    return m.a(x) * (time.process_time() % 1)


def as_array(m: Any, x: Tensor) -> Tensor:
    return m.a(x) + torch.from_numpy(np.sin(np.array([time.time()])))


def as_law(m: Any, x: Tensor) -> Tensor:
    return m.a(x) if random.random() < time.time() % 1 else x


@pytest.mark.parametrize(
    "decide",
    [
        *(by_clock, by_clock_after_a_draw, by_date, by_local_time, by_text, by_address, by_hash),
        *(as_turns, as_number, as_array, as_law),
    ],
)
def test_what_decides_by_a_clock_or_an_address_is_refused(decide: Callable[[nn.Module, Tensor], Tensor]) -> None:
    with pytest.raises(CaptureError, match=r"test_coins\.py:\d+: expected decisions by draws.*used as a") as error:
        rr.export(Two(decide).eval(), (X,))
    line = int(str(error.value).partition(":")[2].partition(":")[0])
    first = decide.__code__.co_firstlineno
    assert first < line <= first + 4


class Timer:
    def __enter__(self) -> Timer:
        self.start = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.took = time.perf_counter() - self.start


class Measured(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.text, self.longest, self.seen = "", 0.0, ()

    def forward(self, x: Tensor) -> Tensor:
        with Timer() as timer:
            if random.random() < 0.3:
                start = time.time()
                x = self.a(x)
                took = time.time() - start
            else:
                took = 0.0
                x = self.b(x)
        self.text = f"{timer.took:.3f} {datetime.datetime.now().isoformat()} {round(took, 3)}"
        self.longest = max(timer.took, 0.0)
        known = {id(self.a): self.a}
        return known[id(self.a)](x) if id(self.b) not in known and id(self.a) != id(self.b) else x


def test_what_measures_time_or_tells_objects_apart_is_captured() -> None:
    law = law_of_code(Measured().eval(), (X,), 10)
    assert len(law) == 2
    bundle = rr.export(Measured().eval(), (X,))
    assert differences(law, law_of_file(bundle, (X,))) == []


def test_hashes_of_numbers_are_the_same_in_every_process() -> None:
    assert not hashed_by_address((3, 4.5))
    assert hashed_by_address(object())
    assert hashed_by_address((1, len))
    assert is_source(time.ctime, ())
    assert not is_source(time.ctime, (0,))
    assert is_source(datetime.date.today, ())
    assert not is_source(datetime.date.fromtimestamp, (0,))
