"""What a branch or a run changes, and a probability is made of: the law follows it, or it is refused by its line."""

from __future__ import annotations

import importlib
import os
import random
import sys
import types
from collections.abc import Iterator
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
from rr_export.parity.eager_model import Eager
from tests.capture.python import holders
from tests.capture.python.holders import FOLLOWED, REFUSED, Slots, Way, put_first, remembered

X = torch.ones(2, 3)
LINE = r"^(test_tracked_state|holders).py:\d+: "
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


@pytest.fixture
def settings_as_they_were() -> Iterator[None]:
    """What belongs to the process is afterwards what it was."""
    before = torch.get_default_dtype(), dict(os.environ)
    yield
    torch.set_default_dtype(before[0])
    os.environ.clear()
    os.environ.update(before[1])
    vars(holders).pop("tried_global", None)


@pytest.mark.usefixtures("settings_as_they_were")
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


@pytest.mark.parametrize(
    ("model", "law"),
    [
        (Alias, [[0.25, 0.75], [0.5, 0.5]]),
        (AliasOfOne, [[0.5, 0.5], [0.25, 0.75]]),
        (AliasInOne, [[0.25, 0.75], [0.5, 0.5]]),
        (AliasInside, FOLLOWS),
    ],
)
def test_bug_change_of_what_has_another_name_on_some_paths(model: type[Layers], law: Any) -> None:
    assert last_law(model()) == law


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
        (DefaultOverRuns, "entry 0 of the defaults of forward"),
        (KeywordOverRuns, "entry 'p' of the defaults of helper"),
        (ArrayOverRuns, r"shares \(a ndarray\)"),
        (IteratorOverRuns, r"shares \(a list_iterator\)"),
        (GlobalOverRuns, "the global 'step'"),
        (CacheOverRuns, "entry 0 of remembered"),
        (FunctionOverRuns, "attribute 'calls' of the function counted"),
    ],
)
def test_bug_state_that_lives_from_run_to_run(model: type[Layers], what: str) -> None:
    with pytest.raises(CaptureError, match=rf"expected runs that start alike, .*{what}.* is changed by a run"):
        rr.plan_of(model().eval(), (X,))
