"""Conditions on numbers that were read out of tensors: on another line, in a helper, after arithmetic, in a chain."""

from __future__ import annotations

import importlib.util
import random
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.read_numbers import (
    ReadFloat,
    ReadInt,
    ReadTruth,
    extremes_read,
    following,
    number_read,
)
from tests.capture.python.test_idioms import Layered
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])
INPUTS = (X, -X, X * 0.1, X * 0 + 0.3, X * 4 - 1)


class Elsewhere(Layered):
    def gate(self, x: Tensor) -> bool:
        return self.a(x).mean().item() > 0

    def forward(self, x: Tensor) -> Tensor:
        score = x.mean().item() * 2 + 1
        ok = score > 1.2
        if ok or self.gate(x):
            x = self.b(x)
        return x


class Chained(Layered):
    """A chain over two lines whose last part is asked after a draw."""

    def forward(self, x: Tensor) -> Tensor:
        score = abs(x.mean().item() - 0.1)
        # fmt: off
        ok = (0.05
              < score < 0.8)
        # fmt: on
        if random.random() < 0.5:
            x = self.a(x)
        if ok and not (score > 0.6):
            x = self.b(x)
        return x


class AskedInTwoBranches(Layered):
    def forward(self, x: Tensor) -> Tensor:
        ok = x.sum().item() > 1
        if random.random() < 0.4:
            if ok:
                x = self.a(x)
            x = x + 1
        if random.random() < 0.5:
            x = self.b(x) if ok else x
        return x


class Whole(Layered):
    """Whole numbers, a bool that was read, and a number as a condition."""

    def forward(self, x: Tensor) -> Tensor:
        positive = (x.mean() > 0).item()
        many = (x > 0).sum().item() - 5
        if round(x.sum().item()) % 2 == 0:
            x = self.a(x)
        if many:
            x = self.b(x)
        return x + 1 if not positive else x


def between(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))


class Bounded(Layered):
    """The larger and the smaller of numbers, asked on another line, in a helper, of a list."""

    def forward(self, x: Tensor) -> Tensor:
        mean, total = x.mean().item(), x.sum().item()
        if max(mean, 0.3) > 0.4:
            x = self.a(x)
        kept = between(total, 0, 2)
        if random.random() < 0.4:
            x = self.b(x)
        return x + 1 if kept < 1 or max([mean, 0.0]) > 0.1 else x


class KeptTensor(Layered):
    """Conditions that are tensors, joined and kept in names, and asked later, or again."""

    def forward(self, x: Tensor) -> Tensor:
        either = (x.mean() > 0.35) or ((x[0, 0] > 0.3) & (x[0, 1] < 0))
        both = (x.mean() > -0.5) and (x[0, 2] > 0.1)
        if random.random() < 0.4:
            x = self.a(x)
        if either:
            x = self.b(x)
        if both and either:
            x = x + 1
        return x


class SomeOf(Layered):
    def forward(self, x: Tensor) -> Tensor:
        drawn = random.random() < 0.4
        if any([drawn, x.mean() > 0.2, x[0, 0].item() < 0]):
            x = self.a(x)
        if all((x.sum() > 1, drawn)):
            x = self.b(x)
        return x


class TensorOfAHelper(Layered):
    """A condition that a helper makes of others, and that is asked lines after the draw that it stands beside."""

    def gate(self, x: Tensor, level: float) -> Tensor:
        low, high = x.mean() > level - 2, x.max() < level + 2
        return low & high

    def forward(self, x: Tensor) -> Tensor:
        if torch.bernoulli(torch.tensor(0.5)):
            flag = (random.choices(range(2), weights=[0.1, 0.9])[0] != 1) or self.gate(x, 0.4)
            x = x.flip(1)
            if flag:
                x = self.a(x)
            return torch.relu([self.a, self.b][0 if torch.randint(0, 2, (1,)).item() else 1](x))
        held = random.random() < 0.3 or (random.random() < 0.5 and self.gate(x, 0.1))
        return self.b(x) if held else x


@pytest.mark.parametrize(
    "case",
    [
        *(Elsewhere, AskedInTwoBranches, Bounded, KeptTensor, TensorOfAHelper),
        *(pytest.param(c, marks=pytest.mark.zoo) for c in (Chained, Whole, SomeOf)),
    ],
)
def test_file_is_the_code_on_other_inputs(case: type[nn.Module]) -> None:
    bundle, model = rr.export(case().eval(), (X,)), case().eval()
    answers = set()
    for x in INPUTS:
        expected = law_of_code(model, (x,))
        assert differences(expected, law_of_file(bundle, (x,))) == []
        answers.add(tuple(sorted(expected)))
    assert len(answers) == len(INPUTS)


