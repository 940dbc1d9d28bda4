"""What a branch or a run changes, and a probability is made of: the law follows it, or it is refused by its line."""

from __future__ import annotations

import array
import functools
import importlib
import random
import sys
import types
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.errors import CaptureError
from rr_export.parity.code_laws import CodeLaws, paths_of_laws
from rr_export.parity.compare import Comparison
from rr_export.parity.subject import Eager

X = torch.ones(2, 3)
LINE = r"^test_tracked_state.py:\d+: "
FOLLOWS = [[0.25, 0.75], [0.75, 0.25]]  # after the branch that changes the probability, and after the other one


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)


def last_law(model: nn.Module) -> Any:
    """Returns the probabilities of the last draw, after those of the code on every path were compared with the plan."""
    plan = rr.plan_of(model.eval(), (X,))
    eager = Eager(bind(model, (X,)))
    laws, comparison = CodeLaws(eager, plan), Comparison(1e-4, 1e-5)
    laws.compare(eager, Same(eager, plan), comparison)  # type: ignore[arg-type]
    assert laws.failures == laws.suspects == comparison.failures == []
    assert len(paths_of_laws(plan)) >= 2
    return plan.sites[-1].policy.table.tolist()


class Same:
    """In the place of a file: the model again, drawn in the middle."""

    def __init__(self, eager: Eager, plan: rr.Plan) -> None:
        self.eager, self.plan = eager, plan

    def on_path(self, inputs: Any, path: Any) -> Any:
        return self.eager.on_path(path)


@dataclass(slots=True)
class Slots:
    p: float = 0.25


@dataclass(slots=True, frozen=True)
class Frozen:
    p: float = 0.25


class Private:
    __slots__ = ("__p",)

    def __init__(self) -> None:
        self.__p = 0.25

    def put(self, p: float) -> None:
        self.__p = p

    def get(self) -> float:
        return self.__p


def cell() -> tuple[Callable[[], float], Callable[[float], None]]:
    p = 0.25

    def get() -> float:
        return p

    def put(value: float) -> None:
        nonlocal p
        p = value

    return get, put


def made_inside() -> Any:
    def inside() -> None:
        pass

    inside.p = 0.25  # type: ignore[attr-defined]
    return inside


def with_default() -> Any:
    def inside(value: float | None = None, held: list[float] = [0.25]) -> float:  # noqa: B006 (what is tried)
        if value is not None:
            held[0] = value
        return held[0]

    return inside


@functools.lru_cache
def remembered() -> list[float]:
    return [0.25]


class Held:
    def __init__(self) -> None:
        self._p = 0.25

    @property
    def p(self) -> float:
        return self._p

    @p.setter
    def p(self, value: float) -> None:
        self._p = value


def put(holder: Any, value: float) -> None:
    holder.p = value


def put_entry(holder: Any, value: float) -> None:
    holder["p"] = value


def put_first(holder: Any, value: float) -> None:
    holder[0] = value


