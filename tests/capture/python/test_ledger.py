from __future__ import annotations

from torch import nn

from rr_export import LayerChoice
from rr_export.capture.python import diagram as dd
from rr_export.capture.python.decisions import Decision
from rr_export.capture.python.ledger import Ledger
from tests.capture.python.setting import LINE, Setting


def coin(ledger: Ledger, kind: str = "draw", low: int = 0, high: int = 1) -> dd.Diagram:
    number = ledger.add(Decision(kind, LINE, ledger.guard))
    return dd.node(number, (0.5,), (dd.Leaf(low), dd.Leaf(high)))


def is_one(which: dd.Diagram) -> dd.Diagram:
    return dd.apply(lambda k: k == 1, which)


def test_branch_narrows_where_the_code_is_and_widens_again() -> None:
    ledger = Ledger()
    which = coin(ledger)
    with ledger.branch(is_one(which)):
        assert (ledger.depth, ledger.here(which)) == (1, dd.Leaf(1))
    assert (ledger.depth, ledger.guard, ledger.here(which)) == (0, dd.TRUE, which)


def test_branch_that_raises_is_left() -> None:
    ledger = Ledger()
    try:
        with ledger.branch(is_one(coin(ledger))):
            raise ValueError
    except ValueError:
        assert (ledger.depth, ledger.guard) == (0, dd.TRUE)


def test_decision_that_is_used_is_cut_and_asked_only_where_the_code_is() -> None:
    ledger = Ledger()
    outer, inner = coin(ledger), coin(ledger)
    with ledger.branch(is_one(outer)):
        ledger.use(inner)
    unused, used = ledger.decisions
    assert (unused.cuts, unused.asked) == (set(), dd.FALSE)
    assert (used.cuts, used.asked) == ({0.5}, is_one(outer))


def test_decision_made_in_a_branch_is_not_made_outside() -> None:
    ledger = Ledger()
    outer = coin(ledger)
    with ledger.branch(is_one(outer)):
        coin(ledger)
        assert ledger.is_made(1)
    assert ledger.is_made(0)
    assert not ledger.is_made(1)


def test_one_draw_decides_by_intervals_and_two_or_a_gate_do_not() -> None:
    ledger = Ledger()
    first, second, gate = coin(ledger), coin(ledger), coin(ledger, "gate")
    both = dd.apply(lambda a, b: a & b, first, second)
    again = dd.node(0, (0.25, 0.5), (dd.Leaf(0), dd.Leaf(1), dd.Leaf(0)))
    assert [ledger.is_by_one(d) for d in (first, both, gate, again, dd.TRUE)] == [True, False, False, False, False]
    assert [ledger.has_gates(d) for d in (first, gate)] == [False, True]


def test_site_is_one_decision_however_often_it_is_entered() -> None:
    ledger, site = Ledger(), LayerChoice(nn.Identity(), keep=0.5)
    guards = []
    for branch in (1, 0, 1):
        with ledger.route(0, "layer", site, branch):
            guards.append(ledger.guard)
    assert len(ledger.decisions) == 1
    assert (ledger.decisions[0].kind, ledger.decisions[0].cuts) == ("site", {1.0})
    assert guards[0] is guards[2] is not guards[1]
    assert dd.either(*guards[:2]) is dd.TRUE


def test_settings_draw_differs_each_time() -> None:
    setting = Setting()
    assert setting.coin() is not setting.coin()
