"""Export compares what it captured with the code before it returns, and refuses what differs."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError

X = torch.ones(2, 3)
exporting = importlib.import_module("rr_export.export")  # the name in the package is the function


class Skips(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                x = layer(x)
        return x


class ByKind(Skips):
    """The input that decides is a whole number, which stays as it is."""

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        return self.layers[0](x) if kind == 1 else self.layers[1](x).relu()


class Gated(Skips):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](x) if x.sum() > 0 else self.layers[1](x).relu()


def weights(model: ir.Model) -> Iterator[ir.Value]:
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from graph.initializers.values()


def ifs(model: ir.Model) -> list[ir.Node]:
    return [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "If"]


def perturb(model: ir.Model, name: str) -> None:
    value = next(v for v in weights(model) if v.name == name)
    assert value.const_value is not None
    value.const_value = ir.tensor(value.const_value.numpy() + np.float32(0.1), name=name)


def swap(model: ir.Model) -> None:
    node = ifs(model)[1]
    then, other = (node.attributes[k].as_graph() for k in ("then_branch", "else_branch"))
    node.attributes["then_branch"] = ir.AttrGraph("then_branch", other)
    node.attributes["else_branch"] = ir.AttrGraph("else_branch", then)


SABOTAGE: dict[str, Callable[[ir.Model], None]] = {
    "another weight": lambda model: perturb(model, "layers.2.bias"),
    "swapped branches": swap,
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_a_wrong_graph_does_not_come_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lower = exporting.lower

    def sabotaged(*args: object, **kwargs: object) -> ir.Model:
        model = lower(*args, **kwargs)  # type: ignore[arg-type]
        SABOTAGE[name](model)
        return model

    rr.export(Skips().eval(), (X,))
    monkeypatch.setattr(exporting, "lower", sabotaged)
    with pytest.raises(CaptureError, match="same as the model, got differences"):
        rr.export(Skips().eval(), (X,))


def test_sabotage_behind_a_condition_that_the_example_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = exporting.lower

    def sabotaged(*args: object, **kwargs: object) -> ir.Model:
        model = lower(*args, **kwargs)  # type: ignore[arg-type]
        perturb(model, "layers.1.bias")
        return model

    args = (X, torch.tensor(1))
    rr.export(ByKind().eval(), args)
    monkeypatch.setattr(exporting, "lower", sabotaged)
    with pytest.raises(CaptureError, match=r"conditions \{0: False\}"):
        rr.export(ByKind().eval(), args)


taken = threading.Semaphore(10_000)


class Remembers(Skips):
    """What no reading of the code shows: it changes from run to run."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.layers[0](x)
        taken.acquire()
        return x + taken._value


def test_code_that_changes_from_run_to_run_is_refused() -> None:
    with pytest.raises(CaptureError, match="export: expected the captured code to be the same"):
        rr.export(Remembers().eval(), (X,))


class Escapes(Skips):
    """A number of the input on a way that nobody watches."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.layers[0](x)
        return self.layers[1](x) if sum(x.numpy().ravel().tolist()) > 0 else self.layers[2](x)


def test_what_is_taken_from_the_example_is_refused() -> None:
    with pytest.raises(CaptureError):
        rr.export(Escapes().eval(), (X,))


def test_sabotage_a_number_of_the_example_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = exporting.lower

    class Shifted(Skips):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + x.sum()

    def sabotaged(*args: object, **kwargs: object) -> ir.Model:
        model = lower(*args, **kwargs)  # type: ignore[arg-type]
        sums = [n for n in model.graph if n.op_type == "ReduceSum"]
        node = next(n for n in sums if n.outputs[0].dtype == ir.DataType.FLOAT)
        constant = ir.node("Constant", [], {"value": ir.tensor(X.sum().numpy())})
        constant.outputs[0].type, constant.outputs[0].shape = node.outputs[0].type, node.outputs[0].shape
        model.graph.insert_before(node, constant)
        ir.convenience.replace_all_uses_with(node.outputs[0], constant.outputs[0])
        return model

    rr.export(Shifted().eval(), (X,))
    monkeypatch.setattr(exporting, "lower", sabotaged)
    with pytest.raises(CaptureError, match="on inputs negated"):
        rr.export(Shifted().eval(), (X,))


def test_conditions_go_both_ways_in_the_file() -> None:
    model = Gated().eval()
    bundle = rr.export(model, (X,))
    for x in (X, -X):
        assert rr.verify(bundle, model, (x,)).passed
