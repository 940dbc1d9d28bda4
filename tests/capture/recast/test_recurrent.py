"""LSTM, GRU and RNN as single operators: every option, any length, against torch."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import rr_export as rr
from rr_runtime import Session

IN, HIDDEN, PROJECTED = 3, 5, 2
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lstm": (nn.LSTM, {}),
    "projected": (nn.LSTM, {"proj_size": PROJECTED}),
    "gru": (nn.GRU, {}),
    "tanh": (nn.RNN, {}),
    "relu": (nn.RNN, {"nonlinearity": "relu"}),
}
SWITCHES = ("bidirectional", "bias", "batch_first")
LARGEST = {torch.float32: 2e-6, torch.float16: 4e-3, torch.float64: 1e-14}
OPERATORS = ("LSTM", "GRU", "RNN", "Scan")


class Recurrent(nn.Module):
    """One layer, called on time-major input, with or without a state."""

    def __init__(self, kind: str, layers: int, switches: dict[str, bool], given: bool) -> None:
        super().__init__()
        function, options = KINDS[kind]
        self.rnn = function(IN, HIDDEN, layers, dropout=0.5 if layers > 1 else 0.0, **options, **switches)
        self.given, self.lstm = given, function is nn.LSTM

    def forward(self, x: Tensor, state: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        rnn = self.rnn
        count = rnn.num_layers * (1 + rnn.bidirectional)
        state = state[:count, :, : rnn.proj_size or HIDDEN]
        given = (state, cell[:count]) if self.lstm else state
        y, last = rnn(x.transpose(0, 1) if rnn.batch_first else x, given if self.given else None)
        return (y, *last) if self.lstm else (y, last)


class Many(nn.Module):
    """Several recurrent layers, each on the same input."""

    def __init__(self, choices: list[tuple[Any, ...]]) -> None:
        super().__init__()
        made = [
            Recurrent(k, n, dict(zip(SWITCHES, switches, strict=True)), given) for k, n, given, *switches in choices
        ]
        self.layers = nn.ModuleList(made)

    def forward(self, x: Tensor, state: Tensor, cell: Tensor) -> list[tuple[Tensor, ...]]:
        return [layer(x, state, cell) for layer in self.layers]


class Output(nn.Module):
    """The output of a recurrent layer alone."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.rnn(x)[0]
        return y


