"""Values on the inputs that users have."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.compare import Comparison
from rr_export.parity.data_arrays import check_filled, checked_arrays
from rr_export.parity.data_check import PathDesign
from rr_export.parity.golden_inputs import golden_requests
from rr_export.parity.input_result import Agreement, _agreement
from rr_export.parity.user_data import requests_of
from rr_export.parity.verify import verify_points
from rr_export.report.report import Check
from rr_runtime.manifest import Manifest


class Two(nn.Module):
    """Two inputs, two outputs of different types, two sites."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        for layer in self.layers:
            x = layer(x) * mask
        return {"logits": x, "half": (x * 3).to(torch.float16), "top": x.argmax(-1)}


X, MASK = torch.linspace(-1, 1, 8).reshape(2, 4), torch.ones(2, 1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    model = Two().eval()
    rr.route_layers(model, "layers.*", keep=0.5)
    return model


@pytest.fixture(scope="module")
def bundle(model: nn.Module) -> rr.Bundle:
    return rr.export(model, (X, MASK), dynamic_shapes={"x": {0: "batch"}, "mask": {0: "batch"}})


def check(bundle: rr.Bundle, model: nn.Module, data: Any) -> Check:
    with bundle.folder() as folder:
        sites, found = verify_points(bundle, folder, bind(model, (X, MASK)), points=("sites", "data"), data=data)
    assert sites.passed
    return found


def test_every_kind_of_item_is_an_input(model: nn.Module) -> None:
    example = bind(model, (X, MASK))
    items = [
        (2 * X, MASK), ((2 * X,), {"mask": MASK}), {"x": 2 * X, "mask": MASK}, [2 * X, MASK],
        {"x": 2 * X.numpy(), "mask": MASK.numpy()}, (2 * X.numpy(), MASK.numpy()),
    ]  # fmt: skip
    for request in requests_of(items, example):
        assert set(request.inputs) == {"x", "mask"}
        np.testing.assert_array_equal(request.inputs["x"], 2 * X.numpy())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("text", "data, input 1: expected a tuple of arguments"),
        ((X,), "data, input 1: export: expected arguments for forward"),
        ({"x": X}, "data, input 1: .*missing a required argument: 'mask'"),
        (((X, MASK), {"label": X}), "data, input 1: .*got an unexpected keyword argument 'label'"),
    ],
)
def test_an_item_that_does_not_fit_is_told_by_its_number(model: nn.Module, item: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        list(requests_of([(X, MASK), item], bind(model, (X, MASK))))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((X.double(), MASK), "data, input 1: input 'x': expected float32, got float64; convert it"),
        ((X.to(torch.bfloat16), MASK), "data, input 1: input 'x': expected float32, got bfloat16; convert it"),
        ((X, MASK.int()), "data, input 1: input 'mask': expected float32, got int32; convert it"),
        ((X[:0], MASK[:0]), r"data, input 1: input 'x': expected at least one number, got the shape \(0, 4\)"),
    ],
)
def test_bug_data_that_the_file_does_not_take_or_that_holds_nothing_was_compared(
    bundle: rr.Bundle, model: nn.Module, item: Any, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        check(bundle, model, [(X, MASK), item])
    named = dict(zip(("x", "mask"), (tensor.float().numpy() for tensor in item), strict=True))
    if not item[0].numel():
        with pytest.raises(ValueError, match="data, input 0: "):
            list(checked_arrays([named], bundle))


def test_an_axis_that_may_be_empty_may_be_empty(bundle: rr.Bundle) -> None:
    arrays, told = {"x": X[:0].numpy(), "mask": MASK[:0].numpy()}, Manifest.parse(bundle.manifest)
    check_filled(arrays, replace(told, axes={"batch": (0, None)}))
    with pytest.raises(ValueError, match="expected at least one number"):
        check_filled(arrays, replace(told, axes={}))


def test_what_is_kept_of_a_refilled_buffer_is_what_was_given(bundle: rr.Bundle, model: nn.Module) -> None:
    buffer = X.clone()
    requests = [*requests_of(((buffer.fill_(n), MASK) for n in range(3)), bind(model, (X, MASK)))]
    assert [float(request.args[0][0, 0]) for request in requests] == [0, 1, 2]
    array = X.numpy().copy()
    filled = (array.fill(n) or {"x": array, "mask": MASK.numpy()} for n in range(3))  # type: ignore[func-returns-value]
    assert [float(arrays["x"][0, 0]) for arrays in list(checked_arrays(filled, bundle))] == [0, 1, 2]
    golden, count = golden_requests(((buffer.fill_(n), MASK) for n in range(3)), bind(model, (X, MASK)))
    assert [float(request.args[0][0, 0]) for request in golden] == [0, 1, 2] and count is None


def test_data_is_compared_and_counted(bundle: rr.Bundle, model: nn.Module) -> None:
    found = check(bundle, model, ((n * X, MASK) for n in range(5)))
    assert found.passed and found.figures["inputs"] == 5
    assert found.figures["pairs"] == 4 + 4 + 3 * 2  # all paths on two, two paths take every branch of two sites
    assert found.figures["agreement"]["logits"]["top1"] == 1.0
    assert found.figures["agreement"]["logits"]["cosine_least"] > 0.99999
    worst = found.figures["largest_differences"]
    assert worst == sorted(worst, key=lambda row: -row["difference"]) and {*worst[0]} >= {"input", "path", "output"}


def test_an_input_of_another_size_than_the_file_takes_is_a_difference(bundle: rr.Bundle, model: nn.Module) -> None:
    failed = check(bundle, model, [(X, MASK), (torch.ones(3, 2, 4), torch.ones(3, 2, 1))])
    assert failed.passed is False and "input 1, path [0, 0]: expected outputs, got ValueError" in failed.failures[0]


@pytest.mark.parametrize("sites", [1, 3, 5])
def test_the_design_takes_every_branch_on_every_input_and_every_path_on_some(sites: int) -> None:
    paths = tuple(itertools.product(range(3), *[range(2)] * (sites - 1)))
    design = PathDesign(paths)
    assert design.on(0) == list(paths) == design.on(1)
    seen = set()
    for number in range(2, 2 + 2 * len(paths)):
        chosen = design.on(number)
        assert len(chosen) <= 4  # 3 branches at most; a covering of a few paths
        assert {(s, r) for p in chosen for s, r in enumerate(p)} == {(s, r) for p in paths for s, r in enumerate(p)}
        seen |= set(chosen)
    assert seen == set(paths)


def test_sites_that_a_path_does_not_reach_are_no_branches() -> None:
    design = PathDesign(((0, -1), (1, 0), (1, 1)), whole=0)
    assert all({(1, 0), (1, 1)} <= {(s, r) for p in design.on(n) for s, r in enumerate(p)} for n in range(9))
    assert PathDesign(((),)).on(7) == [()]


def test_tolerances_of_one_output_or_dtype(bundle: rr.Bundle, model: nn.Module) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_submodule("layers.1").layer.bias[0] += 0.1
    assert check(bundle, other, [(X, MASK)]).passed is False
    loose = {"logits": 0.11, "float16": 0.4, "top": 5}
    with pytest.raises(ValueError, match=r"atol: expected an output or .*got 'top'; name one"):
        rr.verify(bundle, other, (X, MASK), atol=loose)
    with pytest.raises(ValueError, match=r"got 'int64'"):
        rr.verify(bundle, model, (X, MASK), rtol={"int64": 0.1})
    with pytest.raises(ValueError, match="atol of logits finite"):
        rr.verify(bundle, model, (X, MASK), atol={"logits": float("inf")})


@pytest.mark.parametrize(
    ("own", "holds"),
    [({}, False), ({"x": 0.3}, True), ({"float32": 0.3}, True), ({"y": 0.3}, False), ({"x": 0.1, "float32": 1}, False)],
)
def test_a_name_goes_before_a_dtype(own: dict[str, float], holds: bool) -> None:
    one = {"x": np.zeros(2, np.float32), "n": np.zeros(2, np.int64)}
    other = {"x": np.full(2, 0.2, np.float32), "n": np.zeros(2, np.int64)}
    assert Comparison(0.0, 1e-5, own={"atol": own}).add("", one, other) is holds


def test_data_without_an_input_proves_nothing(bundle: rr.Bundle, model: nn.Module) -> None:
    found = check(bundle, model, [])
    assert found.passed is False and found.failures == ("expected inputs, got none",)


def test_agreement_tells_classes_and_directions_apart() -> None:
    one = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]])
    same = _agreement(one, one)
    assert same == Agreement(3, 3, pytest.approx(3), pytest.approx(1))
    other = _agreement(one, one[:, ::-1])
    assert other.same_top == 1 and other.least_cosine == pytest.approx(0.6), other


