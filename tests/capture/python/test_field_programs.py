"""Small programs that once came out with another law, frozen at the example, or not at all."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))


@dataclass(slots=True)
class Slots:
    p: float = 0.1


class SlotsInBranch(Base):
    def forward(self, x: Tensor) -> Tensor:
        s = Slots()
        if random.random() < 0.5:
            s.p = 0.9
            x = self.a(x)
        if torch.bernoulli(torch.tensor(s.p)):
            x = self.b(x)
        return x


class BreakInElse(Base):
    def forward(self, x: Tensor) -> Tensor:
        weights = [0.8, 0.2]
        n = random.randrange(3)
        for _ in range(2):
            for j in range(2):
                if j == n:
                    break
            else:
                break
            weights = [0.2, 0.8]
        k = random.choices([0, 1], weights)[0]
        return self.layers[n](x) * (k + 1)  # type: ignore[no-any-return]


class AttributeOfDrawnModule(Base):
    def forward(self, x: Tensor) -> Tensor:
        self.a.w, self.b.w = [0.5, 0.5], [0.5, 0.5]  # type: ignore[assignment]
        m = random.choice([self.a, self.b])
        m.w = [0.05, 0.95]  # type: ignore[assignment]
        k = random.choices([0, 1], self.a.w)[0]  # type: ignore[arg-type]
        return m(x) * (k + 1)  # type: ignore[no-any-return]


class ClassAttribute(Base):
    drop = 0.1

    def forward(self, x: Tensor) -> Tensor:
        ClassAttribute.drop = 0.1
        if random.random() < 0.5:
            ClassAttribute.drop = 0.9
            x = self.a(x)
        if torch.bernoulli(torch.tensor(self.drop)):
            x = self.b(x)
        return x


class GateElsewhere(Base):
    def gate(self, x: Tensor) -> bool:
        return self.a(x).mean().item() > 0

    def forward(self, x: Tensor) -> Tensor:
        score = x.mean().item() * 2 + 1
        ok = score > 1.2
        if ok or self.gate(x):
            x = self.b(x)
        return x


class FillValue(Base):
    def forward(self, x: Tensor) -> Tensor:
        if torch.full_like(self.a.bias, x.abs().mean().item()).sum() > 8:
            x = self.a(x)
        return x


class VaryingAndConstant(Base):
    def forward(self, x: Tensor) -> Tensor:
        a, u = random.random() < 0.5, random.random()
        if u < (0.2 if a else 0.7):
            x = self.a(x)
        if u < 0.4:
            x = self.b(x)
        return x


class ArrayInBranch(Base):
    def forward(self, x: Tensor) -> Tensor:
        probs = np.array([0.8, 0.1, 0.1])
        if random.random() < 0.5:
            x = self.a(x)
            probs[:] = [0.1, 0.1, 0.8]
        k = np.random.choice(3, p=probs)
        return self.layers[k](x)  # type: ignore[no-any-return]


class AliasAtJoin(Base):
    def forward(self, x: Tensor) -> Tensor:
        p, q = [0.5], [0.5]
        r = p if random.random() < 0.5 else q
        r[0] = 0.9
        return self.a(x) if torch.bernoulli(torch.tensor(p[0])) else self.b(x)  # type: ignore[no-any-return]


class Sparse(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x.to_sparse().to_dense().abs().mean() > 2 else x


class DrawnExpert(Base):
    def forward(self, x: Tensor) -> Tensor:
        k = self.a(x).mean(0).argmax().item() % 3
        return self.layers[k](x)  # type: ignore[no-any-return, index]


RIGHT: dict[type[Base], tuple[float, ...]] = {
    SlotsInBranch: (0.05, 0.05, 0.45, 0.45),
    BreakInElse: (1 / 15, 1 / 15, 1 / 15, 4 / 15, 4 / 15, 4 / 15),
    AliasAtJoin: (0.3, 0.7),
    AttributeOfDrawnModule: (0.025, 0.25, 0.25, 0.475),
    ClassAttribute: (0.05, 0.05, 0.45, 0.45),
    GateElsewhere: (1.0,),
    FillValue: (1.0,),
    VaryingAndConstant: (0.1, 0.15, 0.3, 0.45),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_bug_the_file_had_another_law(kind: type[Base]) -> None:
    model = kind().eval()
    laws = {f: law_of_code(model, (X * f,)) for f in (1, -1, 30)}
    file = rr.export(model, (X,))
    for factor, law in laws.items():
        assert sorted(law.values()) == pytest.approx(RIGHT[kind])
        assert differences(law, law_of_file(file, (X * factor,))) == []


REFUSED: dict[type[Base], str] = {
    ArrayInBranch: r"probs \(a ndarray\) is changed in one",
    Sparse: "expected operators that have a form in ONNX, got aten._to_sparse, which has none",
    DrawnExpert: "got one that depends on the input; compare it",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bug_what_cannot_be_followed_came_out_wrong(kind: type[Base]) -> None:
    with pytest.raises(CaptureError, match=rf"^test_field_programs\.py:\d+: .*{REFUSED[kind]}"):
        rr.export(kind().eval(), (X,))
