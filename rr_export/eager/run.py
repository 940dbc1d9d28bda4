"""What a run is: one outermost forward of a model, and the route that every site takes in it."""

from __future__ import annotations

from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rr_export.eager.choice import Choice, identity
from rr_export.eager.code_sites import CodeSite
from rr_export.eager.directives import Directive, Watcher
from rr_export.eager.gate import gate_logits, gate_route
from rr_export.errors import RunError
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Gated


@dataclass
class Run:
    """One outermost forward of ``root``."""

    root: nn.Module
    sites: tuple[Choice | CodeSite, ...]
    routes: NDArray[np.int64]
    asked: NDArray[np.int64]  # the forced routes, -1 elsewhere
    draws: NDArray[np.float32]
    directives: tuple[Directive, ...]
    parent: Run | None
    frame: FrameType | None
    own: frozenset[int] = frozenset()  # positions of sites that nobody told anything: the code draws them itself
    reached: set[int] = field(default_factory=set)
    depth: int = 1
    finished: bool = False
    drawn: dict[int, int] = field(default_factory=dict)  # what the code drew itself
    logits: dict[int, Tensor] = field(default_factory=dict)  # of the gates that decided
    code: ExitStack = field(default_factory=ExitStack)
    notes: dict[int, Any] = field(default_factory=dict)  # of a block that watches, by the position of a site

    def __post_init__(self) -> None:
        self.positions = {identity(site): i for i, site in enumerate(self.sites)}

    def index(self, site: Choice | CodeSite) -> int | None:
        """Returns the position of a site in this run, None where it is not its own."""
        return self.positions.get(identity(site))

    def watcher_of(self, site: Choice) -> Watcher | None:
        """Returns who calls the branches of a site in place of itself: the innermost block that watches it."""
        watching = (d.watcher for d in reversed(self.directives) if d.watcher is not None and d.knows(site))
        return next(watching, None)

    def route_of(self, site: CodeSite) -> int | None:
        """Returns the route that the site is to take; None: what it draws itself."""
        index = self.positions[identity(site)]
        return None if index in self.own else int(self.routes[index])

    def route_of_module(self, site: Choice) -> int:
        """Returns the route of a site of the module tree."""
        return int(self.routes[self.positions[identity(site)]])

    def decide(self, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The gate of the site has decided, for these arguments; a forced route stays.

        Raises:
            RunError: it has decided in this run already, or gives no logits.
        """
        index, where = self.positions[identity(site)], f"{type(site).__name__} with a gate"
        if index in self.reached:
            raise RunError(
                f"{where}: expected one call in a run, got a second one, for which the gate could decide otherwise; "
                "route what is called once, or make a site for each call"
            )
        assert isinstance(site.law, Gated)
        logits = gate_logits(site, site.law, where, args, kwargs)
        self.logits[index] = logits
        if self.asked[index] < 0:
            self.routes[index] = gate_route(logits, site.law.decision, float(self.draws[index]), where)

    def took(self, site: CodeSite, route: int) -> None:
        """Writes down which route a site took."""
        self.drawn[self.positions[identity(site)]] = route

    def finish(self, plan: Plan) -> None:
        """After the model's own code ran: sites that it did not come to are drawn too, after those that it drew.

        Conditions on the input are left open, as in ``plan``: a site behind one counts as reached.
        """
        if not self.finished:
            return
        known = self.asked.copy()
        known[list(self.logits)] = self.routes[list(self.logits)]
        for index, route in self.drawn.items():
            known[index] = route
        self.routes = plan.routes(self.draws, known)
        self.reached = set(np.flatnonzero(plan.reach(self.routes)).tolist())

    def report(self, directive: Directive) -> None:
        """Adds this run to the directive's record, if it holds all its sites."""
        if directive.sites and directive.positions.keys() <= self.positions.keys():
            mine = [self.positions[identity(s)] for s in directive.sites]
            reached = np.array([i in self.reached for i in mine])
            directive.record.routes.append(self.routes[mine])
            directive.record.logits.append({at: self.logits[i] for at, i in enumerate(mine) if i in self.logits})
            directive.record.paths.append(np.where(reached, self.routes[mine], -1))
            if directive.watcher is not None:
                directive.watcher.finished(self)


current_run: ContextVar[Run | None] = ContextVar("rr_run", default=None)
