"""Layer drop and stochastic depth of training time, kept while everything else is in evaluation mode.

A module whose training routes are kept is in training mode. What only regularises, such as dropout, is off there, and
normalisation goes by its running statistics; layers of torch compute as in evaluation mode, whoever asks their flag.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from rr_export.errors import CaptureError


@dataclass(frozen=True)
class TrainingRoutes:
    """Which modules decide as in training.

    Attributes:
        kept: their paths.
        left_out: paths of those that draw noise in training, and stay in evaluation mode.
    """

    kept: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


EVALUATING = TrainingRoutes()  # none decides as in training


class TrainingNoiseError(CaptureError):
    """Numbers are drawn that do not choose, where training routes are kept.

    Attributes:
        file: of the line.
        line: its number.
        module: path of the module whose code it is.
    """

    def __init__(self, text: str, file: str, line: int, module: str) -> None:
        super().__init__(text)
        self.file, self.line, self.module = file, line, module


@contextlib.contextmanager
def routed_in_training(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Inside the block these modules make the decisions of training time; dropout is off there too."""
    modules = [model.get_submodule(name) for name in names]
    before = [m.training for m in modules]
    if not modules:
        yield
        return
    undo: list[Callable[[], None]] = []
    try:
        for module in modules:
            module.training = True
            if is_torch_layer(module):
                undo += [hook.remove for hook in _evaluating_inside(module)]
        with _Evaluating():
            yield
    finally:
        for step in undo:
            step()
        for module, training in zip(modules, before, strict=True):
            module.training = training


def is_torch_layer(module: nn.Module) -> bool:
    """Returns whether what a module computes is torch's own code; others may ask its flag nevertheless."""
    return str(getattr(type(module).forward, "__module__", "")).partition(".")[0] == "torch"


def _evaluating_inside(module: nn.Module) -> Iterator[Any]:
    """Hooks by which a layer of torch computes as in evaluation mode; the author's hooks of it run outside of them."""

    def before(module: nn.Module, args: Any) -> None:
        module.training = False

    def after(module: nn.Module, args: Any, result: Any) -> None:
        module.training = True

    yield module.register_forward_pre_hook(before)
    yield module.register_forward_hook(after, always_call=True, prepend=True)


_Flag = tuple[int, str, Any]  # of a function: position and name of the parameter, and its value in evaluation mode


def _flags() -> dict[Any, _Flag]:
    """Functions of torch that only regularise."""
    train = (torch.dropout, torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout)
    found: dict[Any, _Flag] = dict.fromkeys((*train, torch.native_dropout), (2, "train", False))
    found |= {torch.rrelu: (3, "training", False), F.scaled_dot_product_attention: (4, "dropout_p", 0.0)}
    for function in vars(F).values():
        if isinstance(function, types.FunctionType) and function is not F.batch_norm:
            with contextlib.suppress(ValueError):
                parameters = list(inspect.signature(function).parameters)
                if "training" in parameters:
                    found[function] = parameters.index("training"), "training", False
    return found


_REGULARISE = _flags()
# functions that normalise: the position of the running mean, and the flag
_NORMALISE: dict[Any, tuple[int, _Flag]] = {
    F.batch_norm: (1, (5, "training", False)),
    torch.batch_norm: (3, (5, "training", False)),
    F.instance_norm: (1, (5, "use_input_stats", False)),
    torch.instance_norm: (3, (5, "use_input_stats", False)),
}
_Call = Callable[..., Any]


class _Evaluating(TorchFunctionMode):
    """Functions of torch compute as in evaluation mode.

    What regularises in evaluation mode too was refused before any training routes were kept.
    """

    def __torch_function__(self, func: _Call, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _REGULARISE:
            args, kwargs = _evaluating(_REGULARISE[func], args, kwargs)
        elif func in _NORMALISE:
            position, flag = _NORMALISE[func]
            if (args[position] if len(args) > position else kwargs.get("running_mean")) is not None:
                args, kwargs = _evaluating(flag, args, kwargs)
        return func(*args, **kwargs)


def _evaluating(flag: _Flag, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of evaluation mode."""
    position, name, value = flag
    if len(args) > position:
        return (*args[:position], value, *args[position + 1 :]), kwargs
    return args, kwargs | {name: value}
