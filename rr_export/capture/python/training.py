"""Layer drop and stochastic depth of training time, kept while everything else is in evaluation mode.

A module keeps its training routes where its code both asks ``self.training`` and draws, by itself or in what it calls.
Inside it ``self.training`` holds; what only regularises, such as dropout, is told that it does not.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from rr_export.capture.python.source_code import draws, names_in
from rr_export.errors import CaptureError


class _Kept:
    """What ``self.training`` is in a module whose training routes are kept: true, and told from other truths."""

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return other is True or other is self

    def __hash__(self) -> int:
        return hash(True)

    def __repr__(self) -> str:
        return "True"


KEPT = _Kept()


class TrainingNoiseError(CaptureError):
    """A module draws numbers in training that do not choose.

    Attributes:
        module: its path.
    """

    def __init__(self, text: str, module: str) -> None:
        super().__init__(text)
        self.module = module


@contextlib.contextmanager
def routed_in_training(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Inside the block these modules make the decisions of training time; dropout is off there too."""
    modules = [model.get_submodule(name) for name in names]
    before = [m.training for m in modules]
    if not modules:
        yield
        return
    for module in modules:
        module.training = KEPT  # type: ignore[assignment]
    try:
        with _Evaluating():
            yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training


def training_routers(model: nn.Module) -> tuple[str, ...]:
    """Returns the paths of the modules in evaluation mode that would draw in training, by their code."""
    return tuple(name for name, module in model.named_modules() if not module.training and _draws_in_training(module))


def _draws_in_training(module: nn.Module) -> bool:
    methods: dict[str, types.FunctionType] = {}
    for owner in type(module).__mro__:
        if owner.__module__.partition(".")[0] not in ("torch", "builtins", "rr_export"):
            for name, value in vars(owner).items():
                function = inspect.unwrap(value) if callable(value) else None
                if isinstance(function, types.FunctionType):
                    methods.setdefault(name, function)
    return any("training" in names_in(f.__code__) and draws(f, methods) for f in methods.values())


def _flags() -> dict[Any, tuple[int, str]]:
    """Functions of torch with a flag for training: its position and name."""
    found: dict[Any, tuple[int, str]] = {torch.dropout: (2, "train"), torch.alpha_dropout: (2, "train")}
    for function in vars(F).values():
        if isinstance(function, types.FunctionType):
            with contextlib.suppress(ValueError):
                parameters = list(inspect.signature(function).parameters)
                if "training" in parameters:
                    found[function] = parameters.index("training"), "training"
    return found


_FLAGS = _flags()
_Call = Callable[..., Any]


class _Evaluating(TorchFunctionMode):
    """Functions of torch that only regularise are in evaluation mode, where the model's own flag says training."""

    def __torch_function__(self, func: _Call, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FLAGS:
            position, name = _FLAGS[func]
            if len(args) > position and args[position] is KEPT:
                args = (*args[:position], False, *args[position + 1 :])
            elif kwargs.get(name) is KEPT:
                kwargs[name] = False
        elif func is F.scaled_dot_product_attention:
            if len(args) > 4:
                args = (*args[:4], 0.0, *args[5:])
            kwargs |= {"dropout_p": 0.0} if "dropout_p" in kwargs else {}
        return func(*args, **kwargs)
