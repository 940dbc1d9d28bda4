from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.chains import policies_of
from rr_export.capture.python.conclude import Program, asked_route, conclude, decided_calls
from rr_export.capture.python.decisions import Deciding, Decision, Line
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.random_functions import Law
from rr_export.capture.recorder import Call
from rr_export.errors import CaptureError
from rr_export.laws.policies import Categorical, MarkovStep


def outcomes(*probabilities: float) -> Law:
    return Law(probabilities, tuple("abcdef"[: len(probabilities)]))


def draw(ledger: Ledger, law: Law | dd.Diagram, line: int, cuts: Sequence[float] = (1.0,)) -> dd.Diagram:
    """Returns the number of the outcome of a new draw, which is used here."""
    diagram = dd.Leaf(law) if isinstance(law, Law) else law
    number = ledger.add(Decision("draw", Line("model.py", line, "net"), ledger.guard, diagram))
    route = dd.node(number, cuts, [dd.Leaf(k) for k in range(len(cuts) + 1)])
    ledger.use(route)
    ledger.use(diagram)
    return route


def concluded(ledger: Ledger) -> Program:
    """Returns the program of a run that made these decisions and has no sites of modules."""
    recorder = SimpleNamespace(sites={}, names=())
    run = SimpleNamespace(recorder=recorder, decisions=ledger.decisions, by_site={}, training=("kept",))
    return conclude(run)  # type: ignore[arg-type]


def test_draws_become_sites_under_the_routes_that_lead_there() -> None:
    ledger = Ledger()
    first = draw(ledger, outcomes(0.25, 0.25, 0.5), 3, cuts=(2.0,))
    with ledger.branch(dd.apply(bool, first)):
        draw(ledger, Law(), 5, cuts=(0.125,))
    program = concluded(ledger)
    outer, inner = program.plan.sites
    assert (outer.name, outer.branches, outer.kind, outer.calls) == ("model.py:3", ("a,b", "c"), "python", ((),))
    assert (inner.name, inner.branches, inner.calls) == ("model.py:5", ("0..0.125", "0.125..1"), (((0, 1),),))
    assert (outer.policy, inner.policy) == (Categorical([0.5, 0.5]), Categorical([0.125, 0.875]))
    assert (program.draws, program.sites, program.training) == ((0, 1), {0: 0, 1: 1}, ("kept",))


def test_draw_that_no_branch_asks_is_no_site_and_a_line_that_draws_twice_is_two() -> None:
    ledger = Ledger()
    ledger.add(Decision("draw", Line("model.py", 1), ledger.guard, dd.Leaf(Law())))
    draw(ledger, Law(), 3, (0.5,))
    draw(ledger, Law(), 3, (0.25,))
    program = concluded(ledger)
    assert [site.name for site in program.plan.sites] == ["model.py:3[0]", "model.py:3[1]"]
    assert (len(program.decisions), program.sites) == (3, {1: 0, 2: 1})


def test_condition_on_the_input_leaves_open_whether_a_draw_is_asked() -> None:
    ledger = Ledger()
    gate = dd.node(ledger.add(Decision("gate", Line("model.py", 2), ledger.guard)), (1.0,), (dd.FALSE, dd.TRUE))
    with ledger.branch(gate):
        draw(ledger, Law(), 3, (0.5,))
    (site,) = concluded(ledger).plan.sites
    assert site.calls == ((),)


def test_law_that_depends_on_a_draw_is_the_next_step_of_its_chain() -> None:
    ledger = Ledger()
    first = draw(ledger, outcomes(0.5, 0.5), 3)
    draw(ledger, dd.apply(lambda k: (outcomes(0.25, 0.75), outcomes(1.0, 0.0))[k], first), 4)
    policies = policies_of(ledger.decisions, (0, 1))
    before, after = policies[0], policies[1]
    assert isinstance(before, MarkovStep)
    assert isinstance(after, MarkovStep)
    assert (before.chain is after.chain, before.index, after.index) == (True, 0, 1)
    assert (before.table.tolist(), after.table.tolist()) == ([[0.5, 0.5]], [[0.25, 0.75], [1.0, 0.0]])
    assert concluded(ledger).plan.chains == ((0, 1),)


def test_laws_that_are_no_chain_are_refused() -> None:
    ledger = Ledger()
    first = draw(ledger, outcomes(0.5, 0.5), 3)
    for line in (4, 5):
        draw(ledger, dd.apply(lambda k: (outcomes(0.25, 0.75), outcomes(1.0, 0.0))[k], first), line)
    with pytest.raises(
        CaptureError, match=r"^model.py:5: expected a chain, .* got those of model.py:4 and model.py:5;"
    ):
        policies_of(ledger.decisions, (0, 1, 2))
    with pytest.raises(CaptureError, match=r"^model.py:4: expected a law that depends on a draw, got one .* on a site"):
        policies_of(ledger.decisions, (1,))


def test_probability_that_no_draw_hits_is_refused() -> None:
    ledger = Ledger()
    draw(ledger, outcomes(1 - 2.0**-30, 2.0**-30), 3)
    with pytest.raises(CaptureError, match=r"^model.py:3: expected probabilities that draws can hit, got "):
        concluded(ledger)


def test_calls_know_their_site_and_the_least_route_of_every_branch() -> None:
    ledger = Ledger()
    route = draw(ledger, outcomes(0.25, 0.25, 0.5), 3, cuts=(1.0, 2.0))
    program, line = concluded(ledger), Line("model.py", 9)
    late = dd.apply(lambda k: int(k == 2), route)
    deciding = {0: Deciding(late, line, ("no", "yes")), 1: Deciding(late, line, ("off", "on"), computed=True)}
    run = SimpleNamespace(recorder=SimpleNamespace(calls=[Call(-1, ()), Call(-1, ())]), deciding=deciding)
    first, second = decided_calls(run, program)  # type: ignore[arg-type]
    assert (first.site, first.firsts, first.names) == (0, (0, 2), ("model.py:3", "no", "yes"))
    assert (second.site, second.firsts, second.names) == (-1, (), ("model.py:9", "off", "on"))
    assert [asked_route(program, 0, cut) for cut in (1.0, 2.0)] == [(0, 1), (0, 2)]
