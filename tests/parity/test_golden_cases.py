"""The golden cases of an exported model take every branch, say why they are there, and are on the user's inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import RunError
from rr_runtime import Session


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = rr.LayerChoice(nn.Linear(8, 8), 0.9)
        self.second = rr.OperationChoice(
            {"a": nn.Linear(8, 8), "b": nn.ReLU(), "c": nn.Tanh()}, rr.Categorical([0.7, 0.2, 0.1])
        )

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.second(self.first(x)) * scale


class Sorted(nn.Module):
    """Decides by its input and by draws."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.7:
            x = self.layer(x)
        if x.sum() > 0:
            return x.relu()
        return -x


def exported(**options: Any) -> tuple[nn.Module, tuple[Tensor, Tensor], rr.Bundle]:
    torch.manual_seed(0)
    model, args = Net().eval(), (torch.randn(4, 8), torch.ones(8))
    shapes = {"x": {0: "batch"}, "scale": None}
    return model, args, rr.export(model, args, dynamic_shapes=shapes, **options)


def routes(bundle: rr.Bundle) -> set[tuple[int, int]]:
    return {(i, k) for case in bundle.golden for i, k in enumerate(case.taken) if k >= 0}


EVERY = {(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)}


def test_every_branch_is_taken_and_every_case_says_why(tmp_path: Path) -> None:
    model, args, bundle = exported()
    assert routes(bundle) == EVERY
    assert [case.why for case in bundle.golden] == [
        "most probable path", "covers first: skip, second: b", "covers second: c", "seed 0", "seed 1",
    ]  # fmt: skip
    for case in bundle.golden:
        with rr.forced(model, list(case.taken)), torch.no_grad():
            np.testing.assert_array_equal(case.outputs["output"], model(*args).numpy())
    folder = bundle.save(tmp_path / "out")
    assert Session(folder).check() == 5
    rows = json.loads((folder / "manifest.json").read_text())["golden"]
    assert [row.get("inputs") for row in rows] == [None, 0, 0, 0, 0] and rows[2]["why"] == "covers second: c"
    with np.load(folder / "golden.npz") as arrays:  # inputs that all cases share are there once
        assert sorted(arrays.files) == sorted(["0/input/x", "0/input/scale", *(f"{n}/output/output" for n in range(5))])
    loaded = rr.load(folder)
    assert [case.why for case in loaded.golden] == [case.why for case in bundle.golden]
    assert all(np.array_equal(case.inputs["x"], args[0].numpy()) for case in loaded.golden)


def test_a_number_says_how_many() -> None:
    assert [case.why for case in exported(golden=2)[2].golden] == [
        "most probable path",
        "covers first: skip, second: b",
    ]
    assert [case.seed for case in exported(golden=7)[2].golden] == [None, None, None, 0, 1, 2, 3]
    assert exported(golden=0)[2].golden == []


def test_the_users_inputs_are_recorded_each_at_least_once(tmp_path: Path) -> None:
    torch.manual_seed(1)
    ones = torch.ones(8)
    given: list[Any] = [(torch.randn(n, 8), ones) for n in (2, 3)] + [{"x": torch.randn(n, 8)} for n in (5, 6, 7, 9)]
    model, _, bundle = exported(golden=iter(given))
    assert routes(bundle) == EVERY
    assert [len(case.inputs["x"]) for case in bundle.golden] == [2, 3, 5, 6, 7, 9]
    assert bundle.golden[5].why == "seed 2, your input 6"
    with rr.forced(model, list(bundle.golden[2].taken)), torch.no_grad():
        np.testing.assert_array_equal(bundle.golden[2].outputs["output"], model(given[2]["x"], ones).numpy())
    assert Session(bundle.save(tmp_path / "out")).check() == 6


