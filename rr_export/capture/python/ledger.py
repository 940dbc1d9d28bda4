"""The decisions of one run over all ways, in order, and under which of them the code runs now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.decisions import Decision, Line
from rr_export.eager.choice import Choice


class Ledger:
    """The decisions of one run over all ways.

    Attributes:
        decisions: in the order in which they are made.
        guard: how they went, where the code runs now.
        by_site: the decisions that are routes of sites of rr_export, by the index of the site.
        depth: how many branches of the code there are around here.
    """

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.guard: dd.Diagram = dd.TRUE
        self.by_site: dict[int, int] = {}
        self.depth = 0

    def add(self, decision: Decision) -> int:
        """Returns the number of a new decision."""
        self.decisions.append(decision)
        return len(self.decisions) - 1

    def here(self, diagram: dd.Diagram) -> dd.Diagram:
        """Returns a diagram as it is under the decisions that are made here."""
        return dd.given(diagram, self.guard)

    def here_since(self, outer: dd.Diagram) -> dd.Diagram:
        """Returns where the code is on this way, given that it is on an outer one."""
        return dd.given(self.guard, outer)

    def is_made(self, number: int) -> bool:
        """Returns whether a decision was made on every way that leads here."""
        return self.here(self.decisions[number].made) is dd.TRUE

    def use(self, which: dd.Diagram) -> None:
        """A branch, or a law, depends on these decisions here."""
        for node, condition in dd.nodes(which):
            decision = self.decisions[node.decision]
            decision.cuts |= set(node.cuts)
            decision.asked = dd.either(decision.asked, dd.both(self.guard, condition))

    def has_gates(self, which: dd.Diagram) -> bool:
        """Returns whether a diagram depends on a condition on the input."""
        return any(self.decisions[d].kind == "gate" for d in dd.decisions(which))

    def is_by_one(self, which: dd.Diagram) -> bool:
        """Returns whether one draw or site decides, by contiguous intervals."""
        if isinstance(which, dd.Leaf) or len(dd.decisions(which)) != 1:
            return False
        values = [child.value for child in which.children if isinstance(child, dd.Leaf)]
        return len(values) == len(which.children) == len(set(values)) and (
            self.decisions[which.decision].kind != "gate"
        )

    @contextmanager
    def branch(self, condition: dd.Diagram) -> Iterator[None]:
        """Inside, the code runs in a branch, where the condition holds."""
        self.depth += 1
        try:
            with self._where(condition):
                yield
        finally:
            self.depth -= 1

    @contextmanager
    def route(self, site: int, name: str, module: Choice, branch: int) -> Iterator[None]:
        """Inside, the site takes this branch: its route is one more decision."""
        if site not in self.by_site:
            cuts = {float(k) for k in range(1, len(module.branch_names))}
            self.by_site[site] = self.add(Decision("site", Line(name, 0), self.guard, site=module, cuts=cuts))
        number = self.by_site[site]
        decision = self.decisions[number]
        decision.asked = dd.either(decision.asked, self.guard)
        cuts_ = sorted(decision.cuts)
        marks = [dd.Leaf(k == branch) for k in range(len(cuts_) + 1)]
        with self._where(dd.node(number, cuts_, marks)):
            yield

    def by_route(self, site: int) -> dd.Diagram:
        """Returns the route of a site, whose branches were run, by the decision that it is."""
        number = self.by_site[site]
        cuts = sorted(self.decisions[number].cuts)
        return dd.node(number, cuts, [dd.Leaf(k) for k in range(len(cuts) + 1)])

    @contextmanager
    def _where(self, condition: dd.Diagram) -> Iterator[None]:
        outer = self.guard
        self.guard = dd.both(outer, condition)
        try:
            yield
        finally:
            self.guard = outer
