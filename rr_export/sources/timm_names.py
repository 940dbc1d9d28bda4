"""A name of timm -> its model with example images. Nothing is downloaded: weights come from a checkpoint."""

from __future__ import annotations

import ast
import importlib
import inspect
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from rr_export.errors import SourceError
from rr_export.sources.model_case import ModelCase


def read_name(text: str) -> ModelCase:
    """Returns the model that timm makes of a name, with example images of its size.

    Its weights are chance numbers, the same in every process.

    Args:
        text: a name of timm, and arguments of ``timm.create_model`` after it: ``resnet18,num_classes=10``.

    Raises:
        SourceError: timm is missing, or makes no such model.
    """
    try:
        timm = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # torchvision of another torch raises the second
        raise SourceError(
            f"timm:{text}: expected timm to be installed, got {error}; run: pip install 'rr-export[models]'"
        ) from error
    name, *settings = text.split(",")
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), 3)
        raise SourceError(
            f"timm:{text}: expected a name of timm {timm.__version__}, got {name!r}; "
            + (f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()")
        )
    arguments = dict(_setting(text, setting) for setting in settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            model = timm.create_model(name, pretrained=False, **arguments)
        except Exception as error:  # of the model's own code
            raise SourceError(
                f"timm:{text}: expected timm.create_model to make it, got {type(error).__name__}: {error}; mend its "
                "arguments"
            ) from error
        images = torch.rand(2, *_size(model, arguments)) * 2 - 1
    first = next(iter(inspect.signature(model.forward).parameters))
    return ModelCase(model.eval(), (images,), {}, {first: {0: "batch_size"}})


def _setting(text: str, setting: str) -> tuple[str, Any]:
    key, _, value = setting.partition("=")
    if not key.isidentifier() or not value:
        raise SourceError(f"timm:{text}: expected NAME,KEY=VALUE,..., got {setting!r}; such as num_classes=10")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value  # a plain text


def _size(model: nn.Module, arguments: dict[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width of the images that the model is made for."""
    about: Any = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    channels, height, width = about.get("input_size", (3, 224, 224))
    channels, size = arguments.get("in_chans", channels), arguments.get("img_size", (height, width))
    height, width = (size, size) if isinstance(size, int) else size
    return channels, height, width