def inputs(steps: int, batch: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    shapes = [(steps, batch, IN), (4, batch, HIDDEN), (4, batch, HIDDEN)]
    return tuple(torch.randn(shape).to(dtype) for shape in shapes)


def compare(session: Session, model: nn.Module, args: tuple[Tensor, ...], names: str, most: float) -> None:
    with torch.no_grad():
        expected = torch.utils._pytree.tree_leaves(model(*args))
    feeds = {name: arg.numpy() for name, arg in zip(names.split(), args, strict=True)}
    got = list(session.run(feeds).outputs.values())
    for number, (a, b) in enumerate(zip(expected, got, strict=True)):
        assert a.numpy().dtype == b.dtype
        np.testing.assert_allclose(b, a.numpy(), rtol=0, atol=most, err_msg=f"output {number}")


def nodes_of(bundle: rr.Bundle) -> Counter[str]:
    return Counter(node.op_type for node in ir.traversal.RecursiveGraphIterator(bundle.model.graph))


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
@pytest.mark.parametrize(
    ("dtype", "count"),
    [
        (torch.float32, 4),
        *(pytest.param(*row, marks=pytest.mark.slow) for row in ((torch.float32, 14), (torch.float16, 4))),
        pytest.param(torch.float64, 4, marks=pytest.mark.slow),
    ],
)
def test_every_option_at_every_length(dtype: torch.dtype, count: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    every = list(itertools.product(KINDS, (1, 2), (False, True), *[(False, True)] * len(SWITCHES)))
    model = Many(random.Random(0).sample(every, count)).to(dtype).eval()
    dynamic = {"x": {0: "time", 1: "batch"}, "state": {1: "batch"}, "cell": {1: "batch"}}
    bundle = rr.export(model, inputs(4, 3, dtype), dynamic_shapes=dynamic)
    bundle.save(tmp_path / "many")
    session = Session(tmp_path / "many")
    for steps, batch in ((4, 3), (7, 2), (1, 1)):
        compare(session, model, inputs(steps, batch, dtype), "x state cell", LARGEST[dtype])
    found = nodes_of(bundle)
    layers = [layer.rnn for layer in model.layers]
    stepwise = [rnn for rnn in layers if rnn.proj_size or dtype is torch.float64]
    assert found["Scan"] == sum(rnn.num_layers * (1 + rnn.bidirectional) for rnn in stepwise)
    assert sum(found[op] for op in OPERATORS[:3]) == sum(r.num_layers for r in layers if r not in stepwise)


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
@pytest.mark.parametrize("dynamic", [None, {"x": {0: "time"}}])
def test_without_a_batch_and_with_fixed_axes(dynamic: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)

    class Unbatched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.gru = nn.LSTM(IN, HIDDEN, batch_first=True), nn.GRU(IN, HIDDEN, bidirectional=True)

        def forward(self, x: Tensor, state: Tensor) -> Any:
            return self.lstm(x), self.lstm(x, (state[:1], state[:1])), self.gru(x, state)

    model = Unbatched().eval()
    bundle = rr.export(model, (torch.randn(4, IN), torch.randn(2, HIDDEN)), dynamic_shapes=dynamic)
    bundle.save(tmp_path / "unbatched")
    session = Session(tmp_path / "unbatched")
    for steps in (4,) if dynamic is None else (4, 9, 1):
        compare(session, model, (torch.randn(steps, IN), torch.randn(2, HIDDEN)), "x state", 2e-6)
    assert not nodes_of(bundle)["Scan"]


class Cells(nn.Module):
    """Cells that the code itself steps."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru, self.rnn = nn.LSTMCell(IN, HIDDEN), nn.GRUCell(HIDDEN, IN), nn.RNNCell(IN, HIDDEN)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = c = torch.zeros(x.shape[0], HIDDEN)
        for _ in range(2):
            h, c = self.lstm(x, (h, c))
            x = self.gru(h, x)
        return self.rnn(x), c


@pytest.mark.filterwarnings("ignore:export. expected a model with sites")
def test_cells_are_what_they_are_made_of(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Cells().eval()
    bundle = rr.export(model, (torch.randn(2, IN),), dynamic_shapes={"x": {0: "batch"}})
    bundle.save(tmp_path / "cells")
    for batch in (2, 5, 1):
        compare(Session(tmp_path / "cells"), model, (torch.randn(batch, IN),), "x", 2e-6)


@pytest.mark.slow
def test_a_routed_layer_is_lazy_and_its_weights_are_laid_out_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        Output(nn.LSTM(HIDDEN, HIDDEN, 2)), Output(nn.GRU(HIDDEN, HIDDEN)), nn.Linear(HIDDEN, 2)
    ).eval()
    rr.route_layers(model, "[01]", keep=0.5)
    args = (torch.randn(4, 2, HIDDEN),)
    bundle = rr.export(model, args, dynamic_shapes={"input": {0: "time", 1: "batch"}})
    assert not {node.op_type for node in bundle.model.graph} & set(OPERATORS)
    found = nodes_of(bundle)
    assert (found["LSTM"], found["GRU"], found["Concat"], found["Split"]) == (2, 1, 1, 1)  # those of the routes
    stored = [v.name for v in bundle.model.graph.initializers.values() if "rnn.weight" in str(v.name)]
    assert sorted(name for name in stored if name is not None) == [
        f"{layer}/stacked"
        for layer in (
            *(f"0.layer.rnn.weight_{kind}_l{number}" for kind in ("hh", "ih") for number in (0, 1)),
            "1.layer.rnn.weight_hh_l0",
            "1.layer.rnn.weight_ih_l0",
        )
    ]
    rr.verify(bundle, model, args)
    _swap_gates(bundle)
    with pytest.raises(rr.ParityError, match="paths"):
        rr.verify(bundle, model, args)


def _swap_gates(bundle: rr.Bundle) -> None:
    """The first two gates of the GRU change places."""
    value = next(v for v in bundle.model.graph.initializers.values() if str(v.name).startswith("1.layer.rnn.weight_hh"))
    assert value.const_value is not None
    array = value.const_value.numpy()
    swapped = np.concatenate([array[:, HIDDEN : 2 * HIDDEN], array[:, :HIDDEN], array[:, 2 * HIDDEN :]], axis=1)
    value.const_value = ir.tensor(swapped, name=value.name)


class Shared(nn.Module):
    """One layer called twice, one with weights that are computed, and states that the code makes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.GRU(HIDDEN, HIDDEN)
        self.normed = weight_norm(weight_norm(nn.LSTM(HIDDEN, 40), "weight_hh_l0"), "weight_ih_l0")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        zero, one = torch.zeros(1, x.shape[1], HIDDEN), torch.zeros(1, x.shape[1], HIDDEN)
        one[0, 0] = 1
        twice = self.twice(self.twice(x, zero)[0], one)[0]
        if random.random() < 0.5:
            twice = self.normed(twice)[0][..., :HIDDEN]
        return twice, x.flip(0)


@pytest.mark.slow
def test_shared_and_computed_weights_and_zeros_that_are_written() -> None:
    torch.manual_seed(0)
    model, args = Shared().eval(), (torch.randn(4, 2, HIDDEN),)
    bundle = rr.export(model, args, dynamic_shapes={"x": {0: "time", 1: "batch"}})
    gru, again = (n for n in bundle.model.graph if n.op_type == "GRU")
    assert [v.name for v in gru.inputs[1:4]] == [v.name for v in again.inputs[1:4]]  # type: ignore[union-attr]
    assert len(gru.inputs) == 4 and again.inputs[5] is not None  # zeros are left out, unless they were written
    rr.verify(bundle, model, args)
