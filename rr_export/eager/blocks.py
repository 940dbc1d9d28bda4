"""The blocks in which runs take a path, use the draws of a seed, or are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rr_export.eager.code_sites import all_sites, code_of
from rr_export.eager.directives import Directive, Record, Watcher, active_directives
from rr_export.eager.open_runs import open_runs_at, plan_for_run
from rr_export.laws.plan import Plan
from rr_runtime.draws import draws as seeded_draws


@contextmanager
def _directed(
    model: nn.Module,
    tell: Callable[[Plan], tuple[NDArray[np.int64] | None, NDArray[np.float32] | None]],
    watcher: Watcher | None = None,
) -> Iterator[Record]:
    named = all_sites(model)
    routes, draws = tell(plan_for_run(model, named))
    open_runs_at(model)
    directive = Directive(model, tuple(named.values()), routes, draws, Record(), watcher)
    token = active_directives.set((*active_directives.get(), directive))
    try:
        yield directive.record
    finally:
        active_directives.reset(token)


@contextmanager
def forced(model: nn.Module, path: Sequence[int] | NDArray[np.int64]) -> Iterator[Record]:
    """Inside the block every run of ``model`` takes ``path``.

    Args:
        model: the root of the runs.
        path: int [S] in site order; -1 lets the site draw, 0..K-1 forces its route. Forcing is an
            intervention: later steps of a Markov chain see the forced route, nothing else changes.

    Yields:
        A :class:`Record` of the runs in the block (``record.path`` is the last one's path, int64 [S]).

    Raises:
        ValueError: the path has the wrong length, or names a route that its site does not have.
    """

    def tell(plan: Plan) -> tuple[NDArray[np.int64], None]:
        try:
            return plan.check_path(path), None
        except ValueError as error:
            if code_of(model) is not None:
                raise
            raise ValueError(
                f"{error} (decisions of the model's own code are sites after rr.plan_of(model, args))"
            ) from None

    with _directed(model, tell) as record:
        yield record


@contextmanager
def seeded(model: nn.Module, seed: int) -> Iterator[Record]:
    """Inside the block every run of ``model`` uses the draws of ``seed``, the same as an exported file.

    Args:
        model: the root of the runs.
        seed: 0 <= seed < 2^63.

    Yields:
        A :class:`Record` of the runs in the block.

    Raises:
        ValueError: the seed is out of range.
    """
    with _directed(model, lambda plan: (None, seeded_draws(seed, len(plan.sites)))) as record:
        yield record


@contextmanager
def recorded(model: nn.Module) -> Iterator[Record]:
    """Inside the block the paths of all runs of ``model`` are kept; the draws stay torch's own.

    Yields:
        A :class:`Record` of the runs in the block.
    """
    with _directed(model, lambda plan: (None, None)) as record:
        yield record


@contextmanager
def watched(model: nn.Module, watcher: Watcher) -> Iterator[Record]:
    """Inside the block ``watcher`` calls the branches of all sites of ``model``, and is told of its finished runs.

    Args:
        model: the root of the runs.
        watcher: is asked only while gradients are recorded.

    Yields:
        A :class:`Record` of the runs in the block.
    """
    with _directed(model, lambda plan: (None, None), watcher) as record:
        yield record
