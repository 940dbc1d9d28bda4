"""The weights of a file are those of the model, bit for bit, also where no input that was tried shows them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping

import onnx_ir as ir
import torch

from rr_export.bundle.bundle import Bundle
from rr_export.capture.request import Request
from rr_export.eager.learned import named_weights_of
from rr_export.parity.divergence import differing_weights
from rr_export.parity.model_divergence import captured_now
from rr_export.parity.named_weights import SHOWN, weights_in
from rr_export.parity.terms import Terms
from rr_export.report.report import Check

COUNTER = "num_batches_tracked"  # of a BatchNorm, which reads it in training only
Content = tuple[str, bytes]  # the type of the numbers, and a hash of them

logger = logging.getLogger(__name__)


def check_all_weights(bundle: Bundle, request: Request, terms: Terms) -> Check:
    """Compares the numbers of the file with those of the model's parameters and buffers; its laws are another point.

    They are looked for by name, and by their numbers, also transposed. Where some are not found, as they are unused, or
    something is computed of them (a batch norm is folded into the layer before it), the model is captured anew, and the
    weights of both graphs are compared. Where tolerances are asked for, what the weights do decides.
    """
    model = request.model
    own = {n: t.detach() for n, t in named_weights_of(model) if t.layout == torch.strided}
    stored = dict(weights_in(bundle.model))
    doubtful = [n for n, t in own.items() if n in stored and _alike(t, stored[n]) and _bytes(t) != stored[n].tobytes()]
    doubtful += [name for name in _not_found(own, stored) if name not in doubtful]
    differing: list[str] = []
    unknown = ""
    if doubtful:
        try:
            differing = list(dict.fromkeys(_differing_after_capture(bundle, request, own)))
        except Exception as error:  # whatever the model raises now
            logger.debug("the model cannot be captured", exc_info=True)
            unknown = f"; not found: {', '.join(doubtful[:SHOWN])}, and the model is not captured any more ({error})"
    told = f"{len(own)} parameters and buffers, bit for bit{unknown}"
    if differing and not terms.rounds:
        told = f"{len(differing)} of {len(own)} differ; tolerances were asked for, so that values decide"
    failures = [f"weight {name!r}: expected the numbers of the model, got others" for name in differing[:SHOWN]]
    if len(differing) > SHOWN:
        failures.append(f"and {len(differing) - SHOWN} more; export the model as it is now")
    passed = not differing if terms.rounds else None if differing else True
    return Check(
        "weights",
        None if unknown and passed else passed,
        told,
        tuple(failures) if terms.rounds else (),
        {"compared": len(own), "differing": differing},
    )


def _not_found(own: Mapping[str, torch.Tensor], stored: Mapping[str, ir.TensorProtocol]) -> list[str]:
    """The names of tensors whose numbers, as they are or transposed, are nowhere in the file."""
    known = {_content(tensor.dtype.numpy().name, tensor.tobytes()) for tensor in stored.values()}
    told = {name: tensor for name, tensor in own.items() if tensor.numel() and not name.endswith(COUNTER)}
    return [name for name, tensor in told.items() if known.isdisjoint(_contents(tensor))]


def _differing_after_capture(bundle: Bundle, request: Request, own: Mapping[str, torch.Tensor]) -> Iterator[str]:
    """The names of weights in which the file is not what export would make of the model now.

    What the exporter computes of weights it names by counting: a model that has filled a cache since then gives these
    other numbers. So they are looked for by what they hold.
    """
    now = captured_now(bundle, request)
    stored, fresh = (dict(weights_in(model)) for model in (bundle.model, now))
    known = {_content(tensor.dtype.numpy().name, tensor.tobytes()) for tensor in fresh.values()}
    names: dict[Content, str] = {}
    for name, tensor in own.items():
        names |= dict.fromkeys(_contents(tensor), name)
    for name in differing_weights(bundle.model, now):
        weight, held = fresh[name], stored.get(name)
        if name not in own and held is not None and _content(held.dtype.numpy().name, held.tobytes()) in known:
            continue
        yield names.get(_content(weight.dtype.numpy().name, weight.tobytes()), name)


def _alike(tensor: torch.Tensor, other: ir.TensorProtocol) -> bool:
    """Whether they are numbers of one type and shape; what has another one differs in what it does."""
    return _type_of(tensor) == other.dtype.numpy().name and tuple(tensor.shape) == other.shape.numpy()


def _contents(tensor: torch.Tensor) -> Collection[Content]:
    turned = [tensor, tensor.mT] if tensor.ndim > 1 else [tensor]
    return {_content(_type_of(t), _bytes(t)) for t in turned}


def _content(type_: str, numbers: bytes) -> Content:
    return type_, hashlib.blake2b(numbers, digest_size=16).digest()


def _type_of(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
