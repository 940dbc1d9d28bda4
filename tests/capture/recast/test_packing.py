"""Packed sequences are padded ones with lengths, and nothing else may read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import rr_export as rr
from rr_export.errors import CaptureError
from rr_runtime import Session

pytestmark = pytest.mark.filterwarnings("ignore:export. expected a model with sites")
IN, HIDDEN = 3, 5
DYNAMIC = {"x": {0: "batch", 1: "time"}, "lengths": {0: "batch"}}


class Packs(nn.Module):
    """Recurrent layers on packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(IN, HIDDEN, 2, bidirectional=True, batch_first=True)
        self.gru, self.projected = nn.GRU(IN, HIDDEN, bidirectional=True), nn.LSTM(IN, HIDDEN, proj_size=2)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        steps = x.shape[1]
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, state = self.lstm(packed)
        whole = pad_packed_sequence(y, batch_first=True, total_length=steps, padding_value=-1.0)
        given = torch.stack([x[:, 0, :1].expand(-1, HIDDEN)] * 2)
        z, last = self.gru(pack_padded_sequence(x.transpose(0, 1), lengths, enforce_sorted=False), given)
        rows, _ = pad_packed_sequence(z)  # as long as the longest
        short, _ = self.projected(packed)
        same, _ = pad_packed_sequence(packed, batch_first=True, total_length=steps)
        return whole, state, rows, last, pad_packed_sequence(short, total_length=steps)[0], same


def test_layers_on_packed_sequences(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Packs().eval()
    bundle = rr.export(model, (torch.randn(3, 6, IN), torch.tensor([4, 6, 2])), dynamic_shapes=DYNAMIC)
    bundle.save(tmp_path / "packs")
    session = Session(tmp_path / "packs")
    for steps, numbers in ((6, [4, 6, 2]), (9, [1, 7]), (5, [3, 3, 1, 5]), (4, [2])):
        x, lengths = torch.randn(len(numbers), steps, IN), torch.tensor(numbers)
        with torch.no_grad():
            expected = torch.utils._pytree.tree_leaves(model(x, lengths))
        got = session.run({"x": x.numpy(), "lengths": lengths.numpy()}).outputs.values()
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_allclose(b, a.numpy(), rtol=0, atol=2e-6)


def rows_of(packed: PackedSequence) -> Any:
    return packed.data.tanh()


def whole_of(packed: PackedSequence) -> Any:
    return {"packed": packed.data}


def size_of(packed: PackedSequence) -> Any:
    return packed.data.shape[0] * torch.ones(1)


def another(packed: PackedSequence) -> Any:
    other = PackedSequence(packed.data.relu(), packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    return pad_packed_sequence(other)[0]


def counts(packed: PackedSequence) -> Any:
    return packed.batch_sizes.sum()


@pytest.mark.parametrize("use", [rows_of, whole_of, size_of, another, counts])
def test_nothing_else_reads_a_packed_sequence(use: Callable[[PackedSequence], Any]) -> None:
    class Reads(nn.Module):
        def forward(self, x: Tensor, lengths: Tensor) -> Any:
            return use(pack_padded_sequence(x, lengths, batch_first=True))

    with pytest.raises(CaptureError, match="expected a packed sequence to go to LSTM, GRU, RNN or pad_packed") as e:
        rr.export(Reads().eval(), (torch.randn(2, 4, IN), torch.tensor([4, 2])))
    assert str(e.value).startswith("test_packing.py:")