# how the holder of a probability is made, changed in a branch, and read
Way = tuple[Callable[[], Any], Callable[[Any, float], None], Callable[[Any], Any]]
FOLLOWED: dict[str, Way] = {
    "slots": (Slots, put, lambda h: h.p),
    "frozen slots": (Frozen, lambda h, v: object.__setattr__(h, "p", v), lambda h: h.p),
    "private slot": (Private, lambda h, v: h.put(v), lambda h: h.get()),
    "property": (Held, put, lambda h: h.p),
    "__dict__": (lambda: types.SimpleNamespace(p=0.25), lambda h, v: h.__dict__.update(p=v), lambda h: h.p),
    "setattr": (Held, lambda h, v: setattr(h, "p", v), lambda h: h.p),
    "dict": (lambda: {"p": 0.25}, put_entry, lambda h: h["p"]),
    "ordered dict": (lambda: OrderedDict(p=0.25), put_entry, lambda h: h["p"]),
    "default dict": (lambda: defaultdict(float, p=0.25), put_entry, lambda h: h["p"]),
    "counter": (lambda: Counter(p=0.25), put_entry, lambda h: h["p"]),  # type: ignore[arg-type]
    "user dict": (lambda: UserDict(p=0.25), put_entry, lambda h: h["p"]),
    "chain map": (lambda: ChainMap({"p": 0.25}), put_entry, lambda h: h["p"]),
    "list in a tuple": (lambda: ([0.25],), lambda h, v: put_first(h[0], v), lambda h: h[0][0]),
    "attribute of a closure": (lambda: made_inside(), put, lambda h: h.p),
    "default of a closure": (lambda: with_default(), lambda h, v: h(v), lambda h: h()),
    "variable of a closure": (cell, lambda h, v: h[1](v), lambda h: h[0]()),
}
REFUSED: dict[str, Way] = {
    "numpy": (lambda: np.array([0.25]), put_first, lambda h: h[0]),
    "numpy, by a function": (lambda: np.array([0.25]), lambda h, v: np.copyto(h, v), lambda h: h[0]),
    "numpy of objects": (lambda: np.array([0.25], dtype=object), put_first, lambda h: h[0]),
    "a view": (lambda: np.full((2, 2), 0.25), lambda h, v: put_first(h[1], v), lambda h: h[1, 0]),
    "array": (lambda: array.array("d", [0.25]), put_first, lambda h: h[0]),
    "bytearray": (lambda: bytearray(b"\x19"), lambda h, v: put_first(h, int(v * 100)), lambda h: h[0] / 100),
    "memoryview": (lambda: memoryview(bytearray(b"\x19")), lambda h, v: put_first(h, 75), lambda h: h[0] / 100),
    "deque": (lambda: deque([0.25]), put_first, lambda h: h[0]),
    "set": (set, lambda h, v: h.add(v), lambda h: 0.75 if h else 0.25),
    "context variable": (lambda: ContextVar("p", default=0.25), lambda h, v: h.set(v), lambda h: h.get()),
    "iterator": (lambda: iter(b"\x19\x4b"), lambda h, v: h.__next__(), lambda h: h.__next__() / 100),
    "tensor": (lambda: torch.tensor([0.25]), lambda h, v: h.fill_(v), lambda h: h[0]),
    "tensor, through .data": (lambda: torch.tensor([0.25]), lambda h, v: h.data.fill_(v), lambda h: h[0]),
    "tensor, an entry": (lambda: torch.tensor([0.25]), put_first, lambda h: h[0]),
    "deleted": (lambda: {"p": 1}, lambda h, v: h.clear(), lambda h: 0.25 if h else 0.75),
}


class Branch(Layers):
    def __init__(self, way: Way) -> None:
        super().__init__()
        self.make, self.change, self.read = way

    def forward(self, x: Tensor) -> Tensor:
        holder = self.make()
        if random.random() < 0.5:
            self.change(holder, 0.75)
            x = self.a(x)
        return self.b(x) if torch.bernoulli(torch.tensor(float(self.read(holder)))) else x


@pytest.mark.parametrize("name", FOLLOWED)
def test_bug_law_follows_what_a_branch_changes(name: str) -> None:
    assert last_law(Branch(FOLLOWED[name])) == FOLLOWS


@pytest.mark.parametrize("name", REFUSED)
def test_bug_what_is_not_tracked_is_refused_where_a_branch_changes_it(name: str) -> None:
    with pytest.raises(CaptureError, match=LINE + r".*(side effect|in place)"):
        rr.plan_of(Branch(REFUSED[name]).eval(), (X,))


def test_bug_numbers_of_a_tensor_are_not_written_through_numpy() -> None:
    way = (lambda: torch.tensor([0.25]), lambda h, v: put_first(h.numpy(), v), lambda h: h[0])
    with pytest.raises(CaptureError, match=LINE + "expected every branch to compute, got a ValueError: .*read-only"):
        rr.plan_of(Branch(way).eval(), (X,))


class OfClass(Layers):
    drop = 0.1

    def forward(self, x: Tensor) -> Tensor:
        OfClass.drop = 0.25
        if random.random() < 0.5:
            OfClass.drop = 0.75
            x = self.a(x)
        return self.b(x) if torch.bernoulli(torch.tensor(self.drop)) else x


