"""What is captured does not depend on which folder of installed packages a model's code lies in."""

from __future__ import annotations

import importlib
import site
import sys
from pathlib import Path

import pytest
import torch

import rr_export as rr
from rr_export.capture.python.source_code import is_library_file

CODE = """
import contextvars
from collections.abc import MutableMapping

import torch
from torch import nn

DEPTH = contextvars.ContextVar("depth", default=0)

class Functions(MutableMapping):  # as transformers keeps its kinds of attention
    known = {"double": lambda x: x * 2}

    def __getitem__(self, name):
        return self.known[name]

    def __setitem__(self, name, function):
        self.known[name] = function

    def __delitem__(self, name):
        del self.known[name]

    def __iter__(self):
        return iter(self.known)

    def __len__(self):
        return len(self.known)

FUNCTIONS = Functions()

def deeper(x):
    before = DEPTH.set(DEPTH.get() + 1)
    try:
        return x + isinstance(type(x), Functions)  # grows the caches of the abstract class
    finally:
        DEPTH.reset(before)

def choose(x):
    return deeper(x) if torch.rand(()) < 0.3 else FUNCTIONS["double"](x)

class Net(nn.Module):
    def forward(self, x):
        return choose(x) + 1
"""
# Decisions that no name in the deciding function tells of.
ELSEWHERE = """
import functools
import random

import torch
from torch import nn

def decorated(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)
    return call

class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.rng, self.p = random, 0.3
    def forward(self, x):
        return x * 2 if self.keeps() else x

class Method(Parts):
    def keeps(self):
        return torch.rand(()) < 0.3

class Held(Parts):
    def keeps(self):
        return self.rng.random() < self.p

class Wrapped(Parts):
    @decorated
    def keeps(self):
        return torch.rand(()) < 0.3

class Coin:
    def __call__(self):
        return random.random() < 0.3

class Object(Parts):
    def __init__(self):
        super().__init__()
        self.keeps = Coin()

class Property(Parts):
    @property
    def drawn(self):
        return random.random()
    def keeps(self):
        return self.drawn < 0.3

class Part(nn.Module):
    def forward(self):
        return torch.rand(1).item() < 0.4

class Module(Parts):
    def __init__(self):
        super().__init__()
        self.keeps = Part()

class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([Method(), Wrapped()])
    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x
"""
# A drop path as torchvision's: a module that hands its mode to a function.
DROPS = """
import torch
from torch import nn

def drop_path(x, p, training):
    if not training or p == 0.0:
        return x
    noise = torch.empty([x.shape[0]] + [1] * (x.ndim - 1), dtype=x.dtype, device=x.device)
    noise = noise.bernoulli_(1.0 - p)
    noise.div_(1.0 - p)
    return x * noise

torch.fx.wrap("drop_path")

class DropPath(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p
    def forward(self, x):
        return drop_path(x, self.p, self.training)

class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.paths = nn.ModuleList(DropPath(p) for p in (0.0, 0.3))
    def forward(self, x):
        for layer, path in zip(self.layers, self.paths):
            x = x + path(layer(x))
        return x

class Scaled(Tower):
    def forward(self, x):
        return super().forward(2 * x)
"""
LINE = next(number for number, line in enumerate(CODE.splitlines(), 1) if "torch.rand" in line)


@pytest.mark.parametrize(
    "folder", [site.getusersitepackages(), "/usr/lib/python3/dist-packages", "/other/lib/python3.12/site-packages"]
)
def test_bug_packages_elsewhere_counted_as_the_authors_code(folder: str) -> None:
    assert is_library_file(str(Path(folder) / "package" / "model.py"))


def test_code_of_the_author_is_no_library() -> None:
    assert not is_library_file(__file__)
    assert not is_library_file("/opt/somebody/site/model.py")


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages", "checkout", "editable"])
def test_the_same_decisions_are_found_in_every_place(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As installed, by ``PYTHONPATH``, and by a ``.pth`` file, as ``pip install -e`` writes it."""
    name = f"placed_{folder.replace('-', '_')}"
    (tmp_path / folder / name).mkdir(parents=True)
    (tmp_path / folder / name / "__init__.py").write_text(CODE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    if folder == "editable":
        (tmp_path / "placed.pth").write_text(f"{tmp_path / folder}\n", encoding="utf-8")
        site.addsitedir(str(tmp_path))
    else:
        monkeypatch.syspath_prepend(tmp_path / folder)
    module = importlib.import_module(name)
    try:
        plan = rr.plan_of(module.Net().eval(), (torch.ones(2, 4),))
        assert [site.name for site in plan.sites] == [f"__init__.py:{LINE}"]
        assert plan.path_count() == 2
    finally:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["Method", "Held", "Wrapped", "Object", "Property", "Module", "Outer"])
def test_bug_decisions_of_installed_code_that_no_name_tells_of(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"placed_elsewhere_{name.lower()}"
    (tmp_path / "site-packages" / package).mkdir(parents=True)
    (tmp_path / "site-packages" / package / "__init__.py").write_text(ELSEWHERE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    module = importlib.import_module(package)
    try:
        model, x = getattr(module, name)().eval(), torch.ones(2, 4)
        assert rr.plan_of(model, (x,)).path_count() == (4 if name == "Outer" else 2)
    finally:
        del sys.modules[package]


def test_bug_a_package_whose_code_was_seen_to_decide_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model after it met other lines when it was traced than when it was surveyed."""
    (tmp_path / "site-packages" / "placed_drops").mkdir(parents=True)
    (tmp_path / "site-packages" / "placed_drops" / "__init__.py").write_text(DROPS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    module = importlib.import_module("placed_drops")
    try:
        for model in (module.Tower().eval(), module.Scaled().eval(), module.Tower().eval()):
            bundle = rr.export(model, (torch.ones(1, 4),), keep_training_routes=True)
            assert bundle.plan.path_count() == 2
    finally:
        del sys.modules["placed_drops"]
