from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.lifting import CALLEE, Lifter, Method
from rr_export.capture.python.values import Drawn, Later, UniformDraw, Varying
from rr_export.errors import CaptureError
from tests.capture.python.setting import FakeLog, Setting


def lifter_of(setting: Setting, log: FakeLog | None = None) -> Lifter:
    def call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **kwargs)

    return Lifter(setting.ledger, setting.splitter(log or FakeLog()), setting.numbers, setting.whereabouts, call)


def values_of(varying: Varying) -> list[Any]:
    return dd.leaves(varying.diagram)


def test_what_only_computes_needs_no_branch() -> None:
    setting, log = Setting(), FakeLog()
    with setting.tracing():
        first, second = setting.flip(1, 2), setting.flip(10, 20)
        found = lifter_of(setting, log).lift(max, (first, second), {"key": operator.neg})
        upper = lifter_of(setting, log).lift(Method("upper"), (setting.flip("a", "b"),), {})
    assert found.diagram == first.diagram
    assert (values_of(upper), log.calls) == (["A", "B"], 0)


def test_what_may_do_more_is_called_in_a_branch_for_every_value() -> None:
    setting, log, seen = Setting(), FakeLog(), []
    lifter, coin = lifter_of(setting, log), setting.flip("left", "right")

    def remember(side: str, *, size: int) -> int:
        seen.append((side, setting.ledger.depth))
        return len(side) * size

    with setting.tracing():
        assert values_of(lifter.lift(remember, (coin,), {"size": 2})) == [8, 10]
    assert (seen, log.told[:2]) == ([("left", 1), ("right", 1)], ["into 0:0", "into 0:1"])


def test_callee_may_vary() -> None:
    setting, log = Setting(), FakeLog()
    with setting.tracing():
        assert values_of(lifter_of(setting, log).lift(CALLEE, (setting.flip(min, max), 3, 4), {})) == [3, 4]
    assert log.calls == 1


def test_value_that_is_settled_here_is_called_with_once() -> None:
    setting, log = Setting(), FakeLog()
    varying = setting.flip(1, 2)
    with setting.ledger.branch(dd.apply(lambda v: v == 2, varying.diagram)), setting.tracing():
        assert lifter_of(setting, log).lift(lambda v: v + 1, (varying,), {}) == 3
    assert log.calls == 0


def test_tensor_that_is_the_same_in_every_run_is_made_where_it_is_used() -> None:
    setting, log, x = Setting(), FakeLog(), torch.ones(2)
    lifter = lifter_of(setting, log)
    with setting.tracing():
        same = lifter.lift(operator.mul, (torch.ones(2), setting.flip(2, 3)), {})
        later = values_of(same)
        assert [type(v) for v in later] == [Later, Later]
        assert ([v.now().tolist() for v in later], log.calls) == ([[2, 2], [3, 3]], 0)
        setting.varied.add(x)
        lifter.lift(operator.mul, (x, setting.flip(2, 3)), {})
    assert (log.calls, [[t.tolist() for t in b] for b in log.selected[0][2]]) == (1, [[[2, 2]], [[3, 3]]])


def test_array_of_one_draw_is_a_tensor_for_each_value() -> None:
    setting, log = Setting(), FakeLog()
    lifter, values = lifter_of(setting, log), np.array([setting.flip(0, 1), 5], dtype=object)
    with setting.tracing():
        lifter.lift(torch.neg, (Drawn(values, "torch"),), {})
        assert [[t.tolist() for t in b] for b in log.selected[0][2]] == [[[0, -5]], [[-1, -5]]]
        rows = Drawn(np.array([setting.flip(0, 1), setting.flip(0, 1)], dtype=object), "torch")
        with pytest.raises(CaptureError, match="expected one draw for the whole batch, got 2 numbers that are drawn"):
            lifter.lift(torch.neg, (rows,), {})


def test_too_many_ways_are_refused() -> None:
    setting = Setting()
    with setting.tracing(), pytest.raises(CaptureError, match="at most 64 values, got 128 combinations of draws"):
        lifter_of(setting).lift(print, tuple(setting.flip(0, 1) for _ in range(7)), {})


def test_lists_keep_what_varies_and_sums_are_lazy() -> None:
    setting, log, kept = Setting(), FakeLog(), []
    lifter, varying, draw = lifter_of(setting, log), setting.flip(1, 2), UniformDraw(0)
    with setting.tracing():
        assert lifter.call_varied(kept.append, (varying,), {}) is None
        assert kept[0] is varying
        assert lifter.call_varied(list, ((varying,),), {}) == [varying]
        assert values_of(lifter.call_varied(sum, ([varying, 10],), {})) == [11, 12]
        assert values_of(lifter.call_varied(any, ([setting.flip(0, 1), False],), {})) == [False, True]
        assert values_of(lifter.call_varied(abs, (setting.flip(-1, -2),), {})) == [1, 2]
        assert lifter.call_varied(isinstance, (draw, float), {}) is True
    assert log.calls == 0
