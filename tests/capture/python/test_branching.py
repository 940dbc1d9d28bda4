from __future__ import annotations

from typing import Any

import pytest
import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.values import Sifted, Varying
from rr_export.errors import CaptureError
from tests.capture.python.setting import FakeLog, Setting


def branching_of(setting: Setting, log: FakeLog | None = None) -> Branching:
    splitter = setting.splitter(log or FakeLog())
    return Branching(splitter, setting.ledger, setting.markers, setting.numbers, setting.whereabouts)


@pytest.mark.parametrize(
    ("value", "holds"),
    [(0, False), ([1], True), ("", False), (torch.tensor([[2.0]]), True), (torch.tensor(False), False)],
)
def test_what_is_the_same_in_every_run_is_a_bool(value: Any, holds: bool) -> None:
    setting, log, arms = Setting(), FakeLog(), []
    branching = branching_of(setting, log)
    branching.branch(branching.as_condition(value), arms.append)
    assert (arms, log.calls, setting.ledger.decisions) == ([holds], 0, [])


def test_condition_that_varies_goes_both_ways() -> None:
    setting, log = Setting(), FakeLog()
    branching = branching_of(setting, log)
    with setting.tracing():
        varying = setting.flip([], [1])
        result = branching.branch(branching.as_condition(varying), lambda holds: "yes" if holds else "no")
    assert result.diagram == dd.apply(lambda v: "yes" if v else "no", varying.diagram)
    assert (log.calls, len(setting.ledger.decisions)) == (1, 1)


def test_condition_that_is_settled_here_goes_one_way() -> None:
    setting, log = Setting(), FakeLog()
    with setting.tracing():
        varying = setting.flip(0, 3)
        with setting.ledger.branch(dd.apply(bool, varying.diagram)):
            assert branching_of(setting, log).holds(varying) is True
    assert log.calls == 0


def test_sequence_holds_where_an_element_is_there() -> None:
    setting = Setting()
    with setting.tracing():
        there = setting.flip(False, True)
        condition = branching_of(setting).as_condition(Sifted([(there, "x")]))
    assert isinstance(condition, Varying)
    assert condition.diagram == there.diagram


def test_condition_on_the_input_is_one_decision_however_often_it_is_asked() -> None:
    setting, x = Setting(), torch.ones(1)
    setting.varied.add(x)
    branching = branching_of(setting)
    with setting.tracing():
        first, second = branching.holds(x), branching.holds(x)
    (decision,) = setting.ledger.decisions
    assert first.diagram is second.diagram is dd.node(0, (1.0,), (dd.Leaf(False), dd.Leaf(True)))
    assert (decision.kind, decision.cuts, decision.tensor.shape) == ("gate", {1.0}, ())


def test_condition_asked_in_a_branch_is_another_one_outside() -> None:
    setting, x = Setting(), torch.ones(1)
    setting.varied.add(x)
    branching, coin = branching_of(setting), setting.coin()
    with setting.tracing():
        with setting.ledger.branch(dd.apply(bool, coin)):
            branching.holds(x)
        branching.holds(x)
    assert [d.kind for d in setting.ledger.decisions] == ["draw", "gate", "gate"]
    assert [d.made for d in setting.ledger.decisions[1:]] == [dd.apply(bool, coin), dd.TRUE]


def test_condition_of_many_elements_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"model.py:1: expected a condition with one element, got .* \[2\]; reduce"):
        branching_of(Setting()).as_condition(torch.ones(2))
