"""The proof that no route of training was lost: the model in training mode, noise off, draws and gives just the same.

It shares nothing with what finds the routes. Every module is in training mode, by its own flag and with gradients on,
as in a training loop; only what is known to be off is off: the layers and functions of torch that regularise or
normalise, and the modules that were named as staying in evaluation mode. From the same states of all generators both
must draw the same numbers, as their last states tell.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from rr_export.capture.python import heap
from rr_export.eager.choice import Choice
from rr_export.errors import CaptureError
from rr_export.parity.compare import Arrays, Comparison
from rr_export.parity.eager_model import Eager

T = TypeVar("T")
RUNS = 16
_LIBRARIES = ("torch", "numpy", "random", "rr_export", "rr_runtime", "contextlib", "functools", "secrets", "uuid")


def check_training_mode(
    eager: Eager, *, kept: Collection[str], left_out: Collection[str], rtol: float, atol: float
) -> None:
    """What the model draws in training mode, noise off, is what it draws with its training routes kept.

    Args:
        eager: the eager model, whose training routes are kept.
        kept: paths of the modules whose training routes are kept.
        left_out: paths of the modules that were named as staying in evaluation mode.
        rtol: relative tolerance of outputs, whose differences are warned of.
        atol: absolute tolerance.

    Raises:
        CaptureError: the model draws something else in training mode, or fails there; the text names the line.
    """
    comparison, others = Comparison(rtol, atol), Comparison(rtol, atol)
    by_path: dict[bytes, Arrays] = {}
    for seed in range(RUNS):
        expected, drawn = _outcome(seed, lambda: _train(eager, kept, left_out))
        got, known = _outcome(seed, eager.free_run)
        if drawn != known:
            raise CaptureError(
                f"{_first_other_draw(eager, seed, kept, left_out)}: expected draws that depend on the training mode of "
                "modules, got one that is made in training, and not where all routes of training are kept; ask "
                "self.training of the module around it, and nothing else"
            )
        others.add(f"path {got.path.tolist()}", by_path.setdefault(got.path.tobytes(), expected), expected)
        comparison.add(f"run {seed}", expected, got.outputs)
    if others.failures:
        raise CaptureError(
            "export: expected outputs in training mode that the routes decide, got several for the same routes: "
            f"{others.failures[0]}; let a draw that chooses depend on self.training by `if self.training and ...`"
        )
    if comparison.failures:
        warnings.warn(
            "export: expected training mode to change what is drawn, and nothing else, got other outputs for the same "
            f"draws ({comparison.failures[0]}); what else the model does in training stays off",
            stacklevel=3,
        )


def _outcome(seed: int, run: Callable[[], T]) -> tuple[T, list[Any]]:
    """What a run gives, and the states of all generators after it."""
    with _seeded(seed):
        return run(), _states()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Inside the block all global generators start from a seed; after it they are as before."""
    python, numpy, torch_ = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(torch_)


def _states() -> list[Any]:
    _, keys, *rest = np.random.get_state()
    return [random.getstate(), np.asarray(keys).tobytes(), rest, torch.get_rng_state().numpy().tobytes()]


def _train(eager: Eager, kept: Collection[str], left_out: Collection[str]) -> Arrays:
    with heap.restored(eager.model), _in_training_mode(eager.model, kept, left_out), _NoNoise(), torch.enable_grad():
        try:
            result = eager.request.call()
        except Exception as error:
            raise CaptureError(
                f"export: expected a model that runs in training mode, whose routes are to be kept, got "
                f"{type(error).__name__}: {error}; mend it, or give arguments that it takes there"
            ) from error
        return eager.request.named(result)


@contextmanager
def _in_training_mode(model: nn.Module, kept: Collection[str], left_out: Collection[str]) -> Iterator[None]:
    """Inside the block every module but those that are known to be off is in training mode, as ``train()`` sets it."""
    before = [(module, module.training) for module in model.modules()]
    hooks = []
    try:
        model.train()  # which may be the author's own, and do more
        for name, module in model.named_modules():
            normalises = isinstance(module, nn.modules.batchnorm._NormBase) and name not in kept
            if isinstance(module, Choice) or normalises or name in left_out:
                module.training = False
            else:
                module.training = True
                if type(module).__module__.partition(".")[0] == "torch":  # the author's hooks run in training mode
                    hooks.append(module.register_forward_pre_hook(_off))
                    hooks.append(module.register_forward_hook(_on, always_call=True, prepend=True))
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in before:
            module.training = training


def _off(module: nn.Module, args: Any) -> None:
    module.training = False


def _on(module: nn.Module, args: Any, result: Any) -> None:
    module.training = True


class _NoNoise(TorchFunctionMode):
    """Dropout hands on what it is given; attention does without, and normalisation goes by its running statistics."""

    _DROPOUT = frozenset(
        [getattr(F, name + "dropout") for name in ("", "alpha_", "feature_alpha_")]
        + [getattr(F, f"dropout{n}d") for n in (1, 2, 3)]
        + [getattr(torch, name + "dropout") for name in ("", "alpha_", "feature_", "feature_alpha_")]
    )
    _SETTINGS: ClassVar[dict[Any, tuple[int, str, Any]]] = {  # position, name and value of a parameter
        F.scaled_dot_product_attention: (4, "dropout_p", 0.0),
        F.multi_head_attention_forward: (13, "training", False),
        F.rrelu: (3, "training", False),
        F.batch_norm: (5, "training", False),
        F.instance_norm: (5, "use_input_stats", False),
    }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self._DROPOUT:
            return args[0] if args else kwargs["input"]
        running = args[1] if len(args) > 1 else kwargs.get("running_mean")
        if func in self._SETTINGS and not (func in (F.batch_norm, F.instance_norm) and running is None):
            position, name, value = self._SETTINGS[func]
            given = list(args)
            if len(given) > position:
                given[position] = value
            else:
                kwargs[name] = value
            return func(*given, **kwargs)
        return func(*args, **kwargs)


def _first_other_draw(eager: Eager, seed: int, kept: Collection[str], left_out: Collection[str]) -> str:
    """The first line that draws in one of the two runs only."""
    with _seeded(seed), _lines_that_draw() as expected:
        _train(eager, kept, left_out)
    with _seeded(seed), _lines_that_draw() as got:
        eager.free_run()
    pairs = list(zip_longest(expected, got))
    return next((a or b or "model" for a, b in pairs if a != b), (expected or ["model"])[-1])


@contextmanager
def _lines_that_draw() -> Iterator[list[str]]:
    """Yields the lines of the author's code after which a generator has another state, as they run."""
    found: list[str] = []
    state, where = _states(), "model"

    def look(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal state, where
        home = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if home in _LIBRARIES or home in sys.stdlib_module_names:
            return None
        now = _states()
        if now != state:
            found.append(where)
        state, where = now, f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        return look

    outer = sys.gettrace()
    sys.settrace(look)
    try:
        yield found
    finally:
        sys.settrace(outer)
        if _states() != state:
            found.append(where)
