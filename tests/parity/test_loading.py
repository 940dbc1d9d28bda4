"""Export loads its file once, and says which line of the model ONNX Runtime has no form of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.errors import CaptureError
from rr_export.parity.loading import check_loads
from rr_runtime import Session
from tests import nets
from tests.conftest import nodes_named


class Squeezed(nn.Module):
    """Squeezes axes of size 1 and of other sizes, fixed and dynamic."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x).squeeze(1).squeeze(0).squeeze(-1)
        y = y.unsqueeze(1).squeeze(1).squeeze((0, 1))
        y = y.unsqueeze(1).squeeze((0, 1, -1))
        return x + y.squeeze_(2)


@pytest.mark.parametrize("dynamic", [False, True])
def test_bug_squeezed_axes_of_other_sizes_than_1(dynamic: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(Squeezed()).eval(), torch.randn(2, 4, 8)
    rr.route_layers(model, "0", keep=0.5)
    bundle = rr.export(model, (x,), dynamic_shapes={"input": {0: "batch", 1: "tokens"}} if dynamic else None)
    bundle.save(tmp_path / "bundle")
    other = torch.randn(3, 5, 8) if dynamic else x
    with rr.forced(model, [1]), torch.no_grad():
        expected = model(other).numpy()
    got = Session(tmp_path / "bundle").run({"input": other.numpy()}, path=[1]).outputs["output"]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


class Table(nn.Module):
    """Returns a table, which does not depend on the input."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(start, start + 1600).reshape(40, 40))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table


def test_bug_a_branch_whose_result_is_a_large_weight(tmp_path: Path) -> None:
    model = nn.Sequential(rr.OperationChoice([Table(0.0), Table(1.0)], rr.Categorical([0.5, 0.5]))).eval()
    x = torch.randn(2, 40)
    bundle = rr.export(model, (x,))
    bundle.save(tmp_path / "bundle")
    session = Session(tmp_path / "bundle")
    for k, first in enumerate((0.0, 1.0)):
        assert session.run({"input": x.numpy()}, path=[k]).outputs["output"][0, 0] == first


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return x + self.linear(x)  # the line


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
@pytest.mark.parametrize("routed", [False, True])
def test_bug_a_bfloat16_layer_was_found_at_save(routed: bool) -> None:
    model = nn.Sequential(nn.Linear(8, 8), Autocast()).eval()
    if routed:
        rr.route_layers(model, "1", keep=0.5)
    pattern = (
        r"onnxruntime [\d.]+ loads on the CPU, got \w+ of '1.*linear' \(.*test_loading.py:\d+\) in bfloat16 \(.*\)"
    )
    with pytest.raises(CaptureError, match=pattern + r"; compute it in float32"):
        rr.export(model, (torch.randn(2, 8),))


class Activated(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(8, 8), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.linear(x))


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
@pytest.mark.parametrize("routed", [False, True])
def test_bug_an_operator_in_the_place_of_another_has_no_name(routed: bool) -> None:
    model = nn.Sequential(nn.Linear(8, 8), Activated(nn.functional.gelu)).eval().double()
    if routed:
        rr.route_layers(model, "1", keep=0.5)
    with pytest.raises(CaptureError, match=r"got Gelu of '1.*' \(.*test_loading.py:\d+\) \(.* for Erf\(13\)"):
        rr.export(model, (torch.randn(2, 8).double(),))


def test_sabotage_a_graph_that_does_not_load() -> None:
    bundle = rr.export(nets.layers(2), (nets.example(),))
    check_loads(bundle.model)
    wrong = nodes_named(bundle.model, "Gemm")[0]
    wrong.attributes["transB"] = ir.AttrFloat32("transB", 0.5)
    with pytest.raises(CaptureError, match=r"export: expected a graph that onnxruntime"):
        check_loads(bundle.model)