class OfGlobal(Layers):
    def forward(self, x: Tensor) -> Tensor:
        settings.p = 0.25
        if random.random() < 0.5:
            settings.p = 0.75
            x = self.a(x)
        return self.b(x) if torch.bernoulli(torch.tensor(settings.p)) else x


class OfDrawn(Layers):
    def forward(self, x: Tensor) -> Tensor:
        self.a.w, self.b.w = [0.5, 0.5], [0.5, 0.5]
        drawn = random.choice([self.a, self.b])
        drawn.w = [0.25, 0.75]
        return drawn(x) * (random.choices([0, 1], self.a.w)[0] + 1)


class PickedEntry(Layers):
    def forward(self, x: Tensor) -> Tensor:
        first, second = {"p": 0.25}, {"p": 0.5}
        drawn = [first, second][random.randrange(2)]
        drawn["p"] += 0.125
        return self.b(x) if torch.bernoulli(torch.tensor(first["p"])) else x


class Appended(Layers):
    """What is chosen among are the lists themselves."""

    def forward(self, x: Tensor) -> Tensor:
        lists = [[0.25], [0.5]]
        random.choice(lists).append(0.75)
        return self.b(x) if torch.bernoulli(torch.tensor(lists[0][-1])) else x


class HandedOn(Layers):
    """What does not vary is handed to a function that does as it is, not copied."""

    def forward(self, x: Tensor) -> Tensor:
        weights = [0.25]

        def change(held: list[float]) -> None:
            held[0] = 0.75

        def keep(held: list[float]) -> None:
            pass

        [change, keep][random.randrange(2)](weights)
        return self.b(x) if torch.bernoulli(torch.tensor(weights[0])) else x


class OneInBoth(Layers):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x = self.a(x)
            p = q = [0.5]
        else:
            p = q = [0.25]
        q[0] = 0.75
        return self.b(x) if torch.bernoulli(torch.tensor(p[0])) else x


settings: Any = types.SimpleNamespace()


@pytest.mark.parametrize(
    ("model", "law"),
    [
        (OfClass, FOLLOWS),
        (OfDrawn, [[0.25, 0.75], [0.5, 0.5]]),
        (PickedEntry, [[0.625, 0.375], [0.75, 0.25]]),
        (HandedOn, FOLLOWS),
        (Appended, FOLLOWS),
        (OneInBoth, [[0.25, 0.75]]),
    ],
)
def test_bug_law_of_state_elsewhere(model: type[Layers], law: Any) -> None:
    assert last_law(model()) == law


def test_bug_attribute_of_a_python_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings_of_laws.py").write_text("p = 0.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys.modules[__name__], "settings", importlib.import_module("settings_of_laws"))
    assert last_law(OfGlobal()) == FOLLOWS


class Alias(Layers):
    def forward(self, x: Tensor) -> Tensor:
        p, q = [0.5], [0.5]
        r = p if random.random() < 0.5 else q
        r[0] = 0.75
        return self.a(x) if torch.bernoulli(torch.tensor(p[0])) else self.b(x)


class AliasOfOne(Alias):
    """The other list is new."""

    def forward(self, x: Tensor) -> Tensor:
        p = r = {"p": 0.5}
        if random.random() < 0.5:
            r = {"p": 0.5}
        p["p"] = 0.75
        return self.a(x) if torch.bernoulli(torch.tensor(r["p"])) else self.b(x)


class AliasInOne(Alias):
    """Two names of one list after one branch, of two after the other."""

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            p = q = [0.5]
        else:
            p, q = [0.5], [0.5]
        q.append(0.75)
        return self.a(x) if torch.bernoulli(torch.tensor(p[-1])) else self.b(x)


class AliasInside(Alias):
    def forward(self, x: Tensor) -> Tensor:
        p, q = Slots(), Slots()
        held = (p, 1) if random.random() < 0.5 else (q, 1)
        held[0].p = 0.75
        return self.a(x) if torch.bernoulli(torch.tensor(p.p)) else self.b(x)


