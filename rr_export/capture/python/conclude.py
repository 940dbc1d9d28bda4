"""From a finished run over all ways to what it decides, as sites of a plan."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.chains import policies_of
from rr_export.capture.python.decisions import Decision, Line
from rr_export.capture.python.interpreter import Interpreter
from rr_export.capture.python.training_mode_routes import EVALUATING, TrainingRoutes
from rr_export.capture.recorder import Call
from rr_export.errors import CaptureError, PlanError
from rr_export.laws.plan import Plan, Site

KIND = "python"
MOST_CALLS = 4_096


@dataclass(frozen=True)
class Program:
    """The decisions of a model's own code.

    Attributes:
        plan: module sites, then the draws that choose, in the order in which they are made.
        decisions: all that is decided, in order.
        draws: indices of the sites that are draws.
        sites: site index by decision.
        training: the modules whose training routes are kept.
    """

    plan: Plan
    decisions: tuple[Decision, ...]
    draws: tuple[int, ...]
    sites: Mapping[int, int]
    training: TrainingRoutes = EVALUATING


def conclude(tracing: Interpreter) -> Program:
    """Returns the decisions of a finished run as a plan.

    Raises:
        CaptureError: laws depend on each other other than in a chain.
    """
    recorder = tracing.recorder
    decisions = tuple(tracing.decisions)
    draws = [i for i, d in enumerate(decisions) if d.kind == "draw" and d.cuts and d.asked != dd.FALSE]
    count = len(recorder.sites)
    sites = {number: site for site, number in tracing.by_site.items()} | {d: count + i for i, d in enumerate(draws)}
    names = _names([decisions[i].line for i in draws], set(recorder.names))
    policies = policies_of(decisions, draws)
    rows: list[Site] = []
    by_decision = {site: number for number, site in sites.items()}
    for index, (name, module) in enumerate(recorder.sites.items()):
        number = by_decision.get(index)
        calls = () if number is None else _calls(decisions, number, sites)
        rows.append(Site(name, module.branch_names, module.policy, module.kind, calls))
    for i, number in enumerate(draws):
        branches = _branch_names(decisions[number], tuple(sorted(decisions[number].cuts)))
        rows.append(Site(names[i], branches, policies[number], KIND, _calls(decisions, number, sites)))
    try:
        plan = Plan(rows)
    except PlanError as error:
        raise CaptureError(f"model: expected decisions that a plan can hold, got {error}") from error
    return Program(plan, decisions, tuple(range(count, len(rows))), sites, tracing.training)


def _names(lines: Sequence[Line], taken: set[str]) -> list[str]:
    """A readable name for each draw: its line, with its module where several share it, and a number where needed."""
    short = {str(line) for line in lines}
    several = {s for s in short if len({line.module for line in lines if str(line) == s}) > 1}
    names = [line.name if str(line) in several else str(line) for line in lines]
    counts = {n: names.count(n) for n in names}
    seen: dict[str, Iterator[int]] = {n: itertools.count() for n in names}
    numbered = [f"{n}[{next(seen[n])}]" if counts[n] > 1 else n for n in names]
    return [f"python:{n}" if n in taken else n for n in numbered]


def _branch_names(decision: Decision, cuts: tuple[float, ...]) -> tuple[str, ...]:
    law = decision.laws()[0]
    edges = [0.0, *cuts, 1.0 if law.probabilities is None else float(len(law.probabilities))]
    if law.probabilities is None:
        return tuple(f"{a:.6g}..{b:.6g}" for a, b in itertools.pairwise(edges))
    groups = [range(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    names = []
    for group in groups:
        values = [_named(law.values[k]) for k in group]
        if all(isinstance(v, bool | int | float | str) for v in values):
            names.append(",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values))
        else:
            names.append(",".join(map(str, group)))
    return tuple(names) if len(set(names)) == len(names) else tuple(map(str, range(len(names))))


def _named(value: Any) -> Any:
    """What to call an outcome: of several that were chosen at once, all of them."""
    if isinstance(value, tuple) and all(isinstance(v, int | str) for v in value):
        return "-".join(map(str, value))
    return value


def _routes(span: dd.Span, cuts: Sequence[float]) -> range:
    """The routes whose intervals lie in a span."""
    low, high = span
    first = 0 if low == -float("inf") else sorted(cuts).index(low) + 1
    last = len(cuts) if high == float("inf") else sorted(cuts).index(high)
    return range(first, last + 1)


def _calls(decisions: Sequence[Decision], number: int, sites: Mapping[int, int]) -> tuple[Any, ...]:
    """Under which routes of which sites a decision is asked; conditions on the input are left open."""
    asked = _open_gates(decisions[number].asked, decisions)
    found: dict[tuple[tuple[int, int], ...], None] = {}
    for way, leaf in dd.paths(asked):
        if not leaf.value:
            continue
        options = [[(sites[d], route) for route in _routes(span, sorted(decisions[d].cuts))] for d, span in way.items()]
        for pairs in itertools.product(*options):
            found[tuple(pairs)] = None
            if len(found) > MOST_CALLS:
                raise CaptureError(
                    f"{decisions[number].line}: expected at most {MOST_CALLS} combinations of decisions that lead "
                    "here, got more; decide with fewer draws"
                )
    return tuple(found)


def _open_gates(diagram: dd.Diagram, decisions: Sequence[Decision]) -> dd.Diagram:
    if isinstance(diagram, dd.Leaf):
        return diagram
    children = [_open_gates(c, decisions) for c in diagram.children]
    if decisions[diagram.decision].kind == "gate":
        return functools.reduce(dd.either, children)
    return dd.node(diagram.decision, diagram.cuts, children)


def decided_calls(tracing: Interpreter, program: Program) -> list[Call]:
    """Returns the recorder's calls, with the site that decides each, and the least route of every branch."""
    calls = []
    for number, call in enumerate(tracing.recorder.calls):
        deciding = tracing.deciding.get(number)
        if deciding is None:
            calls.append(replace(call, names=(), which=tracing.by_route(call.site)))
            continue
        which = deciding.which
        if deciding.computed:
            calls.append(replace(call, names=(f"{deciding.line}", *deciding.names), which=which))
            continue
        assert isinstance(which, dd.Node)
        cuts = sorted(program.decisions[which.decision].cuts)
        firsts = (0, *(cuts.index(c) + 1 for c in which.cuts))
        site = program.sites[which.decision]
        names = (program.plan.sites[site].name, *deciding.names)
        calls.append(replace(call, site=site, firsts=firsts, names=names, which=which))
    return calls


def asked_route(program: Program, decision: int, cut: float) -> tuple[int, int]:
    """Returns (site, m) such that a draw lies at ``cut`` or above where its route is at least m."""
    cuts = sorted(program.decisions[decision].cuts)
    return program.sites[decision], cuts.index(cut) + 1
