"""Forward hooks that decide."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


def after(module: nn.Module, args: Any, out: Tensor) -> Any:
    return args[0] if random.random() < 0.3 else out


def after_or_none(module: nn.Module, args: Any, kwargs: Any, out: Tensor) -> Any:
    return out * 3 if random.random() < 0.3 else None


def before(module: nn.Module, args: Any) -> Any:
    return args[0] * 2 if random.random() < 0.3 else None


def before_with_kwargs(module: nn.Module, args: Any, kwargs: Any) -> Any:
    if random.random() < 0.3:
        return (args[0] * 2,), kwargs
    return None


class Called:
    def __call__(self, module: nn.Module, args: Any, out: Tensor) -> Any:
        return out * 5 if random.random() < 0.3 else None


def by_share(p: float, module: nn.Module, args: Any, out: Tensor) -> Any:
    return out * 5 if random.random() < p else out


@pytest.mark.parametrize(
    ("hook", "kind", "kwargs"),
    [
        (after, "forward_hook", False),
        (after_or_none, "forward_hook", True),
        (before, "forward_pre_hook", False),
        (before_with_kwargs, "forward_pre_hook", True),
        (Called(), "forward_hook", False),
        (functools.partial(by_share, 0.4), "forward_hook", False),
    ],
)
def test_bug_hooks_that_decide_were_refused(hook: Callable[..., Any], kind: str, kwargs: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    getattr(model[0], f"register_{kind}")(hook, with_kwargs=kwargs)
    law = law_of_code(model, (X,))
    assert len(law) == 2
    assert differences(law, law_of_file(rr.export(model, (X,)), (X,))) == []
    assert [*model[0]._forward_hooks.values(), *model[0]._forward_pre_hooks.values()] == [hook]
