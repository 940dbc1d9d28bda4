"""What skipping one of torch's recurrent layers returns: its input, and the state that it was handed."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

_FORWARDS = (nn.RNN.forward, nn.GRU.forward, nn.LSTM.forward)
_CELL_FORWARDS = (nn.RNNCell.forward, nn.GRUCell.forward, nn.LSTMCell.forward)


def is_recurrent(layer: nn.Module) -> bool:
    """Returns whether a layer is a recurrent one of torch, or a cell of one."""
    return inspect.getattr_static(type(layer), "forward", None) in (*_FORWARDS, *_CELL_FORWARDS)


def check_recurrent(layer: Any) -> None:
    """Raises unless a recurrent layer returns as many features as it is given.

    Raises:
        ValueError: it does not, so its input cannot pass by.
    """
    if isinstance(layer, nn.RNNBase):
        features = (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
        if features != layer.input_size:
            raise ValueError(
                f"LayerChoice({type(layer).__name__}): expected as many features out as in, for its input to pass by, "
                f"got {layer.input_size} in and {features} out; say what a skip returns with skip=, a function of "
                "(input, hx=None), or route a wrapper that makes them equal"
            )


def skip_recurrent(layer: Any, input: Any, hx: Any = None) -> Any:
    """Returns what passes by: the input and the state of a layer, the state of a cell; zeros where none is given."""
    if isinstance(layer, nn.RNNCellBase):
        if hx is not None:
            return hx
        zeros = input.new_zeros((*input.shape[:-1], layer.hidden_size))
        return (zeros, zeros.clone()) if isinstance(layer, nn.LSTMCell) else zeros
    return input, _first_state(layer, input) if hx is None else hx


def _first_state(layer: nn.RNNBase, input: torch.Tensor | PackedSequence) -> Any:
    """Zeros, which the layer begins with where it is given no state."""
    batch: tuple[int, ...] = ()
    if isinstance(input, PackedSequence):
        data, batch = input.data, (int(input.batch_sizes[0]),)
    else:
        data = input
        batch = () if input.dim() == 2 else (input.shape[0 if layer.batch_first else 1],)
    count = layer.num_layers * (1 + layer.bidirectional)
    state = data.new_zeros((count, *batch, layer.proj_size or layer.hidden_size))
    return (state, data.new_zeros((count, *batch, layer.hidden_size))) if layer.mode == "LSTM" else state
