"""An index, or a bound of a range, that depends on the input is refused, with what to write instead."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import rr_export as rr
from tests.capture.python.test_idioms import Layered, X


class ByItem(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers[self.a(x).mean(0).argmax().item() % 3](x)


class ByTensor(Layered):
    def forward(self, x: Tensor) -> Tensor:
        k = self.a(x).mean(0).argmax()
        return (self.a, self.b, *self.layers)[k](x)


class ByInt(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers[int((x > 0).sum()) % 3](x)


class BySlice(Layered):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[: (x > 0).sum().item()]:
            x = layer(x)
        return x


class ByRange(Layered):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range((x > 0).sum().item()):
            x = self.a(x)
        return x


class ByComparison(Layered):
    def forward(self, x: Tensor) -> Tensor:
        k = self.a(x).mean(0).argmax().item() % 3
        for i, layer in enumerate(self.layers):
            if k == i:
                x = layer(x)
        return x


class ByConstant(Layered):
    def forward(self, x: Tensor) -> Tensor:
        k = self.b.bias.argmax()
        return self.layers[k % 3](x) if torch.rand(()) < 0.5 else self.layers[: self.b.bias.argmin().item()][0](x)


INDEX = (
    r"expected an index that is drawn, or the same in every run, got one that depends on the input; compare it: for i"
)


@pytest.mark.parametrize(
    ("case", "text"),
    [
        *((case, INDEX) for case in (ByItem, ByTensor, BySlice)),
        (ByInt, r"got int\(\) of a tensor that depends on the input"),
        (ByRange, r"got range\(\) of a tensor that depends on the input; count in a loop"),
    ],
)
def test_index_that_depends_on_the_input_is_refused(case: type[Layered], text: str) -> None:
    with pytest.raises(rr.RRExportError, match=rf"^test_indices.py:\d+: .*{text}"):
        rr.plan_of(case().eval(), (X,))


def test_comparisons_do_the_same() -> None:
    model = ByComparison().eval()
    bundle = rr.export(model, (X,))
    assert bundle.plan.sites == ()


def test_number_of_a_parameter_is_an_index() -> None:
    plan = rr.plan_of(ByConstant().eval(), (X,))
    assert [len(site.branches) for site in plan.sites] == [2]
