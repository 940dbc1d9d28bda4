"""Sites with one branch, whose route is always 0: every form has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import LoweringError
from rr_export.parity.target_check import verify_targets
from rr_runtime import Session


class Among(nn.Module):
    """Sites of one branch beside, around and inside of others."""

    def __init__(self) -> None:
        super().__init__()
        inner = nn.Sequential(rr.LayerChoice(nn.Linear(4, 4), 0.5), rr.OperationChoice([nn.Tanh()], rr.Uniform(1)))
        self.around = rr.OperationChoice([inner], rr.Categorical([1.0]))
        self.inside = rr.LayerChoice(nn.Sequential(rr.ParameterChoice(nn.Linear(4, 4), 1, rr.Uniform(1))), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(self.around(x))


class Alone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = rr.OperationChoice([nn.Linear(4, 4)], rr.Categorical([1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.only(x)


class Unread(nn.Module):
    """Its one site has no say in what comes out."""

    def __init__(self) -> None:
        super().__init__()
        self.side, self.layer = rr.LayerChoice(nn.Linear(4, 4), 0.5), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.side(x)
        return self.layer(x)


@pytest.mark.parametrize("model", [Among, Alone, Unread])
def test_bug_sites_that_decide_nothing_have_every_form(model: type[nn.Module], tmp_path: Path) -> None:
    x = torch.randn(2, 4)
    bundle = rr.export(model().eval(), (x,), target=["qnn", "cuda"])
    bundle = rr.package(bundle, "cpu", form="routed", name="host")
    bundle = rr.package(bundle, "cpu", frozen=4)
    bundle.save(tmp_path / "bundle")
    assert verify_targets(bundle).passed
    path = bundle.plan.most_probable()
    frozen = rr.freeze(bundle, path).save(tmp_path / "frozen.onnx")
    expected = Session(tmp_path / "bundle", target="default").run({"x": x.numpy()}, path=path).outputs["output"]
    assert (Session(frozen).run({"x": x.numpy()}).outputs["output"] == expected).all()


@pytest.mark.parametrize("model", [Alone, Unread])
def test_a_standalone_file_that_would_decide_nothing_is_refused(model: type[nn.Module]) -> None:
    with pytest.raises(LoweringError, match=r"standalone: expected a model with a site whose route decides .* use"):
        rr.export(model().eval(), (torch.randn(2, 4),), interface="standalone")
