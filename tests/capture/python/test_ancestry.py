from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from rr_export.capture.python.ancestry import INPUT, SIZE, Ancestry


class Asks(nn.Module):
    """Asks of a tensor that it computes what it was computed from, while it is exported."""

    def __init__(self, compute: Callable[[Tensor, Tensor], Tensor], tell: Callable[[str | None], None]) -> None:
        super().__init__()
        self.compute, self.tell = compute, tell
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        ancestry = Ancestry(lambda: [x])
        self.tell(ancestry.of(self.compute(x, self.weight)))
        return x * 2


def written(x: Tensor, weight: Tensor) -> Tensor:
    base = torch.zeros(3)
    view = base[1:]
    view[0] = x[0, 0]
    return base.sum()


def told_by_a_list(x: Tensor, weight: Tensor) -> Tensor:
    parts = torch.zeros(4).split(2)
    parts[1].fill_(x.shape[0])
    return torch.cat([parts[0], parts[1]]).max()


COMPUTED: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str | None]] = {
    "the input": (lambda x, w: x, INPUT),
    "a weight": (lambda x, w: w.sum() > 2, None),
    "a constant": (lambda x, w: torch.tensor(3.0) + 1, None),
    "a size": (lambda x, w: torch.tensor(x.shape[0]) > 5, SIZE),
    "a comparison of sizes": (lambda x, w: torch.tensor(x.shape[0] > 5), SIZE),
    "a range": (lambda x, w: torch.arange(x.size(0)).max(), SIZE),
    "a sum over zeros": (lambda x, w: torch.zeros_like(x).add(1).sum(), SIZE),
    "a fixed size": (lambda x, w: torch.tensor(x.shape[1]) + x.new_ones(3).sum(), None),
    "a tensor of the input's type": (lambda x, w: torch.zeros_like(x[0]).sum(), None),
    "a fill value": (lambda x, w: torch.full_like(w, x.mean().item()).sum(), INPUT),
    "a new tensor's fill value": (lambda x, w: w.new_full((2,), x.shape[0]), SIZE),
    "both": (lambda x, w: x.mean() / x.shape[0], INPUT),
    "a part of what was written": (written, INPUT),
    "a part of a part": (told_by_a_list, SIZE),
}


@pytest.mark.parametrize("name", COMPUTED)
def test_what_a_tensor_was_computed_from(name: str) -> None:
    compute, expected = COMPUTED[name]
    found: list[str | None] = []
    model = Asks(compute, found.append)
    torch.export.export(model, (torch.randn(7, 4),), dynamic_shapes={"x": {0: Dim("n")}}, strict=False)
    assert found == [expected]


def test_outside_a_capture_nothing_is_known() -> None:
    assert Ancestry(list).of(torch.ones(2)) is None
