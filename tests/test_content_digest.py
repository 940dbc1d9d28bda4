"""What tells things from others is the same in every process, and another one wherever something else is held."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.content_digest import content_digest
from rr_export.parity.model_worker import model_digest

SCALE = 2


def scaled(x: float) -> float:
    return SCALE * x


class Held(nn.Module):
    """A module with attributes of many kinds."""

    def __init__(self, **changed: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        nn.init.ones_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.cap, self.names, self.kinds = 50, {"b", "a", "c"}, {"x": [1, (2.5, None)], "y": torch.float16}
        self.table, self.shift = np.arange(4.0), torch.ones(3)
        self.function: Callable[..., Any] = functools.partial(scaled, 3)
        self.pattern, self.place = re.compile("a+"), Path("weights")
        self.lock = threading.Lock()
        vars(self).update(changed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = torch.clamp(self.layer(x) if torch.rand(()) < 0.5 else x, max=self.cap)
        return x


def routed() -> nn.Module:
    model = nn.Sequential(Held(), Held()).eval()
    rr.route_layers(model, "1", keep=0.5)
    return model


@pytest.mark.parametrize(
    "changed",
    [
        {"cap": 3}, {"cap": 50.0}, {"names": {"b", "a"}}, {"kinds": {"x": [1, (2.5, 0)], "y": torch.float16}},
        {"table": np.zeros(4)}, {"shift": torch.zeros(3)}, {"function": functools.partial(scaled, 4)},
        {"function": lambda x: x}, {"pattern": re.compile("b+")}, {"place": Path("others")}, {"more": None},
    ],
)  # fmt: skip
def test_another_attribute_is_another_model(changed: dict[str, Any]) -> None:
    assert model_digest(Held()) == model_digest(Held()) != model_digest(Held(**changed))


def test_what_a_function_holds_counts() -> None:
    def adds(n: int) -> Callable[[int], int]:
        return lambda x: x + n

    assert content_digest(adds(1)) == content_digest(adds(1)) != content_digest(adds(2))
    one, other = (eval("lambda x: FACTOR * x", {"FACTOR": factor}) for factor in (1, 2))
    assert content_digest(one) != content_digest(other)
    assert content_digest([1, [2]]) != content_digest([1, 2]) != content_digest([2, 1])


def test_what_holds_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert content_digest(loop) == content_digest(loop) != content_digest([[]])


@pytest.mark.slow
def test_the_digest_is_the_same_in_every_process() -> None:
    script = "import tests.test_content_digest as t; print(t.model_digest(t.routed()), t.content_digest(t.scaled))"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.splitlines()[-1]
        for seed in ("1", "2")
    }  # fmt: skip
    assert found == {f"{model_digest(routed())} {content_digest(scaled)}"}


@pytest.mark.parametrize("make", [routed, lambda: Held().eval()])
def test_a_proof_leaves_the_digest_as_it_was(make: Callable[[], nn.Module]) -> None:
    model = make()
    before = model_digest(model)
    rr.verify(rr.export(model, (torch.ones(1, 2),)), model, (torch.ones(1, 2),), max_paths=2)
    assert model_digest(model) == before