@pytest.mark.parametrize("model", [Alias, AliasOfOne, AliasInOne, AliasInside])
def test_bug_change_of_what_has_another_name_on_some_paths(model: type[Layers]) -> None:
    with pytest.raises(CaptureError, match=LINE + "expected .* a change of a .* that has other names too on some"):
        rr.plan_of(model().eval(), (X,))


class AliasRead(Layers):
    def forward(self, x: Tensor) -> Tensor:
        p, q = [0.25], [0.75]
        r = p if random.random() < 0.5 else q
        return self.a(x) if torch.bernoulli(torch.tensor(r[0])) else self.b(x)


def test_other_name_that_is_only_read() -> None:
    assert last_law(AliasRead()) == FOLLOWS[::-1]


class ClassOverRuns(Layers):
    drop = 0.1

    def forward(self, x: Tensor) -> Tensor:
        type(self).drop = min(0.9, self.drop + 0.1)
        return self.a(x) if torch.bernoulli(torch.tensor(self.drop)) else self.b(x)


class DefaultOverRuns(Layers):
    def forward(self, x: Tensor, memo: list[float] = [0.1]) -> Tensor:  # noqa: B006 (the fault)
        memo[0] = min(0.9, memo[0] + 0.1)
        return self.a(x) if torch.bernoulli(torch.tensor(memo[0])) else self.b(x)


class KeywordOverRuns(Layers):
    def helper(self, *, memo: dict[str, float] = {"p": 0.1}) -> float:  # noqa: B006 (the fault)
        memo["p"] = min(0.9, memo["p"] + 0.1)
        return memo["p"]

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if torch.bernoulli(torch.tensor(self.helper())) else self.b(x)


class ArrayOverRuns(Layers):
    shares: ClassVar[Any] = np.array([0.1])

    def forward(self, x: Tensor) -> Tensor:
        self.shares[0] = min(0.9, self.shares[0] + 0.1)
        return self.a(x) if torch.bernoulli(torch.tensor(self.shares[0])) else self.b(x)


class IteratorOverRuns(Layers):
    shares: ClassVar[Any] = iter([0.1, 0.9] * 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if torch.bernoulli(torch.tensor(next(self.shares))) else self.b(x)


step = 0


class GlobalOverRuns(Layers):
    def forward(self, x: Tensor) -> Tensor:
        global step
        step += 1
        return self.a(x) if torch.bernoulli(torch.tensor(min(0.9, step / 10))) else self.b(x)


def counted() -> float:
    counted.calls += 1  # type: ignore[attr-defined]
    return min(0.9, counted.calls / 10)  # type: ignore[attr-defined, no-any-return]


counted.calls = 0  # type: ignore[attr-defined]


class CacheOverRuns(Layers):
    def forward(self, x: Tensor) -> Tensor:
        remembered()[0] = min(0.9, remembered()[0] + 0.1)
        return self.a(x) if torch.bernoulli(torch.tensor(remembered()[0])) else self.b(x)


class FunctionOverRuns(Layers):
    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if torch.bernoulli(torch.tensor(counted())) else self.b(x)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (ClassOverRuns, "attribute 'drop' of the class ClassOverRuns"),
        (DefaultOverRuns, r"a list \(the defaults of forward\)"),
        (KeywordOverRuns, "entry 'p' of the defaults of helper"),
        (ArrayOverRuns, r"shares \(a ndarray\)"),
        (IteratorOverRuns, r"shares \(a list_iterator\)"),
        (GlobalOverRuns, "the global 'step'"),
        (CacheOverRuns, r"a list \(remembered\)"),
        (FunctionOverRuns, "attribute 'calls' of the function counted"),
    ],
)
def test_bug_state_that_lives_from_run_to_run(model: type[Layers], what: str) -> None:
    with pytest.raises(CaptureError, match=rf"expected runs that start alike, .*{what}.* is changed by a run"):
        rr.plan_of(model().eval(), (X,))
