"""What is said of one model of a package, and what became of it."""

from __future__ import annotations

import re
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import rr_export as rr
from tests.packages.importing import imported

HOLDS, REFUSED, FAILED = "holds", "refused", "failed"


@dataclass(frozen=True)
class Case:
    """A model of a package.

    Attributes:
        name: unique, such as ``timm/mobilenetv3``; its first part names the package.
        make: returns the model with random weights.
        args: its example arguments.
        kwargs: its example keyword arguments.
        layers: patterns of the layers that ``route_layers`` routes; none: the model decides in its own code.
        training: whether what it decides in training is kept.
        paths: how many different paths its random decisions can take; 0: it must be refused.
        refuses: pattern that the refusal's message matches, where ``paths`` is 0.
        reason: why it is refused, or what is worth knowing of it, for the page.
        hidden: for ``route_layers``.
        skip: for ``route_layers``.
        dynamic: for ``rr.export``.
    """

    name: str
    make: Callable[[], nn.Module]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    training: bool = False
    paths: int = 0
    refuses: str = ""
    reason: str = ""
    hidden: str | None = None
    skip: Any = None
    dynamic: Any = None

    @property
    def outcome(self) -> str:
        """What must become of it."""
        return HOLDS if self.paths else REFUSED

    @property
    def routing(self) -> str:
        """What decides, for the page."""
        if self.layers:
            return " ".join(f"`{pattern}`" for pattern in self.layers)
        return "its training" if self.training else "its own code"


@dataclass(frozen=True)
class Judged:
    """What became of a model.

    Attributes:
        outcome: "holds", "refused" or "failed".
        text: the message of the refusal or failure.
        paths: how many different paths there are.
        seconds: CPU time of ``export`` and of ``verify``.
    """

    outcome: str
    text: str = ""
    paths: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)


def build(case: Case) -> nn.Module:
    """Returns the model in evaluation mode, always with the same weights; every layer of it matters."""
    torch.manual_seed(0)
    model = case.make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and float(parameter.abs().max()) < 1e-3:
                parameter.normal_(0.3, 0.1)  # scales of layers, and outputs, that begin at nothing
    return model


def route(case: Case, model: nn.Module) -> None:
    """Layers of the model are sites."""
    for pattern in case.layers:
        rr.route_layers(model, pattern, keep=0.6, hidden=case.hidden, skip=case.skip)


def judge(case: Case) -> Judged:
    """Exports and verifies the model."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # models warn of their own doing
            model = build(case)
            route(case, model)
            start = time.process_time()
            options = {"dynamic_shapes": case.dynamic, "keep_training_routes": case.training}
            bundle = rr.export(model, case.args, case.kwargs, **options)
            exported = time.process_time()
            report = rr.verify(bundle, model, case.args, case.kwargs)
        took = (exported - start, time.process_time() - exported)
    except rr.ParityError as error:
        return Judged(FAILED, str(error))
    except rr.RRExportError as error:
        return Judged(REFUSED, str(error), seconds=(time.process_time() - start, 0.0))
    except Exception:  # raw errors are what this is for
        return Judged(FAILED, traceback.format_exc())
    held = {check.name for check in report.checks if check.passed}
    missing = {"paths", "streams", "law", "laziness"} - held
    if missing:
        return Judged(FAILED, f"verify did not check {', '.join(sorted(missing))}")
    return Judged(HOLDS, "", bundle.plan.path_count(), took)


def mistake(case: Case, judged: Judged) -> str:
    """Returns what became of a model that is not expected; "" where all is."""
    if judged.outcome != case.outcome:
        expected = "that it holds" if case.paths else "that it is refused"
        return f"expected {expected}, got {judged.outcome}: {judged.text}"
    if not case.paths and not re.search(case.refuses, judged.text):
        return f"expected a refusal with {case.refuses!r}, got: {judged.text}"
    return "" if judged.paths == case.paths else f"expected {case.paths} paths, got {judged.paths}"


def given(*shape: int) -> Tensor:
    """Returns float32 numbers of this shape, always the same ones."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def images(size: int = 32, count: int = 1) -> tuple[Tensor]:
    """Returns images, [N, 3, size, size], as the only argument."""
    return (given(count, 3, size, size),)


def numbers(*shape: int, below: int = 16) -> Tensor:
    """Returns int64 numbers of this shape, 2 <= n < below, always the same ones."""
    return torch.randint(2, below, shape, generator=torch.Generator().manual_seed(1))


def of(path: str, *args: Any, **settings: Any) -> Callable[[], nn.Module]:
    """Returns what makes an object of a class (or the result of a function), named as ``package.module.Name``."""

    def make() -> nn.Module:
        module, _, name = path.rpartition(".")
        made: nn.Module = getattr(imported(module), name)(*args, **settings)
        return made

    return make
