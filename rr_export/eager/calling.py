"""What a site does when it is called: it asks the run for its route, and computes that branch.

A site called outside any run that knows it opens one of its own. While a model is captured, its recorder is handed the
call instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from rr_export.eager.choice import Choice, identity, sites_of
from rr_export.eager.open_runs import close_run, open_run
from rr_export.eager.run import Run, current_run
from rr_export.eager.tracers import active_tracer, outside_compiled_code, recorder
from rr_export.errors import RunError
from rr_export.laws.policies import Gated

Watched = Callable[[tuple[Any, ...], dict[str, Any]], Any]


def take_route(site: Choice, /, *args: Any, **kwargs: Any) -> Any:
    """Returns what the branch of this run's route makes of the arguments: the forward of every site."""
    capture = recorder.get()
    if capture is not None:
        return capture.call_site(site, args, kwargs)
    with _site_run(site, (args, kwargs)) as (route, watched):
        return site.branch(route, *args, **kwargs) if watched is None else watched(args, kwargs)


@contextmanager
def _site_run(site: Choice, arguments: Any) -> Iterator[tuple[int, Watched | None]]:
    """Yields the route of ``site`` in the current run, or in a run of its own, and who else calls its branches.

    A block that watches does, where gradients are wanted.
    """
    route, watched, opened = _route(site, arguments)
    finished = False
    try:
        yield route, watched
        finished = True
    finally:
        if opened is not None:
            close_run(opened, finished=finished)


@outside_compiled_code
def _route(site: Choice, arguments: Any) -> tuple[int, Watched | None, Run | None]:
    run = current_run.get()
    index = run.index(site) if run is not None else None
    opened = None
    if run is None or index is None:
        step = getattr(site.law, "index", 0)
        if step > 0:
            raise RunError(
                f"{type(site).__name__}: expected a run that holds the whole Markov chain, got a call of step {step} "
                "outside any run; call rr.plan_of(model) once, so that the model opens the run"
            )
        run = opened = open_run(site, None)
        index = run.index(site)
    assert index is not None
    try:
        _refuse_tracers(site, run, index, arguments)
        if isinstance(site.law, Gated):
            run.decide(site, *arguments)
    except BaseException:
        if opened is not None:
            current_run.set(opened.parent)
        raise
    run.reached.add(index)
    watcher = run.watcher_of(site) if torch.is_grad_enabled() else None
    watched = None if watcher is None else partial(watcher.compute, run, index, site)
    return int(run.routes[index]), watched, opened


def _refuse_tracers(site: Choice, run: Run, index: int, arguments: Any) -> None:
    """Raises if a tracer other than rr_export's capture is watching, unless the route is forced."""
    tracer = active_tracer(arguments)
    if tracer is None:
        return
    if run.asked[index] >= 0:
        return
    name = next((n for n, s in sites_of(run.root).items() if identity(s) == identity(site)), type(site).__name__)
    raise RunError(
        f"site {name!r}: expected an eager call or rr.export, got {tracer}, which would freeze the random route; "
        "use rr.export(model, args), or bake one path in with rr.forced(model, path)"
    )
