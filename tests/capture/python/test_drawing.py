from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.drawing import ComparedAgainError, Drawing
from rr_export.capture.python.random_functions import Law
from rr_export.capture.python.values import Drawn, UniformDraw, Varying
from rr_export.errors import CaptureError
from tests.capture.python.setting import Setting


def drawing_of(setting: Setting) -> Drawing:
    return Drawing(setting.ledger, setting.numbers, setting.memory, setting.whereabouts)


def test_uniform_number_is_a_draw_with_its_bounds() -> None:
    setting = Setting()
    drawn = drawing_of(setting).draw(random.uniform, (1, 3), {})
    assert isinstance(drawn, UniformDraw)
    assert (drawn.decision, drawn.scale, drawn.offset) == (0, 2.0, 1.0)
    (decision,) = setting.ledger.decisions
    assert (decision.kind, str(decision.line), decision.law.value) == ("draw", "model.py:1", Law())


def test_outcome_varies_by_its_draw() -> None:
    setting = Setting()
    drawn = drawing_of(setting).draw(random.choice, ("abc",), {})
    assert drawn.diagram == dd.node(0, (1.0, 2.0), (dd.Leaf("a"), dd.Leaf("b"), dd.Leaf("c")))
    assert setting.ledger.decisions[0].laws() == [Law((1 / 3,) * 3, ("a", "b", "c"))]
    assert drawing_of(setting).draw(random.choice, (["only"],), {}) == "only"


def test_list_and_tensor_are_a_draw_for_each_element() -> None:
    setting = Setting()
    drawing = drawing_of(setting)
    first, second = drawing.draw(random.choices, ("ab",), {"weights": [1, 3], "k": 2})
    tensor = drawing.draw(torch.bernoulli, (torch.tensor([[0.25], [0.5]]),), {})
    assert [dd.decisions(v.diagram) for v in (first, second)] == [{0}, {1}]
    assert (type(tensor), tensor.shape, tensor.like) == (Drawn, (2, 1), "torch")
    laws = [d.law.value.probabilities for d in setting.ledger.decisions]
    assert laws == [(0.25, 0.75), (0.25, 0.75), (0.75, 0.25), (0.5, 0.5)]


def test_draw_in_place_is_what_the_name_holds_from_now_on() -> None:
    setting = Setting(variables={"x": torch.zeros(1)})
    result = drawing_of(setting).draw(torch.Tensor.uniform_, (setting.variables["x"],), {})
    assert setting.variables["x"] is result
    assert [type(v) for v in result.values] == [UniformDraw]


def test_law_may_depend_on_one_decision_which_is_then_asked() -> None:
    setting = Setting()
    with setting.tracing():
        drawing_of(setting).draw(np.random.binomial, (1, setting.flip(0.25, 0.5)), {})
    before, after = setting.ledger.decisions
    assert (before.cuts, before.asked) == ({0.5}, dd.TRUE)
    assert [law.probabilities for law in after.laws()] == [(0.75, 0.25), (0.5, 0.5)]


def test_number_that_varies_is_compared_as_a_law() -> None:
    setting = Setting()
    drawing = drawing_of(setting)
    draw = drawing.draw(random.uniform, (0, 2), {})
    bound = setting.flip(0.5, 3.0)
    with setting.tracing():
        below = drawing.compare_varying(draw, bound, below=True)
        assert [law.probabilities for law in setting.ledger.decisions[0].laws()] == [(0.25, 0.75), (1.0, 0.0)]
        assert below.diagram == dd.node(0, (1.0,), (dd.TRUE, dd.FALSE))
        with pytest.raises(ComparedAgainError):
            drawing.compare_varying(draw, bound, below=True)
        with pytest.raises(ComparedAgainError):
            drawing.compares(draw)
        other = drawing.draw(random.random, (), {})
        settled = drawing.compare_varying(other, Varying(dd.Leaf(0.25)), below=False)
    assert settled.diagram == dd.node(2, (0.25,), (dd.FALSE, dd.TRUE))


def test_draw_that_is_compared_again_is_cut_by_every_number() -> None:
    setting = Setting()
    drawing = Drawing(setting.ledger, setting.numbers, setting.memory, setting.whereabouts, {0})
    draw = drawing.draw(random.uniform, (0, 2), {})
    low, high = dd.node(0, (0.25,), (dd.TRUE, dd.FALSE)), dd.node(0, (0.5,), (dd.TRUE, dd.FALSE))
    with setting.tracing():
        drawing.compares(draw)
        below = drawing.compare_varying(draw, setting.flip(0.5, 1.0), below=True)
        assert dd.given(below.diagram, dd.node(1, (0.5,), (dd.TRUE, dd.FALSE))) is low
        assert dd.given(below.diagram, dd.node(1, (0.5,), (dd.FALSE, dd.TRUE))) is high
        number = dd.node(1, [k / 100 for k in range(1, 80)], [dd.Leaf(k / 50) for k in range(80)])
        with pytest.raises(CaptureError, match="compared with at most 64 numbers, got 80 of them; draw anew"):
            drawing.compare_varying(draw, Varying(number), below=True)
    assert setting.ledger.decisions[0].laws() == [Law()]


def test_dropout_is_off_in_evaluation() -> None:
    drawing, x = drawing_of(Setting()), torch.ones(2)
    assert drawing.is_off(F.dropout, (x, 0.5, False), {})
    assert drawing.is_off(F.dropout, (x, 0.0), {})
    assert not drawing.is_off(F.dropout, (x, 0.5), {})
    assert not drawing.is_off(torch.rand, (1,), {})


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "text"),
    [
        (torch.manual_seed, (0,), {}, r"got a generator that is seeded or made by manual_seed\(\); leave it out"),
        (torch.poisson, (torch.ones(2),), {}, r"draw that chooses, got one that is used as a number \(poisson\)"),
        (
            torch.randperm,
            (6,),
            {},
            "a choice with at most 128 outcomes, got one .* that has 720; choose among",
        ),
        (torch.rand, (2,), {"generator": torch.Generator()}, "got one from a generator that was passed explicitly"),
        (random.choice, ([],), {}, r"expected arguments of a random function, got ValueError: probabilities \[\]"),
        (random.choices, ("ab",), {"k": "K"}, "expected as many numbers on every path, got calls that draw differ"),
        (random.choice, ("WORD",), {}, r"expected as many outcomes on every path, got \[2, 3\]"),
        (random.uniform, (0, "K"), {}, "expected a uniform draw with fixed bounds, got bounds that depend"),
        (np.random.binomial, (1, "P"), {}, r"depend on one decision at most, got .* 2 \(model.py:7, model.py:7\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(function: Any, args: Any, kwargs: Any, text: str) -> None:
    setting = Setting()
    total = dd.apply(lambda a, b: (a + b) / 2, setting.coin(), setting.coin())
    varying = {"K": setting.flip(1, 2), "WORD": setting.flip("ab", "abc"), "P": Varying(total)}
    args = tuple(varying.get(a, a) if isinstance(a, str) else a for a in args)
    kwargs = {k: varying.get(v, v) if isinstance(v, str) else v for k, v in kwargs.items()}
    with setting.tracing(), pytest.raises(CaptureError, match=f"^model.py:1: .*{text}"):
        drawing_of(setting).draw(function, args, kwargs)
