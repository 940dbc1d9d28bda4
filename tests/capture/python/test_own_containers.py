"""Containers, globals and modules whose classes override how they are read."""

from __future__ import annotations

import importlib.util
import random
import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.eager_model import Eager
from rr_export.parity.subject import File

X = torch.ones(2, 4)


class Registry(dict[str, Any]):
    """A registry whose ``get`` takes a name alone."""

    def get(self, name: str) -> Any:  # type: ignore[override]
        return super().get(str(name)) or {}

    def copy(self) -> Any:
        raise RuntimeError("looked at")


class AttrDict(dict[str, Any]):
    __getattr__ = dict.__getitem__


class Stack(list[Any]):
    """A list with an attribute, and methods of its own."""

    def __init__(self, tag: int) -> None:
        super().__init__()
        self.tag = tag

    def __len__(self) -> int:
        raise RuntimeError("looked at")

    def copy(self) -> Any:
        raise RuntimeError("looked at")


class Called:
    """What can be called, and answers every question with an error."""

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise KeyError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("looked at")

    def __call__(self, x: Tensor) -> Tensor:
        return x + 1


REGISTRY, CONFIG, CALL = Registry(a={}), AttrDict(p=0.5), Called()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.acts, self.own = nn.Linear(4, 4), Registry(tanh=torch.tanh), AttrDict(scale=2.0)

    def forward(self, x: Tensor) -> Tensor:
        REGISTRY.get("a")
        if random.random() < CONFIG.p:
            x = CALL(self.acts.get("tanh")(self.fc(x))) * self.own.scale
        return x


class Bag(dict[str, Any]):
    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key.lower(), value)


class Leaves(nn.Module):
    """Branches leave containers of classes of their own, whose attributes differ too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        bag = Bag(1)
        bag["Y"] = x
        bag.scale = x + 1
        if random.random() < 0.5:
            bag["Y"] = self.fc(x)
            bag.scale = x * 3
        if random.random() < 0.5:
            stack = Stack(2)
            stack.append(x)
        else:
            stack = Stack(5)
            stack.append(x * 2)
        return bag["y"] * bag.scale + stack[0] * stack.tag


@pytest.mark.parametrize("kind", [Net, Leaves])
def test_bug_containers_were_read_through_their_own_methods(kind: Any) -> None:
    model = kind().eval()
    bundle = rr.export(model, (X,))
    assert bundle.plan.path_count() == (2 if kind is Net else 4)
    eager = Eager(bind(model, (X,)))
    with bundle.folder() as folder:
        file = File(folder, bundle)
        for path in bundle.plan.paths():
            got = file.on_path(eager.inputs, list(path)).outputs["output"]
            torch.testing.assert_close(
                torch.from_numpy(got), torch.from_numpy(eager.on_path(list(path)).outputs["output"])
            )


def test_bug_lazy_modules_were_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise ImportError(f"an optional dependency of {self.__name__} is missing")

    class Proxy:
        def __getattribute__(self, name: str) -> Any:
            raise ImportError("looked at")

    spec = importlib.util.find_spec("this")
    assert spec is not None and spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lazy)
    monkeypatch.setitem(sys.modules, "somebody.optional", Lazy("somebody.optional"))
    monkeypatch.setitem(sys.modules, "somebody.proxy", Proxy())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "somebody.later", lazy)
    monkeypatch.setitem(globals(), "PROXY", Proxy())
    assert rr.plan_of(Net().eval(), (X,)).path_count() == 2
    assert "ZEN" not in str(sorted(object.__getattribute__(lazy, "__dict__"))).upper()