def test_bug_rows_of_nan_were_full_agreement() -> None:
    nan, inf = np.nan, np.inf
    right = np.array([[nan, nan], [1.0, nan], [1.0, 2.0], [-inf, 2.0], [-inf, 2.0]])
    found = np.array([[nan, nan], [1.0, nan], [nan, nan], [-inf, 2.0], [inf, 2.0]])
    assert _agreement(right[:2], found[:2]) == Agreement() == _agreement(right[:2], np.ones((2, 2)))
    assert _agreement(right, found) == Agreement(3, 1, pytest.approx(-1.0), -1.0)
    assert _agreement(right[3:4], found[3:4]) == Agreement(1, 1, 1.0, 1.0)


class Log(nn.Module):
    """NaN where its input is below zero."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(offset))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x + self.offset)


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
def test_bug_a_nan_on_one_side_was_no_difference() -> None:
    data = [(torch.ones(2, 4),), (torch.full((2, 4), -1.5),), (torch.full((2, 4), -9.0),)]
    bundle = rr.export(Log(1.0).eval(), (torch.ones(2, 4),))
    with bundle.folder() as folder:
        request = bind(Log(2.0).eval(), (torch.ones(2, 4),))
        (found,) = verify_points(bundle, folder, request, points=("data",), data=data)
    assert found.passed is False and found.worst is not None and (found.worst["x"] == -1.5).all()
    first, second, last = found.figures["largest_differences"]
    assert (first["input"], first["difference"], second["input"]) == (1, np.inf, 0)
    assert (last["input"], last["difference"]) == (2, 0.0)
    assert found.figures["agreement"]["output"] == {
        "top1": 0.5, "rows": 4, "cosine_least": -1.0, "cosine_mean": pytest.approx(0.0),
    }  # fmt: skip
