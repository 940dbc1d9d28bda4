from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.effects import Effects
from rr_export.errors import CaptureError
from tests.capture.python.setting import Setting


def effects_of(setting: Setting) -> Effects:
    return Effects(setting.ledger, setting.memory, setting.whereabouts)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (random.Random(0).random, "got one from a Random of its own; use torch.rand"),
        (np.random.default_rng(0).random, "got one from a Generator of its own"),
        (eval, r"expected code whose source is available, got eval\(\); write it out"),
        (exec, r"got exec\(\)"),
    ],
)
def test_call_that_no_graph_can_make_is_refused_anywhere(function: Any, what: str) -> None:
    with pytest.raises(CaptureError, match=f"model.py:1: .*{what}"):
        effects_of(Setting()).check_call(function)


def test_global_generators_and_what_computes_are_not_refused() -> None:
    setting = Setting()
    with setting.ledger.branch(dd.TRUE):
        for function in (random.random, np.random.rand, torch.rand, len, torch.relu):
            effects_of(setting).check_call(function)


@pytest.mark.parametrize(
    ("check", "what"),
    [
        (lambda effects: effects.check_call(print), r"got a side effect, print\(\), that would be lost; move it out"),
        (lambda effects: effects.check_call(next), r"a side effect, next\(\)"),
        (lambda effects: effects.check_global("count"), "the global 'count' is set; return the value"),
        (lambda effects: effects.check_entry(torch.ones(1), 0), "got an assignment into a tensor; use torch.where"),
    ],
)
def test_side_effect_is_refused_in_a_branch_alone(check: Callable[[Effects], None], what: str) -> None:
    setting = Setting()
    effects = effects_of(setting)
    check(effects)
    with setting.ledger.branch(dd.TRUE), pytest.raises(CaptureError, match=f"model.py:1: expected branches .*{what}"):
        check(effects)
    check(effects)


def test_entry_that_varies_is_refused_anywhere() -> None:
    setting = Setting()
    effects_of(setting).check_entry({}, "k")
    with pytest.raises(CaptureError, match="expected an entry that is the same on every path, got one that varies"):
        effects_of(setting).check_entry({}, (0, setting.flip(0, 1)))


def test_in_place_change_is_made_anew_in_a_branch_unless_others_see_it() -> None:
    own = torch.ones(2)
    setting = Setting(variables={"x": own})
    effects = effects_of(setting)
    assert not effects.forbids_in_place(own)
    assert not effects.forbids_in_place(setting.model.weight)
    with setting.ledger.branch(dd.TRUE):
        assert effects.forbids_in_place(own)
        with pytest.raises(CaptureError, match="also used elsewhere"):
            effects.forbids_in_place(setting.model.weight)


@pytest.mark.parametrize("error", [KeyError, KeyError("no")])
def test_error_that_nothing_catches_is_refused(error: Any) -> None:
    with pytest.raises(CaptureError, match=r"model.py:1: expected branches .*got one that raises KeyError: a side eff"):
        effects_of(Setting()).refuse_raise(error)
