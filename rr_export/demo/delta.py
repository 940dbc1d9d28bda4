"""The delta of the demo: what training for its paths changed in the pretrained encoder, merged into the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rr_export.errors import RRExportError

DELTA = Path(__file__).with_name("delta.safetensors")
MAKER = "rr_export.demo.train"  # what a file of a delta says that it was made by
LOW_RANK = (".a", ".b")  # of a weight W: float [R, in] and [out, R], for W + b a


class DemoError(RRExportError):
    """The demo cannot run here."""


def apply_delta(transformer: nn.Module, delta: Mapping[str, Tensor]) -> None:
    """The transformer has the weights that the delta leads to; its architecture stays.

    A name is that of a parameter, which is replaced, or that of a linear module with ``.a`` or ``.b``: to its weight
    the product ``b a`` is added, in float32 (Hu et al.: LoRA: low-rank adaptation of large language models, 2022).

    Args:
        transformer: the pretrained one, changed in place.
        delta: by name.

    Raises:
        DemoError: a tensor has no place in the transformer, or half of a product is missing; nothing is changed.
    """
    modules, parameters = dict(transformer.named_modules()), dict(transformer.named_parameters())
    wanted: dict[str, Tensor] = {}
    for name, tensor in delta.items():
        place, ending = name[:-2], name[-2:]
        if ending in LOW_RANK and isinstance(modules.get(place), nn.Linear):
            b, a = (delta.get(place + other, torch.empty(0, 0)).float() for other in reversed(LOW_RANK))
            weight = parameters[f"{place}.weight"]
            if b.dim() == a.dim() == 2 and b.shape[1] == a.shape[0] > 0 and (len(b), a.shape[1]) == weight.shape:
                wanted[f"{place}.weight"] = weight + b @ a
                continue
        elif name in parameters and parameters[name].shape == tensor.shape:
            wanted[name] = tensor.float()
            continue
        raise DemoError(
            f"delta: expected changes of the encoder's parameters, got {name!r} of shape {list(tensor.shape)}, which "
            "fits none; make it again with python -m rr_export.demo.train"
        )
    with torch.no_grad():
        for name, value in wanted.items():
            parameters[name].copy_(value)


def read_delta(file: Path = DELTA) -> dict[str, Tensor]:
    """Returns the tensors of a delta, float16, by name."""
    from safetensors.torch import load_file

    return load_file(file)


def delta_bytes(delta: Mapping[str, Tensor], made: Mapping[str, Any]) -> bytes:
    """Returns the content of a file with a delta in float16, and how it was made; equal ones give equal files."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().half().contiguous() for name, tensor in sorted(delta.items())}
    return save(tensors, metadata={MAKER: json.dumps(made)})  # one key: the order of several is not fixed
