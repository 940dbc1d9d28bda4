from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.branching import Branching
from rr_export.capture.python.calls import NativeCalls
from rr_export.capture.python.coins import Coins
from rr_export.capture.python.drawing import Drawing
from rr_export.capture.python.effects import Effects
from rr_export.capture.python.intercepting import stand_ins
from rr_export.capture.python.lifting import CALLEE, Method
from rr_export.capture.python.random_functions import sample
from rr_export.capture.python.values import Sifted, UniformDraw, Varying
from rr_export.errors import CaptureError
from tests.capture.python.setting import FakeLog, Setting

LIFTED = SimpleNamespace(
    lift=lambda function, args, kwargs: ("lifted", function, args), call_varied=lambda *call: ("varied", *call)
)


def natives_of(setting: Setting) -> NativeCalls:
    """Returns what calls, with something in place of the lifter that says what it is asked."""

    def call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **kwargs)

    branching = Branching(
        setting.splitter(FakeLog()), setting.ledger, setting.markers, setting.numbers, setting.whereabouts
    )
    drawing = Drawing(setting.ledger, setting.numbers, setting.memory, setting.whereabouts)
    effects = Effects(setting.ledger, setting.memory, setting.whereabouts)
    parts: Any = (setting.stack, branching, LIFTED, drawing, setting.numbers, effects, call, Coins())
    return NativeCalls(*parts)


def test_what_does_not_vary_is_called() -> None:
    natives = natives_of(Setting(variables={"a": 1}))
    assert natives.call(max, ([1, 2],), {"key": abs}) == 2
    assert natives.call(sum, (iter([1, 2]),), {}) == 3
    assert natives.call(locals, (), {}) == {"a": 1}
    with pytest.raises(CaptureError, match=r"got eval\(\); write it out"):
        natives.call(eval, ("1",), {})


def test_what_varies_is_lifted() -> None:
    setting = Setting()
    natives, varying = natives_of(setting), setting.flip(1, 2)
    assert natives.call(max, (varying, 3), {"key": abs}) == ("varied", max, (varying, 3), {"key": abs})
    with setting.tracing():
        callee = setting.flip(len, abs)
        assert natives.call(callee, (3,), {})[1] is CALLEE
    name, method, args = natives.call_method(varying, "index", (3,), {})
    assert (name, method, args) == ("lifted", Method("index"), (varying, 3))


def test_random_function_is_a_decision_also_behind_a_stand_in() -> None:
    setting = Setting()
    natives = natives_of(setting)
    assert isinstance(natives.call(random.random, (), {}), UniformDraw)
    with stand_ins([]):
        assert isinstance(natives.call(random.random, (), {}), UniformDraw)
    assert [d.kind for d in setting.ledger.decisions] == ["draw", "draw"]


def test_sample_of_a_distribution_that_varies_has_a_law_that_does() -> None:
    setting = Setting()
    natives = natives_of(setting)
    either = setting.flip(*(Bernoulli(torch.tensor(p)) for p in (0.25, 0.5)))
    with setting.tracing():
        natives.call_method(either, "sample", (), {})
    assert [law.probabilities for law in setting.ledger.decisions[1].laws()] == [(0.75, 0.25), (0.5, 0.5)]
    assert natives.call_method(setting.flip("a", "b"), "sample", (), {})[1] == Method("sample") != sample


def test_dropout_that_is_off_computes() -> None:
    natives, x = natives_of(Setting()), torch.ones(2)
    assert natives.draw(F.dropout, (x, 0.5, False), {}).tolist() == [1, 1]
    assert natives.call(F.dropout, (x, 1.0, True), {}).tolist() == [0, 0]
    with pytest.raises(CaptureError, match=r"got one that is used as a number \(dropout in training\)"):
        natives.draw(F.dropout, (x, 0.5, True), {})


def test_cond_goes_both_ways() -> None:
    setting = Setting()
    with stand_ins([]), setting.tracing():
        result = natives_of(setting).call(torch.cond, (setting.flip(False, True), max, min, (1, 2)), {})
    assert dd.leaves(result.diagram) == [1, 2]


def test_number_of_a_tensor_is_known_or_a_condition() -> None:
    setting, x, fixed = Setting(), torch.ones(1), torch.full((1,), 2.5)
    setting.varied.add(x)
    natives = natives_of(setting)
    assert (natives.call(fixed.item, (), {}), natives.call(int, (fixed,), {})) == (2.5, 2)
    assert natives.call(fixed.tolist, (), {}) == [2.5]
    item = natives.call(x.item, (), {})
    assert (item.shape, item.dtype) == ((), torch.float64)
    with setting.tracing():
        assert isinstance(natives.call(bool, (x,), {}), Varying)
    for function, args, what in ((x.tolist, (), r"\.tolist\(\)"), (float, (x,), r"float\(\)")):
        with pytest.raises(CaptureError, match=f"number that is the same in every run, got {what} of a tensor"):
            natives.call(function, args, {})


def test_list_that_is_longer_on_some_paths_has_a_length_and_a_whole() -> None:
    setting = Setting()
    natives = natives_of(setting)
    with setting.tracing():
        sifted = Sifted([(True, "x"), (setting.flip(False, True), "y")])
        assert dd.leaves(natives.call(len, (sifted,), {}).diagram) == [1, 2]
        _, function, (whole,), _ = natives.call(sorted, (sifted,), {})
    assert (function, dd.leaves(whole.diagram)) == (sorted, [["x"], ["x", "y"]])
