from __future__ import annotations

from typing import Any

import pytest
import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.decisions import Decision
from rr_export.capture.python.values import Varying
from rr_export.errors import CaptureError
from tests.capture.python.setting import LINE, FakeLog, Setting


def test_every_way_is_run_in_its_branch_and_the_results_vary() -> None:
    setting, log = Setting(), FakeLog()
    coin, seen = setting.coin(), []

    def arm(k: int) -> str:
        seen.append((k, setting.ledger.here(coin), setting.ledger.depth))
        return "ab"[k]

    splitter = setting.splitter(log)
    result = splitter.split(coin, 2, arm, names=("no", "yes"))
    assert seen == [(0, dd.Leaf(0), 1), (1, dd.Leaf(1), 1)]
    assert isinstance(result, Varying)
    assert result.diagram == dd.apply(lambda k: "ab"[k], coin)
    assert log.told == ["into 0:0", "into 0:1", f"axes at {splitter.deciding[0].line}"]
    assert (splitter.deciding[0].which, splitter.deciding[0].names) == (coin, ("no", "yes"))
    assert (setting.ledger.guard, setting.ledger.decisions[0].cuts) == (dd.TRUE, {0.5})


def test_only_way_needs_no_call() -> None:
    setting, log = Setting(), FakeLog()
    coin = setting.coin()
    with setting.ledger.branch(dd.apply(bool, coin)):
        assert setting.splitter(log).split(coin, 2, lambda k: f"way {k}") == "way 1"
    assert (log.calls, setting.ledger.decisions[0].cuts) == (0, set())


def test_two_decisions_at_once_are_computed_in_halves() -> None:
    setting, log = Setting(), FakeLog()
    total = dd.apply(lambda a, b: a + b, setting.coin(), setting.coin())
    splitter = setting.splitter(log)
    result = splitter.split(total, 3, lambda k: k)
    assert dd.leaves(result.diagram) == [0, 1, 2]
    assert result.diagram == total
    assert log.calls > 1
    assert splitter.deciding[0].computed


def test_names_go_back_before_every_way() -> None:
    setting = Setting(variables={"n": 0})

    def arm(k: int) -> Any:
        setting.variables["n"] += 1
        return setting.variables["n"]

    assert setting.splitter(FakeLog()).split(setting.coin(), 2, arm) == 1
    assert setting.variables["n"] == 1


def test_condition_made_in_a_way_is_joined_too() -> None:
    setting, log = Setting(), FakeLog()
    gate = torch.tensor(True)

    def arm(k: int) -> None:
        if k:
            setting.ledger.add(Decision("gate", LINE, setting.ledger.guard, tensor=gate))

    setting.splitter(log).split(setting.coin(), 2, arm)
    ((_, _, operands, _),) = log.selected
    assert [[bool(t) for t in branch] for branch in operands] == [[False], [True]]
    assert setting.ledger.decisions[1].tensor is not gate


def test_way_that_raises_is_refused_by_line_and_name() -> None:
    setting = Setting()
    with pytest.raises(CaptureError, match=r"ZeroDivisionError: .* where branch '0' is taken") as refused:
        setting.splitter(FakeLog()).split(setting.coin(), 2, lambda k: 1 // k)
    assert isinstance(refused.value.__cause__, ZeroDivisionError)
    assert (setting.ledger.guard, setting.ledger.depth) == (dd.TRUE, 0)
