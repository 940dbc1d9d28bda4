"""Lists to which some branches append what they compute: nobody may read that, all may hold and count it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


class Kept(nn.Module):
    """As encoders that keep what every layer gives, where nobody asked for it."""

    def __init__(self, use: Callable[[list[Tensor], Tensor], Any] = lambda kept, x: x) -> None:
        super().__init__()
        self.layers, self.use = nn.ModuleList(nn.Linear(4, 4) for _ in range(3)), use

    def forward(self, x: Tensor) -> Any:
        kept = [x]
        for layer in self.layers:
            if random.random() < 0.5:
                x = layer(x)
                kept.append(x)
        kept.append(x)
        return self.use(kept, x)


def test_bug_a_list_that_nobody_reads_was_refused() -> None:
    model = Kept().eval()
    bundle = rr.export(model, (X,))
    assert len(bundle.plan.sites) == 3
    assert rr.verify(bundle, model, (X,)).passed


def last_replaced(kept: list[Tensor], x: Tensor) -> Tensor:
    kept[-1] = -x
    kept.append(x * 2)
    return x * len(kept)


def counted(kept: list[Tensor], x: Tensor) -> Tensor:
    number = 0
    for _ in kept:
        number += 1
    return x * number


@pytest.mark.parametrize(
    "use",
    [
        lambda kept, x: x * len(kept),
        lambda kept, x: x if kept else -x,
        lambda kept, x: x if len(kept) > 3 else -x,
        lambda kept, x: kept.pop() * 2,
        last_replaced,
        counted,
    ],
)
def test_its_length_and_what_is_there_on_every_path_can_be_used(use: Callable[[list[Tensor], Tensor], Any]) -> None:
    model = Kept(use).eval()
    law = law_of_code(model, (X,))
    assert differences(law, law_of_file(rr.export(model, (X,)), (X,))) == []


@pytest.mark.parametrize(
    "use",
    [
        lambda kept, x: sum(kept),
        lambda kept, x: torch.stack(kept),
        lambda kept, x: kept[0],
        lambda kept, x: kept[-1] + kept[1],
        lambda kept, x: [2 * one for one in kept],
        lambda kept, x: (x, kept),
        lambda kept, x: kept,
        lambda kept, x: x if kept.pop(1) is None else -x,
        lambda kept, x: (kept + kept)[0],
        lambda kept, x: {"kept": tuple(kept)}["kept"][0],
    ],
)
def test_reading_it_is_refused(use: Callable[[list[Tensor], Tensor], Any]) -> None:
    said = r"expected a list.*, got one (of which an element that is computed|whose length varies)"
    with pytest.raises(CaptureError, match=said):
        rr.plan_of(Kept(use).eval(), (X,))