class Run:
    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.made: list[ReadTruth] = []

    def ask(self, condition: Any, natural: bool) -> bool:
        self.asked.append(condition)
        return not natural

    def compared(self, truth: ReadTruth) -> None:
        self.made.append(truth)


def test_what_is_computed_of_numbers_is_one_of_them() -> None:
    number: Any = number_read(2.5)
    assert [type(v) for v in (number, abs(-number), 1 - number, round(number), number // 2, number_read(3) * 2)] == [
        *(ReadFloat, ReadFloat, ReadFloat, ReadInt, ReadFloat, ReadInt)
    ]
    assert (float(number**2), float(2 / number), int(number_read(7) % 4), repr(number > 2)) == (6.25, 0.8, 3, "True")
    assert {number, 2.5} == {2.5}
    assert number.__add__("text") is NotImplemented


def test_truth_is_what_the_run_says_wherever_it_is_asked() -> None:
    number: Any = number_read(0.5)
    run = Run()
    token = following.set(run)
    try:
        both = (number > 0) & (number > 1)
        assert not run.asked
        assert (bool(both), not number) == (True, True)
    finally:
        following.reset(token)
    assert [type(v) for v in run.asked] == [ReadTruth, ReadFloat]
    assert len(run.made) == 3
    assert not both


def test_extremes_of_numbers_ask_nothing() -> None:
    run, number = Run(), number_read(0.5)
    token = following.set(run)
    try:
        with extremes_read(), extremes_read():
            found: list[Any] = [max(number, 0.3), min([2, number_read(3)]), max(number_read(1), 1.0)]
            assert (max("ab"), max([], default=3), min(2, 1, key=lambda v: -v)) == ("b", 3, 2)
        assert [type(v) for v in found] == [ReadFloat, ReadInt, ReadInt]
        assert not run.asked
        max(number, 0.3)
        assert len(run.asked) == 1  # sabotaged: Python's own asks
    finally:
        following.reset(token)


def test_bug_the_same_source_under_two_names(tmp_path: Path) -> None:
    text = """
    import random
    from torch import nn

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            if random.random() < 0.5 and x.mean().item() > 0:
                x = self.layer(x)
            return x
    """
    for name in ("first_copy", "second_copy"):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.Model().eval()
        plan = rr.plan_of(model, (X,))
        assert [site.name for site in plan.sites] == [f"{name}.py:11"]
        with rr.forced(model, [0]) as record:
            model(X)
        assert record.path.tolist() == [0]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("math.sqrt(x.mean().item()) > 1", r"got sqrt\(\) of a tensor that depends on the input; write torch.sqrt"),
        ("round(x.mean().item(), 1) > 1", r"got round\(\) to some digits of .*; write round\(10 \* v\) / 10"),
        (
            "isinstance(x.mean().item(), float)",
            r"got isinstance\(\) of a number .*; leave the question out",
        ),
        (
            "isinstance(x.sum().item(), (str, int))",
            r"got isinstance\(\) of a number .*; leave the question out",
        ),
        ("type(x.mean().item()) is float", r"got type\(\) of a number of a tensor .*; leave the question out"),
        ("(x.mean().item() > 0) is True", r"expected a condition, got `is True` .* on the input; leave `is ...` out"),
        ("(x.mean().item() > 0) is not False", r"expected a condition, got `is True` .* on the input; leave `is"),
        ("f'{x.mean().item():.2f}'", r"got a text of a tensor that depends on the input; leave it out"),
        (
            "[1, 2, 3][x[0].argmax().item() if random.random() < 0.5 else random.randrange(3)]",
            r"got one that depends on the input; compare it: for i, layer in",
        ),
        ("x.mean().item().is_integer()", r"bad.py:9: expected code that runs .*, got a.*Error.*is_integer"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_line(tmp_path: Path, code: str, text: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "import math\nimport random\nfrom torch import nn\n\n\nclass Model(nn.Module):\n    def forward(self, x):\n"
        f"        x = x + 1 if random.random() < 0.5 else x\n        found = {code}\n        return x\n"
    )
    spec = importlib.util.spec_from_file_location("bad", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(rr.RRExportError, match=f"(?s)^bad.py:9: .*{text}" if "bad.py" not in text else f"(?s)^{text}"):
        rr.plan_of(module.Model().eval(), (X,))
