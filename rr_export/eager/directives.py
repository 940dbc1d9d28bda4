"""Who decides: what the blocks around a run say about its routes, and the records that they keep."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from rr_export.eager.choice import Choice, identity
from rr_export.eager.code_sites import CodeSite
from rr_export.errors import RunError


@dataclass
class Record:
    """The runs seen inside a ``forced``, ``seeded`` or ``recorded`` block.

    Attributes:
        paths: one int64 [S] array per finished run: the route of every reached site, -1 where not reached.
        routes: the latent routes of the same runs, reached or not; -1 at gates that were not.
        logits: what the gates of the same runs gave, by the index of their site, [K] each, with its gradient.
    """

    paths: list[NDArray[np.int64]] = field(default_factory=list)
    routes: list[NDArray[np.int64]] = field(default_factory=list)
    logits: list[dict[int, Tensor]] = field(default_factory=list)

    @property
    def path(self) -> NDArray[np.int64]:
        """The path of the last finished run, int64 [S]."""
        if not self.paths:
            raise RunError("record: expected a finished run, got none; call the model inside the block first")
        return self.paths[-1]


class SeenRun(Protocol):
    """What a watcher sees of a run.

    Attributes:
        sites: of the run.
        routes: int64 [S], the latent routes.
        asked: int64 [S], the forced routes, -1 elsewhere.
        reached: positions of the sites that were called.
        logits: what the gates gave, by the position of their site, [K] each.
        notes: what the watcher keeps, by the position of a site; gone with the run.
    """

    sites: tuple[Choice | CodeSite, ...]
    routes: NDArray[np.int64]
    asked: NDArray[np.int64]
    reached: set[int]
    logits: dict[int, Tensor]
    notes: dict[int, Any]


class Watcher(Protocol):
    """What a block does beside directing runs: it calls the branches of sites, and is told of finished runs."""

    def compute(self, run: SeenRun, index: int, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what the site at position ``index`` returns."""

    def finished(self, run: SeenRun) -> None:
        """Takes note of a finished run, which holds all sites of the block's model."""


@dataclass(frozen=True)
class Directive:
    """What one block says about the sites of its model: ``forced``, ``seeded``, ``recorded``, or one that watches."""

    root: nn.Module
    sites: tuple[Choice | CodeSite, ...]
    routes: NDArray[np.int64] | None
    draws: NDArray[np.float32] | None
    record: Record
    watcher: Watcher | None = None
    positions: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.positions.update({identity(site): i for i, site in enumerate(self.sites)})

    def position(self, site: Choice | CodeSite) -> int | None:
        """Returns the position of a site among this block's, None where it is no site of its model."""
        return self.positions.get(identity(site))

    def knows(self, site: Choice | CodeSite) -> bool:
        """Tells whether a site is one of this block's."""
        return identity(site) in self.positions


active_directives: ContextVar[tuple[Directive, ...]] = ContextVar("rr_directives", default=())


@dataclass(frozen=True)
class Told:
    """What the active directives say about the sites of one run, the innermost first.

    Attributes:
        routes: int64 [S], the forced routes, -1 elsewhere.
        draws: float32 [S], in [0, 1): the draws of a seed, 0 elsewhere.
        free: positions of the sites that draw freely.
        own: positions of those among them that nobody told anything and the model's own code draws.
    """

    routes: NDArray[np.int64]
    draws: NDArray[np.float32]
    free: list[int]
    own: frozenset[int]


def told(sites: Sequence[Choice | CodeSite], directives: Sequence[Directive]) -> Told:
    """Returns what the directives say about these sites."""
    routes, draws = np.full(len(sites), -1, dtype=np.int64), np.zeros(len(sites), dtype=np.float32)
    free, own = [], set()
    for i, site in enumerate(sites):
        known = [(d, p) for d in reversed(directives) if (p := d.position(site)) is not None]
        routes[i] = next((d.routes[p] for d, p in known if d.routes is not None and d.routes[p] >= 0), -1)
        draw = next((d.draws[p] for d, p in known if d.draws is not None), None)
        if draw is not None:
            draws[i] = draw
        elif routes[i] < 0:
            free.append(i)
            if isinstance(site, CodeSite) and all(d.routes is None for d, _ in known):
                own.add(i)
    return Told(routes, draws, free, frozenset(own))
