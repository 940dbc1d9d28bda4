"""Binding: every argument and dynamic axis has its name once, and stays what it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from rr_export.capture.request import bind


class Everywhere(nn.Module):
    def forward(self, x: Tensor, *more: Tensor, scale: Tensor, **named: Tensor) -> dict[str, Tensor]:
        return {"sum": x + sum(more), "x": x * scale, "0": named["extra"]}


def tensor(*shape: int) -> Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


def test_every_argument_has_its_name() -> None:
    request = bind(Everywhere(), (tensor(2), tensor(2), tensor(2)), {"extra": tensor(1), "scale": tensor(1)})
    assert list(request.inputs) == ["x", "more.0", "more.1", "extra", "scale"]
    assert list(request.outputs()) == ["sum", "output.x", "output.0"]  # a name of an input, and no name


def test_nested_arguments_are_named_by_their_path() -> None:
    class Nested(nn.Module):
        def forward(self, pair: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
            return pair[0] + pair[1]["a"]

    request = bind(Nested(), ((tensor(2), {"a": tensor(2)}),), dynamic_shapes={"pair": ({0: "n"}, {"a": {0: "n"}})})
    assert list(request.inputs) == ["pair.0", "pair.1.a"]
    assert request.axes == {("pair.0", 0): "n", ("pair.1.a", 0): "n"}


def test_axes_of_keywords_are_named_without_their_parameter() -> None:
    request = bind(
        Everywhere(),
        (tensor(2),),
        {"extra": tensor(3), "scale": tensor(1)},
        {"x": None, "scale": None, "named": {"extra": {0: "n"}}},
    )
    assert request.axes == {("extra", 0): "n"}


def test_bounds_narrow_the_axes_and_nothing_else() -> None:
    model = nn.Linear(4, 2)
    request = bind(model, (tensor(3, 4),), None, {"input": {0: "batch"}})
    narrow = request.within({"batch": (2, 8)})
    assert request.bounds == {} and narrow.bounds == {"batch": (2, 8)}
    assert narrow.model is model and narrow.args is request.args and narrow.axes == request.axes


def test_bounds_of_the_users_own_dim_stay() -> None:
    request = bind(nn.Linear(4, 2), (tensor(3, 4),), None, ({0: Dim("batch", min=2, max=16)},))
    assert request.bounds == {"batch": (2, 16)} == request.within({}).bounds


def test_changed_tensors_leave_the_request_as_it_was() -> None:
    request = bind(nn.Linear(4, 2), (tensor(3, 4),), None, {"input": {0: "batch"}})
    before = request.inputs["input"].copy()
    other = request.changed(lambda name, t: t + 1 if name == "input" else t)
    np.testing.assert_array_equal(other.inputs["input"], before + 1)
    np.testing.assert_array_equal(request.inputs["input"], before)
    assert other.axes == {}


def test_inputs_are_a_copy() -> None:
    x = tensor(3, 4)
    request = bind(nn.Linear(4, 2), (x,))
    before = request.inputs["input"].copy()
    x += 1
    np.testing.assert_array_equal(request.inputs["input"], before)


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), None, "export: expected arguments for forward.*missing"),
        ((1, 2), None, "export: expected arguments for forward.*too many"),
        ((tensor(1),), {"y": 1}, "export: expected arguments for forward.*unexpected"),
        ([tensor(1)], None, "export: expected args to be a tuple, got list"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(args: object, kwargs: dict[str, object] | None, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        bind(nn.Linear(4, 2), args, kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (5, "dynamic_shapes: expected {argument: {axis: name}}, got 5"),
        (({0: "b"}, None, {0: "c"}), r"dynamic_shapes: expected one entry for each of \['pair'\], got 3"),
        ({"pair": 7}, "dynamic_shapes: expected a structure like that of 'pair', got 7"),
        ({"pair": ({0: "n"},)}, r"dynamic_shapes: expected a tuple of 2 entries for 'pair', got \({0: 'n'},\)"),
        ({"pair": (None, ({0: "n"},))}, "dynamic_shapes: expected a dict for 'pair.1'"),
        ({"other": None}, r"dynamic_shapes: expected names among \['pair'\], got \['other'\]"),
    ],
)
def test_dynamic_shapes_that_do_not_fit_are_refused(shapes: object, text: str) -> None:
    class Nested(nn.Module):
        def forward(self, pair: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
            return pair[0] + pair[1]["a"]

    with pytest.raises(ValueError, match=text):
        bind(Nested(), ((tensor(2), {"a": tensor(2)}),), None, shapes)


def test_keywords_that_are_no_dict_are_refused() -> None:
    with pytest.raises(TypeError, match="export: expected kwargs to be a dict, got list"):
        bind(nn.Linear(4, 2), (tensor(1, 4),), [1])  # type: ignore[arg-type]
