"""LSTM, GRU and RNN are captured layer by layer, each layer with all its directions and steps as one marker.

before:  torch.lstm(x, (h, c), weights, layers=2, bidirectional)
after:   y, h, c = rr::Recurrent(x, h, c, weights of layer 0); y, h, c = rr::Recurrent(y, ...)

:mod:`~rr_export.capture.recast.weight_layout` turns the markers into ONNX's operators.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rr_export.capture.recast.packing import Packing

MARKER = "Recurrent"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# the operator of ONNX, and the nonlinearity where it has a choice
RECURRENT = {
    torch.lstm: ("LSTM", ""),
    torch.gru: ("GRU", ""),
    torch.rnn_tanh: ("RNN", "Tanh"),
    torch.rnn_relu: ("RNN", "Relu"),
}


@dataclass
class Zeros:
    """Tensors that are known to hold nothing but zeros, as long as nobody writes into them."""

    known: list[tuple[Tensor, int]] = field(default_factory=list)

    def add(self, tensor: Tensor) -> None:
        """The tensor is new, and zero."""
        self.known.append((tensor, tensor._version))

    def holds(self, tensor: Tensor) -> bool:
        """Returns whether the tensor is known to be zero now."""
        return any(tensor is known and tensor._version == version for known, version in self.known)


@dataclass(frozen=True)
class _Arguments:
    """What the functions of torch are given, after their input (and its batch sizes) and state."""

    params: Sequence[Tensor]
    has_biases: bool
    num_layers: int
    dropout: float
    train: bool
    bidirectional: bool
    batch_first: bool = False


def recurrent(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], zeros: Zeros, packing: Packing
) -> tuple[Tensor, ...]:
    """Returns output and final states, as ``function``, one of ``RECURRENT``, gives them."""
    packed = packing.of(args[0] if args else None)
    names = ["input", "hx", *inspect.signature(_Arguments).parameters]
    given = dict(zip(names, args if packed is None else (args[0], *args[2:]), strict=False)) | kwargs
    x, state = given.pop("input"), given.pop("hx")
    options = _Arguments(**given)
    if options.train and options.dropout and options.num_layers > 1:
        return function(*args, **kwargs)  # type: ignore[no-any-return]  # its draws are refused later
    kind, activation = RECURRENT[function]
    states = [state] if isinstance(state, Tensor) else list(state)
    lengths = None
    if packed is not None:
        x, lengths = packed.padded, packed.lengths
    elif options.batch_first:
        x = x.transpose(0, 1)
    whole = [None if zeros.holds(s) else s for s in states]
    directions = 2 if options.bidirectional else 1
    per = len(options.params) // (options.num_layers * directions) * directions
    finals: list[Sequence[Tensor]] = []
    for layer in range(options.num_layers):
        first = [None if s is None else s[layer * directions : (layer + 1) * directions] for s in whole]
        weights = options.params[layer * per : (layer + 1) * per]
        x, *last = _layer(kind, activation, x, lengths, first, weights, options)
        finals.append(last)
    ends = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*finals, strict=True)]
    if packed is not None:
        x = packing.repacked(x, packed)
    elif options.batch_first:
        x = x.transpose(0, 1)
    return (x, *ends)


def _layer(
    kind: str,
    activation: str,
    x: Tensor,
    lengths: Tensor | None,
    states: Sequence[Tensor | None],
    weights: Sequence[Tensor],
    options: _Arguments,
) -> list[Tensor]:
    """Output, [T, N, directions * width], and final states, [directions, N, ...], of one layer."""
    directions = 2 if options.bidirectional else 1
    hidden = weights[1].shape[0] // GATES[kind]
    projected = len(weights) // directions in (3, 5)
    width = weights[-1].shape[0] if projected else hidden
    steps, batch = x.shape[:2]
    attributes: dict[str, Any] = {"kind": kind, "activation": activation or "-", "hidden": int(hidden)}
    attributes |= {"directions": directions, "states": len(states)}
    shapes = [(steps, directions, batch, width), (directions, batch, width), (directions, batch, hidden)]
    shapes = shapes[: 1 + len(states)]
    output, *last = torch.onnx.ops.symbolic_multi_out(
        f"rr::{MARKER}",
        (x, lengths, *states, *weights),
        attrs=attributes,
        dtypes=[x.dtype] * len(shapes),
        shapes=shapes,
        version=1,
    )
    return [output.squeeze(1) if directions == 1 else output.transpose(1, 2).flatten(2), *last]
