"""Tolerances follow from what the eager model computes in, and from nothing that a file says."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.eager_model import Eager
from rr_export.parity.terms import Terms
from rr_export.parity.tolerances import tolerances_of
from rr_export.parity.verify import verify_points

FLOAT, HALF, COARSE = (1e-4, 1e-5), (1e-2, 5e-3), (8e-2, 4e-2)


class Skips(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                x = torch.relu(layer(x)) * 3
        return x


class Inside(nn.Module):
    """Computes in another type, on one path alone."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(self.dtype) * 1.1).to(x.dtype)


X = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))


def found(model: nn.Module, x: Tensor) -> tuple[float, float]:
    model = model.eval()
    tolerances = tolerances_of(Eager(bind(model, (x,))), rr.plan_of(model))
    return tolerances["rtol"], tolerances["atol"]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float64, FLOAT), (torch.float32, FLOAT), (torch.float16, HALF), (torch.bfloat16, COARSE)],
)
def test_tolerances_by_type(dtype: torch.dtype, expected: tuple[float, float]) -> None:
    assert found(nn.Sequential(nn.Linear(16, 2).to(dtype)), X.to(dtype)) == expected
    inside = nn.Sequential(nn.Linear(16, 2), rr.LayerChoice(Inside(dtype), 0.1))
    assert found(inside, X) == expected


def test_bug_a_half_precision_model_was_refused_for_its_rounding() -> None:
    model, x = Skips().eval().half(), X.half()
    bundle = rr.export(model, (x,))
    assert bundle.manifest["tolerances"] == {"rtol": HALF[0], "atol": HALF[1]}
    with bundle.folder() as folder:
        checks = verify_points(bundle, folder, bind(model, (x,)), points=("paths", "inputs"))
    assert all(check.passed for check in checks), [check.failures for check in checks]
    assert "rtol 0.01, atol 0.005" in checks[0].summary
    exact = Terms(1e-6, 0.0, max_paths=2)
    with bundle.folder() as folder:
        (paths,) = verify_points(bundle, folder, bind(model, (x,)), exact, points=("paths",))
    assert any("within rtol 1e-06, atol 0" in text for text in paths.failures)


def test_sabotage_a_float_model_computed_in_half_precision() -> None:
    """Neither what the file computes in, nor what its manifest says, makes the comparison coarser."""
    model = Skips().eval()
    bundle = rr.export(model, (X,))
    assert bundle.manifest["tolerances"] == {"rtol": FLOAT[0], "atol": FLOAT[1]}
    bundle.manifest["tolerances"] = {"rtol": 1.0, "atol": 1.0}
    output = bundle.model.graph.outputs[0]
    half = ir.node("Cast", [output], {"to": ir.DataType.FLOAT16})
    whole = ir.node("Cast", [half.outputs[0]], {"to": ir.DataType.FLOAT})
    whole.outputs[0].type, whole.outputs[0].shape = output.type, output.shape
    output.name, whole.outputs[0].name = "exact", output.name
    bundle.model.graph.extend([half, whole])
    bundle.model.graph.outputs[0] = whole.outputs[0]
    with bundle.folder() as folder:
        (paths,) = verify_points(bundle, folder, bind(model, (X,)), points=("paths",))
    assert any("within rtol 0.0001, atol 1e-05" in text for text in paths.failures)


def test_what_was_asked_for_is_not_replaced() -> None:
    terms = Terms.asked(rtol=0.5, atol=None).with_default({"rtol": 1.0, "atol": 0.25})
    assert (terms.rtol, terms.atol, terms.open) == (0.5, 0.25, ())
    assert Terms(0.5, 0.5).with_default({"rtol": 1.0, "atol": 0.25}) == Terms(0.5, 0.5)
