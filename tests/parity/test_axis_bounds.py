"""Sizes 0 and 1 of a dynamic axis are right, or no runtime takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.errors import CaptureError
from rr_export.parity.axis_bounds import bound_axes
from rr_export.parity.eager_model import Eager
from rr_export.parity.other_sizes import size_thresholds, telling_sizes
from rr_export.parity.verify import verify_points
from rr_runtime import Session

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Layer(nn.Module):
    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x)


def routed(compute: Callable[[Tensor], Tensor]) -> nn.Module:
    return nn.Sequential(rr.LayerChoice(Layer(compute), 0.5)).eval()


def export(model: nn.Module, x: Tensor = X) -> rr.Bundle:
    return rr.export(model, (x,), dynamic_shapes={"input": {0: "batch"}})


def not_one(x: Tensor) -> Tensor:
    return -x if x.shape[0] == 1 else x * 2


def some(x: Tensor) -> Tensor:
    assert len(x.shape) == 2
    return x - x.max(0).values


def no_less_than_one(x: Tensor) -> Tensor:
    return x * 2 if x.shape[0] >= 1 else x


BOUNDS: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, list[int | None]]]] = {
    "every size": (lambda x: x * 2, {}),
    "another answer at 1": (not_one, {"batch": [2, None]}),
    "squeezed at 1": (lambda x: x * (2 if x.squeeze(0).dim() == 2 else 3), {"batch": [2, None]}),
    "none at 0": (some, {"batch": [1, None]}),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_sizes_0_and_1_are_right_or_refused(name: str, tmp_path: Path) -> None:
    compute, bounds = BOUNDS[name]
    model = routed(compute)
    bundle = export(model)
    assert bundle.manifest["axes"] == bounds
    session = Session(bundle.save(tmp_path / "out"))
    least = bounds.get("batch", [0])[0]
    assert least is not None
    for size in (0, 1, 2, 5):
        x = X[:1].repeat(size, 1)
        if size < least:
            with pytest.raises(ValueError, match=f"inputs: expected batch of at least {least}, got {size}"):
                session.run({"input": x.numpy()}, path=[1])
        else:
            with rr.forced(model, [1]):
                expected = model(x).numpy()
            np.testing.assert_allclose(session.run({"input": x.numpy()}, path=[1]).outputs["output"], expected)


def test_plain_models_are_bounded_too() -> None:
    with pytest.warns(UserWarning, match="without any"):
        bundle = rr.export(Layer(not_one).eval(), (X,), dynamic_shapes={"x": {0: "batch"}})
    assert bundle.manifest["axes"] == {"batch": [2, None]}


class Pair(nn.Module):
    """Wrong where both axes have size 1."""

    def forward(self, x: Tensor) -> Tensor:
        return -x if x.numel() == 1 else x * 2


def test_axes_that_are_small_together() -> None:
    with pytest.warns(UserWarning, match="without any"):
        bundle = rr.export(Pair().eval(), (X,), dynamic_shapes={"x": {0: "a", 1: "b"}})
    assert bundle.manifest["axes"] == {"a": [2, None]}


def test_sabotage_a_size_that_the_file_fixes() -> None:
    model = routed(lambda x: x * 2)
    bundle = export(model)
    eager = Eager(bind(model, (X,)))
    bound_axes(bundle, eager)
    assert bundle.manifest["axes"] == {}
    three = ir.Value(
        name="three", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([3, 1]),
        const_value=ir.tensor(np.ones((3, 1), np.float32), name="three"),
    )  # fmt: skip
    bundle.model.graph.initializers["three"] = three
    output = bundle.model.graph.outputs[0]
    producer = output.producer()
    assert producer is not None
    scaled = ir.node("Mul", [output, three])
    scaled.outputs[0].type, scaled.outputs[0].shape, scaled.outputs[0].name = output.type, output.shape, "output"
    output.name = "unscaled"
    bundle.model.graph.append(scaled)
    bundle.model.graph.outputs[0] = scaled.outputs[0]
    with pytest.raises(CaptureError, match=r"the model at every size of 'batch', got a difference at 4: .*fails"):
        bound_axes(bundle, eager)


class OfSize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(torch.tensor(x.shape[0]) > 20, -x, x * 2)


def test_thresholds_of_sizes_in_the_graph() -> None:
    model = OfSize().eval()
    with pytest.warns(UserWarning, match="without any"):
        bundle = rr.export(model, (X,), dynamic_shapes={"x": {0: "batch"}})
    assert size_thresholds(bundle, {"x": X.numpy()}) == {"batch": [21]}
    greater = next(n for n in bundle.model.graph if n.op_type == "Greater")
    limit = next(v for v in greater.inputs if v is not None and v.const_value is not None)
    assert limit.const_value is not None
    limit.const_value = ir.tensor(np.asarray(30, limit.const_value.numpy().dtype), name=limit.name)
    with bundle.folder() as folder:
        (paths,) = verify_points(bundle, folder, bind(model, (X,)), points=("paths",))
    assert any("at batch=24" in text or "at batch=30" in text for text in paths.failures)


def test_sizes_on_both_sides_of_thresholds_and_at_bounds() -> None:
    found = telling_sizes(3, (2, 200), [100])
    assert {2, 4, 16, 48, 99, 100, 101, 200} <= set(found)
    assert not {0, 1, 3, 201} & set(found)


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_bug_an_empty_batch_ended_the_process(kind: type[nn.Module], tmp_path: Path) -> None:
    layer = kind(4, 4, batch_first=True)
    model = Layer(lambda x: layer(x)[0])
    model.layer = layer
    x = torch.randn(2, 3, 4)
    bundle = rr.export(model.eval(), (x,), dynamic_shapes={"x": {0: "batch", 1: "time"}})
    assert bundle.manifest["axes"] == {"batch": [1, None], "time": [1, None]}
    bundle.save(tmp_path / "net")
    with pytest.raises(ValueError, match="inputs: expected batch of at least 1, got 0"):
        Session(tmp_path / "net").run({"x": x[:0].numpy()})
    assert rr.verify(bundle, model, (x,)).passed