def test_a_condition_on_the_input_is_covered_where_the_inputs_reach_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, up = Sorted().eval(), torch.ones(2, 8)
    with torch.no_grad():
        model.layer.weight.copy_(torch.eye(8))
        model.layer.bias.zero_()
    alone = rr.export(model, (up,))
    (unseen,) = alone.manifest["unseen_conditions"]
    assert unseen.endswith(": false") and "test_golden_cases.py:" in unseen
    assert Session(alone.save(tmp_path / "out")).manifest.unseen_conditions == (unseen,)
    both = rr.export(model, (up,), golden=[(up,), (-up,)])
    assert "unseen_conditions" not in both.manifest
    single = rr.export(model, (-up,), golden=1)
    assert len(single.golden) == 1 and single.manifest["unseen_conditions"][0].endswith(": true")


def test_a_condition_that_another_path_turns_gets_a_case_of_its_own() -> None:
    torch.manual_seed(0)

    class Turned(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if torch.rand(()) < 0.9:
                x = x + 3
            if torch.rand(()) < 0.9:
                x = x + 3
            if x.sum() > 8:  # only where neither or one of them was added is it less
                return x.relu()
            return -x

    bundle = rr.export(Turned().eval(), (torch.ones(2),))
    assert "unseen_conditions" not in bundle.manifest
    assert {float(case.outputs["output"][0]) for case in bundle.golden} >= {7.0, -1.0}


@pytest.mark.parametrize(
    ("golden", "error", "message"),
    [
        (-1, ValueError, r"golden: expected at least 0 runs, got -1; pass how many"),
        (True, TypeError, r"golden: expected how many runs, or a list of inputs, got bool; write"),
        (1.5, TypeError, r"golden: expected how many runs, or a list of inputs, got float; pass one"),
        ("x.npz", TypeError, r"golden: expected how many runs, or a list of inputs, got str; write"),
        ({"x": 1}, TypeError, r"golden: expected how many runs, or a list of inputs, got dict; write"),
        ([], ValueError, r"golden: expected at least one input, got none; leave it away"),
        ([torch.ones(4, 8)], TypeError, r"your input 1: expected a tuple of arguments or a dictionary .*, got Tensor"),
        ([(torch.ones(4, 8),)], ValueError, r"your input 1: expected 2 positional arguments as in the example, got 1"),
        ([{"y": 1}], ValueError, r"your input 1: expected arguments among x, scale, got y; mend the names"),
        ([{}, {"x": torch.ones(4, 9)}], ValueError, r"your input 2: input 'x': expected float32 \[4, 8\], other sizes"),
        ([{"x": torch.ones(4, 8).int()}], ValueError, r"your input 1: input 'x': expected float32 .*, got int32"),
    ],
)
def test_wrong_wishes_are_refused(golden: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        exported(golden=golden)


def test_an_input_on_which_the_model_fails_is_named() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = rr.LayerChoice(nn.Embedding(4, 4), 0.5, skip=lambda i: torch.zeros(*i.shape, 4))

        def forward(self, i: Tensor) -> Tensor:
            return self.layer(i)

    with pytest.raises(RunError, match=r"golden: your input 2, covers layer: \w+: expected a run, got IndexError"):
        rr.export(Picky().eval(), (torch.tensor([1, 2]),), golden=[(torch.tensor([3, 0]),), (torch.tensor([3, 9]),)])


def damage(bundle: rr.Bundle) -> None:
    case = bundle.golden[2]
    case.outputs["output"][0, 0] += 1  # type: ignore[index]


def turn(bundle: rr.Bundle) -> None:
    object.__setattr__(bundle.golden[2], "path", (1, 0))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damage, r"golden case 2 \(covers second: c\): output 'output': expected"),
        (turn, r"golden case 2 \(covers second: c\): expected path \[1, 2\], got \[1, 0\]"),
    ],
)
def test_a_spoilt_case_is_named_with_its_reason(
    spoil: Callable[[rr.Bundle], None], message: str, tmp_path: Path
) -> None:
    bundle = exported()[2]
    spoil(bundle)
    with pytest.raises(Exception, match=message):
        Session(bundle.save(tmp_path / "out")).check()
