"""A quantised form that is too far from the model is refused when it is made, with what would hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.bundle.bundle import Bundle
from rr_export.errors import PackageError
from rr_export.parity.target_check import verify_targets

X = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))


class Outlier(nn.Module):
    """One channel is so large that 8 bits for all leave nothing of the others, which alone are looked at afterwards."""

    def __init__(self, size: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight[0], layer.bias[0] = 0.0, size
            self.second.weight[:, 0] = 0.0
            self.last.weight[:, 0] = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x)))


def exported(size: float) -> Bundle:
    model = Outlier(size).eval()
    rr.route_layers(model, "second", keep=0.5)
    return rr.export(model, (X,), dynamic_shapes={"x": {0: "batch"}}, opset=21)


@pytest.fixture(scope="module")
def rough() -> Bundle:
    return exported(1000.0)


def test_a_form_that_holds_is_made_and_proven() -> None:
    made = rr.package(exported(1.0), "qnn", sizes={"batch": 4}, precision="qdq")
    assert verify_targets(made).passed


def test_one_that_does_not_hold_is_refused_with_what_was_tried(rough: Bundle) -> None:
    message = (
        r"target 'qnn': expected that precision 'qdq' is as near to the model as verify wants it, got path \[.\].*"
        r"expected differences of at most 30% of the deviation .* \(and \d+ more\); precision 'qdq16' was tried, and"
    )
    with pytest.raises(PackageError, match=message):
        rr.package(rough, "qnn", sizes={"batch": 4}, precision="qdq")
    assert verify_targets(rr.package(rough, "qnn", sizes={"batch": 4}, precision="qdq16")).passed


@pytest.mark.parametrize("options", [{"frozen": 2}, {"form": "segments"}])
def test_what_another_provider_can_do_is_said(rough: Bundle, options: dict[str, object]) -> None:
    with pytest.raises(PackageError, match=r"at most 30% of .*; calibrate with more .*, or take precision 'float32'$"):
        rr.package(rough, "cpu", sizes={"batch": 4}, precision="qdq", **options)  # type: ignore[arg-type]


def test_calibration_that_is_far_from_the_golden_cases_is_seen() -> None:
    bundle = exported(1.0)
    narrow = [{"x": np.full((4, 16), 1e-3, np.float32)}]
    with pytest.raises(PackageError, match="calibrate with more inputs such as those that it will see"):
        rr.package(bundle, "qnn", sizes={"batch": 4}, precision="qdq", calibration=narrow)


def test_bug_the_recipe_of_the_readme_made_a_form_that_verify_refused() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(4)], nn.Linear(16, 2)).eval()
    rr.route_layers(model, "[0-3]", keep=0.8)
    bundle = rr.export(model, (torch.randn(8, 16),), dynamic_shapes={"input": {0: "batch"}})
    with pytest.raises(PackageError, match=r"got nearer to \[.*precision 'qdq16' was tried, and holds"):
        rr.package(bundle, "qnn", sizes={"batch": 1}, precision="qdq")
