"""Recurrent layers of no rows, which ONNX Runtime's kernels do not survive: right, or bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rr_export as rr
from rr_export.capture.recast.empty_sizes import at_least_one, needed
from rr_runtime import Session


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("batch", {"batch"}),
        ("2*batch + time", {"batch", "time"}),
        ("batch - 1", None),
        ("0*batch", None),
        ("u0", None),
        ("Max(1, batch)", None),
        (3, set()),
        (0, None),
    ],
)
def test_which_sizes_may_be_nothing(size: Any, expected: set[str] | None) -> None:
    dimension = size if isinstance(size, int) else ir.SymbolicDim(size)
    assert needed(dimension, {"batch", "time"}) == expected


def test_bounds_only_grow() -> None:
    bounds = {"a": (3, 9), "b": (None, 5), "d": (None, 2)}
    assert at_least_one(bounds, ["a", "b", "c"]) == {"a": (3, 9), "b": (1, 5), "c": (1, None), "d": (None, 2)}


class Kept(nn.Module):
    """The rows of a mask through layers with all that they may be given."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTM(3, 4, 2, bidirectional=True), nn.GRU(3, 4, batch_first=True)
        self.choice = rr.LayerChoice(nn.Tanh(), 0.5)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        rows = x[:, x[0, :, 0] > 0]
        state = rows.new_ones(4, rows.shape[1], 4)
        y, (h, c) = self.lstm(rows, (state, state * 2))
        rows = x.transpose(0, 1)[x[0, :, 0] > 0]
        packed = pack_padded_sequence(rows, lengths[x[0, :, 0] > 0], batch_first=True, enforce_sorted=False)
        padded, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.shape[0])
        return self.choice(y), h, c, self.gru(rows)[0], padded


@pytest.mark.slow
def test_rows_that_the_input_chooses_may_be_none(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x, lengths = Kept().eval(), torch.randn(3, 5, 3).abs(), torch.tensor([3, 1, 2, 3, 1])
    bundle = rr.export(model, (x, lengths), dynamic_shapes={"x": {0: "time", 1: "batch"}, "lengths": {0: "batch"}})
    session = Session(bundle.save(tmp_path / "kept"))
    for sign in ([1, 1, 1, 1, 1], [1, -1, 1, 1, -1], [-1, -1, -1, -1, 1], [-1, -1, -1, -1, -1]):
        given = x * torch.tensor(sign)[None, :, None]
        with rr.forced(model, [1]), torch.no_grad():
            some = max(sign) > 0  # torch itself packs no empty batch
            expected = model(given, lengths) if some else None
        got = session.run({"x": given.numpy(), "lengths": lengths.numpy()}, path=[1]).outputs
        assert [v.shape[d] for v, d in zip(got.values(), (1, 1, 1, 0, 0), strict=True)] == [sum(np.array(sign) > 0)] * 5
        if expected is not None:
            for a, b in zip(expected, got.values(), strict=True):
                np.testing.assert_allclose(b, a.numpy(), rtol=0, atol=2e-6)
