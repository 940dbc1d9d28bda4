"""What a branch computes is in its branch, whatever region or higher-order operator it is computed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.verify import verify_points
from tests.conftest import rest_slow

Forward = Callable[["Layer", torch.Tensor], torch.Tensor]


class Layer(nn.Module):
    """A layer over [N, 7, 5, 8] that computes as ``forward_like`` says."""

    def __init__(self, forward_like: Forward) -> None:
        super().__init__()
        self.linear, self.forward_like = nn.Linear(8, 8), forward_like

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_like(self, x)


def no_autocast(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return x + layer.linear(x.float())


def nested_regions(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        y = layer.linear(x)
        with torch.autocast("cpu", enabled=False):
            y = layer.linear(y).relu()
            with torch.no_grad():
                y = layer.linear(y)
    return x + y


def grad_is_set(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    with torch.set_grad_enabled(True):
        y = layer.linear(x)
        torch.set_grad_enabled(False)
        return x + layer.linear(y)


def inference(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return x + layer.linear(x)


def checkpointed(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    y = checkpoint(layer.linear, x, use_reentrant=False)
    return x + checkpoint(layer.linear, y, use_reentrant=True)


def condition_in_region(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return x + torch.cond(x.sum() > 0, lambda x: layer.linear(x), lambda x: x * 2, (x,))


def region_in_condition(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    def warm(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return layer.linear(x)

    return x + torch.cond(x.sum() > 0, warm, lambda x: x * 2, (x,))


def linear_attention(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    """As efficient vision transformers have it: a column of ones is padded on, without autocast."""
    q, k, v = layer.linear(x).flatten(1, 2).relu().unsqueeze(1).expand(-1, 3, -1, -1).unbind(1)
    with torch.autocast("cpu", enabled=False):
        v = functional.pad(v, (0, 1), mode="constant", value=1.0)
        out = q @ (k.transpose(-1, -2) @ v)
        out = out[..., :-1] / (out[..., -1:] + 1e-6)
    return x + out.reshape(x.shape)


def windows(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    """Windows of 4 by 4 over sizes that 4 does not divide."""
    n, h, w, c = x.shape
    below, right = (4 - h % 4) % 4, (4 - w % 4) % 4
    y = functional.pad(x, (0, 0, 0, right, 0, below))
    rows, columns = (h + below) // 4, (w + right) // 4
    y = y.view(n, rows, 4, columns, 4, c).transpose(2, 3).reshape(-1, 16, c)
    y = layer.linear(y).softmax(1)
    y = y.view(n, rows, columns, 4, 4, c).transpose(2, 3).reshape(n, h + below, w + right, c)
    return x + y[:, :h, :w].contiguous()


def changed_in_place(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        y = torch.zeros_like(x)
        y[:, :2] = layer.linear(x)[:, :2]
        return x + y


FORWARDS: list[Forward] = [
    no_autocast,
    nested_regions,
    grad_is_set,
    inference,
    checkpointed,
    condition_in_region,
    region_in_condition,
    linear_attention,
    windows,
    changed_in_place,
]


def main_operators(bundle: rr.Bundle) -> list[str]:
    """The operators of the main graph, what decides left out."""
    return [node.op_type for node in bundle.model.graph if not str(node.name).startswith("rr/")]


def check_proof(bundle: rr.Bundle, model: nn.Module, x: torch.Tensor) -> None:
    with bundle.folder() as folder:
        checks = verify_points(bundle, folder, bind(model, (x,)), points=("paths", "laziness"))
    assert [c.failures for c in checks if not c.passed] == []


# torch 2.13: what reentrant checkpoints say of tensors without gradients
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize(
    ("forwards", "dynamic"), rest_slow([([no_autocast, linear_attention], True), (FORWARDS, False)])
)
def test_bug_layers_in_regions_were_always_computed(forwards: list[Forward], dynamic: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*map(Layer, forwards)).eval()
    x = torch.randn(2, 7, 5, 8)
    rr.route_layers(model, "*", keep=0.5)
    with rr.forced(model, [1] * len(forwards)), torch.no_grad():
        model(x)  # what the layers return is seen
    bundle = rr.export(model, (x,), dynamic_shapes={"input": {0: "batch"}} if dynamic else None)
    assert main_operators(bundle) == ["If"] * len(forwards)
    if not dynamic:
        check_proof(bundle, model, x)


class SitesInRegions(nn.Module):
    """Sites, and decisions of the code, inside regions: what they decide does not leave its branch for it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.site = rr.LayerChoice(nn.Linear(8, 8), keep=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            x = self.site(x)
            if torch.rand(()) < 0.5:
                with torch.enable_grad():
                    x = self.site(self.linear(x))
        return x


def test_sites_in_regions_keep_their_branches() -> None:
    torch.manual_seed(0)
    model, x = SitesInRegions().eval(), torch.randn(2, 8)
    bundle = rr.export(model, (x,))
    assert main_operators(bundle) == ["If", "If"]
    check_proof(bundle, model, x)
