"""Lists to which some branches append what they compute: nobody may read them, all may hold them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError

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


@pytest.mark.parametrize(
    "use",
    [
        lambda kept, x: sum(kept),
        lambda kept, x: torch.stack(kept),
        lambda kept, x: x * len(kept),
        lambda kept, x: kept[0],
        lambda kept, x: kept[-1] + kept[1],
        lambda kept, x: x if kept else -x,
        lambda kept, x: [2 * one for one in kept],
        lambda kept, x: (x, kept),
        lambda kept, x: kept,
        lambda kept, x: kept.pop(),
        lambda kept, x: (kept + kept)[0],
        lambda kept, x: x if len(kept) > 2 else -x,
        lambda kept, x: {"kept": tuple(kept)}["kept"][0],
    ],
)
def test_reading_it_is_refused(use: Callable[[list[Tensor], Tensor], Any]) -> None:
    with pytest.raises(CaptureError, match=r"expected a list.*, got one (to which only some|whose length varies)"):
        rr.plan_of(Kept(use).eval(), (X,))
