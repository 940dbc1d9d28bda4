"""Forms of models that once came out wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.parity.target_check import verify_targets
from rr_runtime import Session


class Fixed(nn.Module):
    """Gives a buffer, whatever it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("numbers", torch.arange(8.0))

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.numbers, Tensor)
        return self.numbers


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(0)


def fixed(*after: nn.Module) -> rr.Bundle:
    choice = rr.OperationChoice([Fixed(), Sum()], rr.Categorical([0.4, 0.6]))
    return rr.export(nn.Sequential(choice, *after).eval(), (torch.randn(4, 8),))


@pytest.mark.parametrize("after", [(), (rr.LayerChoice(nn.Linear(8, 8), 0.5),)], ids=["at the end", "before a layer"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_bug_a_branch_that_gives_a_constant(after: tuple[nn.Module, ...], precision: str, tmp_path: Path) -> None:
    bundle = fixed(*after)
    bundle = rr.package(bundle, "qnn", precision=precision)
    bundle = rr.package(bundle, "cuda", precision=precision)
    bundle = rr.package(bundle, "cuda", precision=precision, frozen=4, name="frozen")
    assert verify_targets(bundle.save(tmp_path / "bundle")).passed


def test_bug_outputs_are_not_the_callers_arrays(tmp_path: Path) -> None:
    bundle = rr.export(nn.Sequential(rr.LayerChoice(nn.Linear(8, 8), 0.5)).eval(), (torch.randn(4, 8),), target="qnn")
    session = Session(bundle.save(tmp_path / "bundle"), target="qnn")
    x = np.ones((4, 8), np.float32)
    skipped = session.run({"input": x}, path=[0]).outputs["output"]
    assert not np.shares_memory(skipped, x)
    skipped[:] = 5
    assert (x == 1).all()


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = rr.LayerChoice(nn.Linear(8, 8), 0.5), rr.LayerChoice(nn.Linear(8, 8), 0.5)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.cat([self.first(a), self.second(b)])


def test_bug_sizes_in_expressions_follow_their_names(tmp_path: Path) -> None:
    size = torch.export.Dim("s", min=2, max=64)
    shapes = {"a": {0: size}, "b": {0: 2 * size}}
    bundle = rr.export(Twice().eval(), (torch.randn(3, 8), torch.randn(6, 8)), dynamic_shapes=shapes)
    bundle = rr.package(bundle, "qnn", sizes={"s": 5})
    with pytest.raises(ValueError, match=r"expected a symbolic axis of the inputs \(s\), got no such"):
        rr.package(bundle, "qnn", sizes={"s": 5, "2*s": 10}, name="other")
    session = Session(bundle.save(tmp_path / "bundle"), target="qnn")
    inputs = {"a": np.ones((5, 8), np.float32), "b": np.ones((10, 8), np.float32)}
    assert [a.shape for a in session.run(inputs).outputs.values()] == [(15, 8)]
    assert verify_targets(bundle).passed
