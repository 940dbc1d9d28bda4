"""Runs on inputs far from the example tell what stands in a file in place of a condition on the input."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.eager_model import Eager
from rr_export.parity.far_inputs import far_inputs
from rr_export.parity.verify import verify_points
from rr_export.report.report import Check

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Gated(nn.Module):
    """Decides by the size of its input's numbers, or by whole ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        if x.abs().mean() > 5:
            x = self.a(x)
        if torch.rand(()) < 0.5:
            x = torch.tanh(x)
        if kind[0] > 2:
            x = self.b(x)
        return x


ARGS = (X, torch.tensor([1, 2, 3]))


def check(bundle: rr.Bundle, model: nn.Module, args: tuple[Tensor, ...], name: str = "inputs") -> Check:
    with bundle.folder() as folder:
        checks = verify_points(bundle, folder, bind(model, args), points=(name,))
    return next(c for c in checks if c.name == name)


def test_the_same_model_is_the_same_far_from_the_example() -> None:
    model = Gated().eval()
    found = check(rr.export(model, ARGS), model, ARGS)
    assert found.passed, found.failures
    assert found.figures["runs"] == 18
    assert "scaled, moved, of other signs, shuffled, random" in found.summary


@pytest.mark.parametrize("gate", [0, 1])
def test_sabotage_a_condition_frozen_as_the_example_has_it(gate: int) -> None:
    model = Gated().eval()
    bundle = rr.export(model, ARGS)
    ifs = [n for n in bundle.model.graph if n.op_type == "If"]
    gates = [n for n in ifs if any(v.name in ("x", "kind") for v in upstream(n.inputs[0]))]
    assert len(gates) == 2
    bundle.model.graph.initializers["no"] = ir.Value(
        name="no", type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]),
        const_value=ir.tensor(np.array(False), name="no"),
    )  # fmt: skip
    gates[gate].replace_input_with(0, bundle.model.graph.initializers["no"])
    assert check(bundle, model, ARGS, "paths").passed  # on the example nothing is to be seen
    failures = check(bundle, model, ARGS).failures
    assert any("on inputs" in text for text in failures)


def upstream(value: ir.Value | None) -> list[ir.Value]:
    found, todo = list[ir.Value](), [value]
    while todo:
        one = todo.pop()
        if one is not None and one not in found:
            found.append(one)
            producer = one.producer()
            todo += list(producer.inputs) if producer is not None else []
    return found


class Chaotic(nn.Module):
    """Rounding is all that its outputs show."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x.double() * 1e9).float()


def test_rounding_is_no_difference() -> None:
    model = nn.Sequential(rr.LayerChoice(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), 1.0), Chaotic()).eval()
    found = check(rr.export(model, (X,)), model, (X,))
    assert found.figures["rounded"] > 0
    assert not found.failures


class Saturated(nn.Module):
    """Takes rows by numbers that are equal on large inputs: which of them come first torch leaves open."""

    def __init__(self, largest: bool = True) -> None:
        super().__init__()
        self.largest = largest

    def forward(self, x: Tensor) -> Tensor:
        return x[x.sum(-1).clamp(-1, 1).topk(2, largest=self.largest).indices]


def test_bug_the_order_of_equal_numbers_is_no_difference() -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    models = [nn.Sequential(rr.LayerChoice(nn.Identity(), 0.5), Saturated(largest)).eval() for largest in (True, False)]
    bundle = rr.export(models[0], (x,))
    found = check(bundle, models[0], (x,))
    assert found.figures["rounded"] > 0
    assert not found.failures
    assert check(bundle, models[1], (x,)).failures  # sabotage: rows that are no choice between equal numbers


def test_changed_inputs_are_the_same_every_time() -> None:
    model = Gated().eval()
    once, again = (dict(far_inputs(Eager(bind(model, ARGS)))) for _ in range(2))
    assert list(once) == list(again)
    for name in once:
        for key, array in once[name].inputs.items():
            np.testing.assert_array_equal(array, again[name].inputs[key])
    np.testing.assert_array_equal(np.sort(once["shuffled"].inputs["x"].ravel()), np.sort(X.numpy().ravel()))
    assert once["flipped"].inputs["kind"].tolist() == [3, 2, 1]


def test_inputs_that_the_model_does_not_take_are_left_out() -> None:
    class Strict(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return torch.eye(4)[ids]

    model, ids = Strict().eval(), torch.tensor([[1, 2], [0, 3]])
    with pytest.warns(UserWarning, match="without any"):
        bundle = rr.export(model, (ids,))
    found = check(bundle, model, (ids,))
    assert found.passed
    assert found.figures["runs"] == 6
