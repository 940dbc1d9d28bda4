"""A checkpoint file -> the weights of a model, all of them and nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rr_export.errors import SourceError

INSIDE = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights
MOST_SHOWN = 5


def load_weights(model: nn.Module, file: Path) -> None:
    """The model has the weights of the file: each of its own is there, and the file has no other.

    Args:
        model: the model, routed or not: sites of layers take the keys of the plain model.
        file: ``.safetensors``, or what ``torch.save`` wrote (``.pt``, ``.pth``, ``.bin``); no code of it runs. Its
            tensors stand at the top, or under one of "state_dict", "model_state_dict" and "model".

    Raises:
        SourceError: there is no such file, it holds something else, or names or shapes differ; the text lists them.
    """
    told = read_checkpoint(file)
    own = model.state_dict(keep_vars=True)
    try:
        missing, unexpected = model.load_state_dict(told, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise SourceError(
            f"{file}: expected the shapes of {type(model).__name__}, got {_some(lines)}; name the checkpoint of this "
            "model, or make the model in its size"
        ) from error
    given = {id(own[name]) for name in told if name in own}  # a tied weight may stand there under one of its names
    missing = [name for name in missing if id(own.get(name)) not in given]
    if missing or unexpected:
        parts = [
            f"{len(names)} {what}: {_some(names)}"
            for what, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise SourceError(
            f"{file}: expected the weights of {type(model).__name__}, each once, got {'; '.join(parts)}; name the "
            "checkpoint of this model"
        )


def check_checkpoint(file: Path) -> None:
    """Raises a SourceError where there is no such file."""
    if file.is_dir():
        raise SourceError(f"{file}: expected a checkpoint, got a folder; name a file in it")
    if not file.is_file():
        raise SourceError(f"{file}: expected a checkpoint, got no such file; check the path")


def read_checkpoint(file: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of a checkpoint by name; no code of the file runs.

    Raises:
        SourceError: there is no such file, or it holds something else.
    """
    check_checkpoint(file)
    content: Any
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise SourceError(
            f"{file}: expected safetensors to be installed, got {error}; run: pip install safetensors"
        ) from error
    except pickle.UnpicklingError as error:
        raise SourceError(
            f"{file}: expected a file of tensors alone, got {str(error).splitlines()[0]}; save model.state_dict()"
        ) from error
    except Exception as error:  # safetensors, zipfile and torch have their own
        raise SourceError(
            f"{file}: expected a .safetensors file or one that torch.save wrote, got {type(error).__name__}: "
            f"{' '.join(str(error).split())}; copy it again, or save model.state_dict()"
        ) from error
    inside = next((key for key in INSIDE if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)), "")
    found = content[inside] if inside else content
    if not isinstance(found, Mapping) or not found:
        got = "none" if isinstance(found, Mapping) else type(found).__name__
        raise SourceError(f"{file}: expected tensors by name, got {got}; save model.state_dict()")
    other = next((name for name, value in found.items() if not isinstance(value, torch.Tensor)), None)
    if other is not None:
        raise SourceError(
            f"{file}: expected tensors by name, got {type(found[other]).__name__} for {other!r}; save "
            "model.state_dict() alone, or under the key 'state_dict'"
        )
    return dict(found)


def stored_numbers(where: str, tensor: torch.Tensor) -> NDArray[np.generic]:
    """Returns the numbers of a tensor in their own type; numpy has bfloat16 and types of 8 bits by way of ml_dtypes.

    Args:
        where: begins the text of an error.
        tensor: of a checkpoint.

    Raises:
        SourceError: it is sparse, quantised, or of a type that numpy has not.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    same_size = {1: torch.uint8, 2: torch.uint16}.get(tensor.dtype.itemsize)
    try:
        if hasattr(ml_dtypes, name) and same_size is not None:
            return tensor.detach().view(same_size).numpy().view(getattr(ml_dtypes, name))
        return tensor.detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise SourceError(
            f"{where}: expected a dense tensor of numbers that numpy has, got {name}, {tensor.layout}; convert it first"
        ) from error


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_SHOWN]) + (", ..." if len(names) > MOST_SHOWN else "")
