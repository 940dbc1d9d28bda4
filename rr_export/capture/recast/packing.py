"""Packed sequences are captured as padded ones with their lengths.

A packed sequence has as many rows as all its sequences together, a number that depends on the input. Its data and batch
sizes are stand-ins here: markers that only a recurrent layer and ``pad_packed_sequence`` may read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils import _pytree as pytree

from rr_export.capture.user_lines import refuse

PACKED = "Packed"
_HARMLESS = {"dim", "dtype", "device", "is_cuda", "layout", "requires_grad", "__len__", "ndim"}
EXPECTED = "a packed sequence to go to LSTM, GRU, RNN or pad_packed_sequence only"
DO = "call pad_packed_sequence first"


@dataclass(frozen=True)
class Packed:
    """What a packed sequence stands for.

    Attributes:
        data: the stand-in of its data.
        sizes: the stand-in of its batch sizes.
        padded: [T, N, ...].
        lengths: int64 [N].
        longest: what ``sizes.size(0)`` says.
        clean: whether ``padded`` is zero after the end of each sequence.
    """

    data: Tensor
    sizes: Tensor
    padded: Tensor
    lengths: Tensor
    longest: Any
    clean: bool


class Packing:
    """The packed sequences of one capture."""

    def __init__(self) -> None:
        self._known: list[Packed] = []

    def of(self, data: Any) -> Packed | None:
        """Returns what a stand-in of data stands for; None for other tensors."""
        return next((p for p in self._known if p.data is data), None)

    def pack(self, input: Tensor, lengths: Tensor, batch_first: bool) -> tuple[Tensor, Tensor]:
        """Returns data and batch sizes of a new packed sequence."""
        packed = self._new(input.transpose(0, 1) if batch_first else input, lengths, clean=False)
        return packed.data, packed.sizes

    def repacked(self, padded: Tensor, like: Packed) -> Tensor:
        """Returns the data of a packed sequence with the lengths of another one; zero after their ends."""
        return self._new(padded, like.lengths, clean=True, sizes=like.sizes, longest=like.longest).data

    def pad(
        self, data: Tensor, batch_sizes: Tensor, batch_first: bool, padding_value: float, total_length: Any
    ) -> tuple[Tensor, Tensor]:
        """Returns the padded sequences and their lengths."""
        packed = self.of(data)
        if packed is None:
            refuse("a packed sequence as pack_padded_sequence and recurrent layers return it", "another one", DO)
        padded, steps = packed.padded, packed.padded.shape[0]
        if padding_value or not packed.clean:
            ended = torch.arange(steps)[:, None] >= packed.lengths
            ended = ended.reshape(*ended.shape, *[1] * (padded.dim() - 2))
            padded = torch.where(ended, torch.full((), padding_value, dtype=padded.dtype), padded)
        if total_length is packed.longest:
            longest: Any = packed.lengths.max().item()
            check: Any = torch._check
            check(longest >= 1)
            check(longest <= steps)
            padded = padded.narrow(0, 0, longest)
        elif statically_known_true(total_length > steps):
            padded = F.pad(padded, (*[0, 0] * (padded.dim() - 1), 0, total_length - steps), value=padding_value)
        elif statically_known_true(total_length < steps):
            padded = padded.narrow(0, 0, total_length)
        elif not statically_known_true(total_length == steps):
            refuse(
                "a total_length that is the length of the padded input, or a number",
                f"{total_length} for a length of {steps}",
                "write total_length=x.shape[1], or x.shape[0] without batch_first",
            )
        return padded.transpose(0, 1) if batch_first else padded, packed.lengths

    def asked(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what is known of a stand-in without its content; None where ``function`` is about something else.

        Raises:
            CaptureError: it would read the content.
        """
        if not self._known:
            return None
        given = pytree.tree_leaves((args, kwargs))
        name = getattr(function, "__name__", "")
        if name == "__get__":
            name = function.__self__.__name__
        for packed in self._known:
            if args and args[0] is packed.sizes:
                if name == "__getitem__" and args[1] == 0:
                    return packed.padded.shape[1]
                if name == "size" and args[1:] == (0,):
                    return packed.longest
            width = name == "size" and args[1:] == (-1,) and args[0] is packed.data
            mine = any(a is packed.data or a is packed.sizes for a in given)
            if mine and not width and name not in _HARMLESS:
                refuse(EXPECTED, f"{name}()", DO)
        return None

    def _new(
        self, padded: Tensor, lengths: Tensor, *, clean: bool, sizes: Tensor | None = None, longest: Any = None
    ) -> Packed:
        steps, batch = padded.shape[:2]
        data, own_sizes = torch.onnx.ops.symbolic_multi_out(
            f"rr::{PACKED}",
            (padded,),
            dtypes=[padded.dtype, torch.int64],
            shapes=[(steps * batch, *padded.shape[2:]), (steps,)],
            version=1,
        )
        if sizes is None:
            sizes, longest = own_sizes, _Longest(steps) if isinstance(steps, int) else steps + 0
        self._known.append(Packed(data, sizes, padded, lengths, longest, clean))
        return self._known[-1]


@contextmanager
def unchecked(packing: Packing) -> Iterator[None]:
    """Inside, recurrent layers do not check states against stand-ins: they would turn the batch size into a number."""
    with ExitStack() as stack:
        for layer in (nn.RNNBase, nn.LSTM):
            stack.callback(setattr, layer, "check_forward_args", layer.check_forward_args)
            layer.check_forward_args = _unless_packed(layer.check_forward_args, packing)  # type: ignore[method-assign]
        yield


def _unless_packed(check: Callable[..., None], packing: Packing) -> Any:
    def checked(self: nn.RNNBase, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        if packing.of(input) is None:
            check(self, input, hidden, batch_sizes)

    return checked


class _Longest(int):
    """A number that is told from an equal one by its identity."""
