"""Opening and closing: a run begins where its root is called, and ends where that call does.

The root module opens its runs by a forward pre-hook (:func:`open_runs_at`); a run lives in a ``ContextVar``, so threads
and tasks do not see each other, and is closed by the root's forward hook, also when the forward raises.
"""

from __future__ import annotations

import sys
import weakref
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rr_export.eager.choice import Choice, identity, sites_of
from rr_export.eager.code_sites import CodeSite, all_sites, code_of
from rr_export.eager.directives import active_directives, told
from rr_export.eager.learned import policies_now
from rr_export.eager.module_tree import plan_with_calls
from rr_export.eager.run import Run, current_run
from rr_export.eager.tracers import active_tracer, outside_compiled_code, recorder
from rr_export.laws.plan import Plan

_plans: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[tuple[str, int], ...], Plan]] = weakref.WeakKeyDictionary()


def plan_for_run(root: nn.Module, sites: dict[str, Choice | CodeSite]) -> Plan:
    """Returns the plan of ``root``, made anew only when its sites or their policies changed."""
    policies = policies_now([site.law for site in sites.values()])
    key = tuple(zip(sites, map(id, policies), strict=True))  # the plan keeps the policies alive
    known = _plans.get(root)
    if known is None or known[0] != key:
        # how the sites nest does not change the latent routes, so every site counts as called once
        known = (key, plan_with_calls(sites, [((),)] * len(sites)))
        _plans[root] = known
    return known[1]


def open_run(
    root: nn.Module, frame: FrameType | None, named: dict[str, Choice | CodeSite] | None = None, given: Any = ()
) -> Run:
    """Makes a run of ``root`` current: all its latent routes are drawn here, in chain order."""
    named = all_sites(root) if named is None else named
    plan, sites, directives = plan_for_run(root, named), tuple(named.values()), active_directives.get()
    said = told(sites, directives)
    if said.free and active_tracer(()) is None:  # under a tracer the sites refuse to be called
        # all sites at once, whichever is forced: how much of the generator a run uses does not depend on the path
        free = torch.rand(len(sites), dtype=torch.float32, device="cpu").numpy()
        said.draws[said.free] = free[said.free]
    routes = plan.routes(said.draws, said.routes)
    run = Run(root, sites, routes, said.routes, said.draws, directives, current_run.get(), frame, said.own)
    current_run.set(run)
    code = code_of(root)
    if (
        frame is not None
        and code is not None
        and any(d.root is root or any(d.position(s) is not None for s in sites) for d in directives)
    ):
        run.code.callback(run.finish, code.plan)
        run.code.enter_context(code.following(root, run, given))
    return run


def close_run(run: Run, *, finished: bool) -> None:
    """Makes the enclosing run current again, and reports the finished one to the blocks that asked."""
    current_run.set(run.parent)
    run.finished = finished
    run.code.close()
    for directive in run.directives if finished else ():
        run.report(directive)


def free_routes(root: nn.Module, runs: int) -> NDArray[np.int64]:
    """Returns the latent routes that ``runs`` runs of ``root`` draw freely, int64 [runs, S].

    The runs are opened as every forward opens them; no branch is computed.
    """
    found, named = [], all_sites(root)
    for _ in range(runs):
        run = open_run(root, None, named)
        current_run.set(run.parent)
        found.append(run.routes)
    return np.stack(found)


def _alive(run: Run) -> bool:
    """Whether the forward that opened ``run`` is still on this stack (an interrupt can leave one behind)."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame is not run.frame:
        frame = frame.f_back
    return frame is not None


@outside_compiled_code
def _enter_root(root: nn.Module, args: Any, kwargs: Any) -> None:
    if recorder.get() is not None:
        return
    run = current_run.get()
    while run is not None and run.frame is not None and not _alive(run):
        run = run.parent
        current_run.set(run)
    if run is not None and (run.root is root or {identity(s) for s in sites_of(root).values()} <= run.positions.keys()):
        if run.root is root:
            run.depth += 1
        return
    open_run(root, _calling_frame(), given=(args, kwargs))


def _calling_frame() -> FrameType | None:
    """The frame of the module call that runs the hook; it lives as long as the forward does."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != nn.Module.__module__:
        frame = frame.f_back
    return frame


@outside_compiled_code
def _leave_root(root: nn.Module, args: Any, output: Any) -> None:
    run = current_run.get()
    if recorder.get() is not None or run is None or run.root is not root:
        return
    run.depth -= 1
    if run.depth == 0:
        close_run(run, finished=output is not None)  # torch gives None for a forward that raised


def open_runs_at(root: nn.Module) -> None:
    """Makes ``root`` open a run at every outermost forward from now on (idempotent; survives copies)."""
    if _enter_root not in root._forward_pre_hooks.values():
        root.register_forward_pre_hook(_enter_root, prepend=True, with_kwargs=True)
        root.register_forward_hook(_leave_root, always_call=True)
