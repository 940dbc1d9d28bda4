"""The run: which route every site takes in one outermost forward, and who decided it.

A run is opened by the root module (a forward pre-hook installed by :func:`open_runs_at`), lives in a
``ContextVar`` (so threads and tasks do not see each other), and is closed by the root's forward hook,
also when the forward raises. A site called outside any run that knows it opens its own.

The routes of a run come, for each site, from the innermost active :func:`forced` that names a route, else
from the plan applied to the site's draw: the innermost :func:`seeded`, else one ``torch.rand`` vector.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rr_export.errors import RunError
from rr_export.laws.plan import Plan, Site
from rr_export.laws.policies import Policy
from rr_runtime.draws import draws as seeded_draws

F = TypeVar("F", bound=Callable[..., Any])
_WHY = "rr_export chooses routes eagerly: expected an eager call or rr.export, which keeps the random routes"
ROOT_SITE = "root"  # the name of a site that is itself the root of its run


def _outside_compiled_code(function: F) -> F:
    """``torch.compile`` leaves the function to Python, where it runs anew every time."""
    return cast(F, torch.compiler.disable(function, reason=_WHY))  # type: ignore[no-untyped-call]


class Choice(nn.Module):
    """A site as the run sees it: a module with a policy, K named branches, and a way to call branch k.

    The concrete sites (``OperationChoice``, ``LayerChoice``, ``ParameterChoice``) derive from it.
    """

    kind: str
    policy: Policy
    branch_names: tuple[str, ...]

    def branch(self, index: int, *args: Any, **kwargs: Any) -> Any:
        """Returns what branch ``index`` makes of the site's arguments."""
        raise NotImplementedError

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns, per branch, the module path of the branch inside the site (None: it has no module)."""
        raise NotImplementedError

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Computes the branch of this run's route; see :mod:`rr_export.eager.run` for who chooses it."""
        recorder = _recorder.get()
        if recorder is not None:
            return recorder.call_site(self, args, kwargs)
        with _site_run(self, (args, kwargs)) as route:
            return self.branch(route, *args, **kwargs)


class Code(Protocol):
    """The decisions that a model's own code makes.

    Attributes:
        sites: what stands for them in a run, by their names, in site order after the sites of the module tree.
    """

    sites: dict[str, CodeSite]

    @property
    def plan(self) -> Plan:
        """All sites, those of the module tree first."""

    def following(self, root: nn.Module, run: CodeRun, given: Any) -> AbstractContextManager[None]:
        """Inside the block the code's draws decide as ``run`` says, and it is told what was reached.

        Args:
            root: the model.
            run: of its code.
            given: its arguments.
        """


@dataclass
class CodeSite:
    """A decision of a model's own code, as a site.

    Attributes:
        policy: the law of its route.
        branch_names: of its routes.
        kind: "python".
    """

    policy: Policy
    branch_names: tuple[str, ...]
    kind: str = "python"


class CodeRun(Protocol):
    """What a model's own code sees of a run."""

    finished: bool  # whether the forward came to its end

    def route_of(self, site: CodeSite) -> int | None:
        """Returns the route that the site is to take; None: what it draws itself."""

    def took(self, site: CodeSite, route: int) -> None:
        """Writes down which route a site took."""

    def route_of_module(self, site: Choice) -> int:
        """Returns the route of a site of the module tree."""


class Recorder(Protocol):
    """What replaces the choice while a model is captured: it is handed every call of every site."""

    def call_site(self, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the outputs of the site for this call."""


def identity(site: object) -> int:
    """Returns what tells a site from others: while tracing, torch hands out stand-ins that share its ``__dict__``."""
    return id(vars(site))


def sites_of(root: nn.Module) -> dict[str, Choice]:
    """Returns the sites below ``root`` by their first names, in site order."""
    return {name or ROOT_SITE: m for name, m in root.named_modules() if isinstance(m, Choice)}


_codes: weakref.WeakKeyDictionary[nn.Module, Code] = weakref.WeakKeyDictionary()


def remember_code(root: nn.Module, code: Code | None) -> None:
    """From now on runs of ``root`` have the decisions of its own code too (None: it has none)."""
    if code is None:
        _codes.pop(root, None)
    else:
        _codes[root] = code


def code_of(root: nn.Module) -> Code | None:
    """Returns the known decisions of the model's own code."""
    return _codes.get(root)


def all_sites(root: nn.Module) -> dict[str, Choice | CodeSite]:
    """Returns the sites below ``root``, then the known decisions of its own code, by name in site order."""
    code = _codes.get(root)
    return {**sites_of(root), **(code.sites if code is not None else {})}


def tree_plan(root: nn.Module) -> Plan:
    """Returns the plan of ``root`` read off its module tree: one call per registration of a site."""
    modules = sites_of(root)
    index = {id(module): i for i, module in enumerate(modules.values())}
    calls: list[list[tuple[tuple[int, int], ...]]] = [[] for _ in modules]
    registrations = list(root.named_modules(remove_duplicate=False))
    bodies: dict[str, tuple[int, int]] = {}
    for name, module in registrations:
        if isinstance(module, Choice):
            for k, prefix in enumerate(module.branch_prefixes()):
                if prefix is not None:
                    bodies[f"{name}.{prefix}" if name else prefix] = (index[id(module)], k)
    for name, module in registrations:
        if isinstance(module, Choice):
            parts = name.split(".") if name else []
            enclosing = tuple(bodies[p] for n in range(1, len(parts) + 1) if (p := ".".join(parts[:n])) in bodies)
            if enclosing not in calls[index[id(module)]]:
                calls[index[id(module)]].append(enclosing)
    return plan_with_calls(modules, calls)


def plan_with_calls(
    modules: Mapping[str, Choice | CodeSite], calls: Sequence[Sequence[tuple[tuple[int, int], ...]]]
) -> Plan:
    """Returns the plan of these sites, where ``calls[i]`` holds the enclosing (site, branch) pairs per call."""
    return Plan(
        [
            Site(name, module.branch_names, module.policy, module.kind, tuple(calls[i]))
            for i, (name, module) in enumerate(modules.items())
        ]
    )


@dataclass
class Record:
    """The runs seen inside a ``forced``, ``seeded`` or ``recorded`` block.

    Attributes:
        paths: one int64 [S] array per finished run: the route of every reached site, -1 where not reached.
        routes: the latent routes of the same runs, reached or not.
    """

    paths: list[NDArray[np.int64]] = field(default_factory=list)
    routes: list[NDArray[np.int64]] = field(default_factory=list)

    @property
    def path(self) -> NDArray[np.int64]:
        """The path of the last finished run, int64 [S]."""
        if not self.paths:
            raise RunError("record: expected a finished run, got none; call the model inside the block first")
        return self.paths[-1]


@dataclass(frozen=True)
class _Directive:
    """What one ``forced``, ``seeded`` or ``recorded`` block says about the sites of its model."""

    root: nn.Module
    sites: tuple[Choice | CodeSite, ...]
    routes: NDArray[np.int64] | None
    draws: NDArray[np.float32] | None
    record: Record
    positions: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.positions.update({identity(site): i for i, site in enumerate(self.sites)})

    def position(self, site: Choice | CodeSite) -> int | None:
        return self.positions.get(identity(site))

    def knows(self, sites: Sequence[Choice | CodeSite]) -> bool:
        return any(self.position(site) is not None for site in sites)


@dataclass
class _Run:
    """One outermost forward of ``root``."""

    root: nn.Module
    sites: tuple[Choice | CodeSite, ...]
    routes: NDArray[np.int64]
    asked: NDArray[np.int64]  # the forced routes, -1 elsewhere
    draws: NDArray[np.float32]
    directives: tuple[_Directive, ...]
    parent: _Run | None
    frame: FrameType | None
    own: frozenset[int] = frozenset()  # positions of sites that nobody told anything: the code draws them itself
    reached: set[int] = field(default_factory=set)
    depth: int = 1
    finished: bool = False
    drawn: dict[int, int] = field(default_factory=dict)  # what the code drew itself
    code: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.positions = {identity(site): i for i, site in enumerate(self.sites)}

    def index(self, site: Choice | CodeSite) -> int | None:
        return self.positions.get(identity(site))

    def route_of(self, site: CodeSite) -> int | None:
        """Returns the route that the site is to take; None: what it draws itself."""
        index = self.positions[identity(site)]
        return None if index in self.own else int(self.routes[index])

    def route_of_module(self, site: Choice) -> int:
        """Returns the route of a site of the module tree."""
        return int(self.routes[self.positions[identity(site)]])

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
        for index, route in self.drawn.items():
            known[index] = route
        self.routes = plan.routes(self.draws, known)
        self.reached = set(np.flatnonzero(plan.reach(self.routes)).tolist())

    def report(self, directive: _Directive) -> None:
        """Adds this run to the directive's record, if it holds all its sites."""
        if directive.sites and directive.positions.keys() <= self.positions.keys():
            mine = [self.positions[identity(s)] for s in directive.sites]
            reached = np.array([i in self.reached for i in mine])
            directive.record.routes.append(self.routes[mine])
            directive.record.paths.append(np.where(reached, self.routes[mine], -1))


_run: ContextVar[_Run | None] = ContextVar("rr_run", default=None)
_directives: ContextVar[tuple[_Directive, ...]] = ContextVar("rr_directives", default=())
_recorder: ContextVar[Recorder | None] = ContextVar("rr_recorder", default=None)
_plans: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[tuple[str, int], ...], Plan]] = weakref.WeakKeyDictionary()


def _plan_for_run(root: nn.Module, sites: dict[str, Choice | CodeSite]) -> Plan:
    """The plan of ``root``, made anew only when its sites or their policies changed."""
    key = tuple((name, id(site.policy)) for name, site in sites.items())  # the plan keeps the policies alive
    known = _plans.get(root)
    if known is None or known[0] != key:
        # how the sites nest does not change the latent routes, so every site counts as called once
        known = (key, plan_with_calls(sites, [((),)] * len(sites)))
        _plans[root] = known
    return known[1]


def _open(
    root: nn.Module, frame: FrameType | None, named: dict[str, Choice | CodeSite] | None = None, given: Any = ()
) -> _Run:
    """Makes a run of ``root`` current: all its latent routes are drawn here, in chain order."""
    named = all_sites(root) if named is None else named
    plan = _plan_for_run(root, named)
    sites = tuple(named.values())
    directives = _directives.get()
    forced = np.full(len(sites), -1, dtype=np.int64)
    draws = np.zeros(len(sites), dtype=np.float32)
    free, own = [], set()
    for i, site in enumerate(sites):
        told = [(d, p) for d in reversed(directives) if (p := d.position(site)) is not None]
        forced[i] = next((d.routes[p] for d, p in told if d.routes is not None and d.routes[p] >= 0), -1)
        draw = next((d.draws[p] for d, p in told if d.draws is not None), None)
        if draw is not None:
            draws[i] = draw
        elif forced[i] < 0:
            free.append(i)
            if isinstance(site, CodeSite) and all(d.routes is None for d, _ in told):
                own.add(i)
    if free and active_tracer(()) is None:  # under a tracer the sites refuse to be called
        # all sites at once, whichever is forced: how much of the generator a run uses does not depend on the path
        draws[free] = torch.rand(len(sites), dtype=torch.float32, device="cpu").numpy()[free]
    routes = plan.routes(draws, forced)
    run = _Run(root, sites, routes, forced, draws, directives, _run.get(), frame, frozenset(own))
    _run.set(run)
    if (
        frame is not None
        and root in _codes
        and any(d.root is root or any(d.position(s) is not None for s in sites) for d in directives)
    ):
        run.code.callback(run.finish, _codes[root].plan)
        run.code.enter_context(_codes[root].following(root, run, given))
    return run


def _close(run: _Run, *, finished: bool) -> None:
    """Makes the enclosing run current again, and reports the finished one to the blocks that asked."""
    _run.set(run.parent)
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
        run = _open(root, None, named)
        _run.set(run.parent)
        found.append(run.routes)
    return np.stack(found)


def _alive(run: _Run) -> bool:
    """Whether the forward that opened ``run`` is still on this stack (an interrupt can leave one behind)."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame is not run.frame:
        frame = frame.f_back
    return frame is not None


@_outside_compiled_code
def _enter_root(root: nn.Module, args: Any, kwargs: Any) -> None:
    if _recorder.get() is not None:
        return
    run = _run.get()
    while run is not None and run.frame is not None and not _alive(run):
        run = run.parent
        _run.set(run)
    if run is not None and (run.root is root or {identity(s) for s in sites_of(root).values()} <= run.positions.keys()):
        if run.root is root:
            run.depth += 1
        return
    _open(root, _calling_frame(), given=(args, kwargs))


def _calling_frame() -> FrameType | None:
    """The frame of the module call that runs the hook; it lives as long as the forward does."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != nn.Module.__module__:
        frame = frame.f_back
    return frame


@_outside_compiled_code
def _leave_root(root: nn.Module, args: Any, output: Any) -> None:
    run = _run.get()
    if _recorder.get() is not None or run is None or run.root is not root:
        return
    run.depth -= 1
    if run.depth == 0:
        _close(run, finished=output is not None)  # torch gives None for a forward that raised


def open_runs_at(root: nn.Module) -> None:
    """Makes ``root`` open a run at every outermost forward from now on (idempotent; survives copies)."""
    if _enter_root not in root._forward_pre_hooks.values():
        root.register_forward_pre_hook(_enter_root, prepend=True, with_kwargs=True)
        root.register_forward_hook(_leave_root, always_call=True)


@contextmanager
def _site_run(site: Choice, arguments: Any) -> Iterator[int]:
    """Yields the route of ``site`` in the current run, or in a run of its own."""
    route, opened = _route(site, arguments)
    finished = False
    try:
        yield route
        finished = True
    finally:
        if opened is not None:
            _close(opened, finished=finished)


@_outside_compiled_code
def _route(site: Choice, arguments: Any) -> tuple[int, _Run | None]:
    run = _run.get()
    index = run.index(site) if run is not None else None
    opened = None
    if run is None or index is None:
        step = getattr(site.policy, "index", 0)
        if step > 0:
            raise RunError(
                f"{type(site).__name__}: expected a run that holds the whole Markov chain, got a call of step {step} "
                "outside any run; call rr.plan_of(model) once, so that the model opens the run"
            )
        run = opened = _open(site, None)
        index = run.index(site)
    assert index is not None
    try:
        _refuse_tracers(site, run, index, arguments)
    except RunError:
        if opened is not None:
            _run.set(opened.parent)
        raise
    run.reached.add(index)
    return int(run.routes[index]), opened


def _refuse_tracers(site: Choice, run: _Run, index: int, arguments: Any) -> None:
    """Raises if a tracer other than rr_export's capture is watching, unless the route is forced."""
    tracer = active_tracer(arguments)
    if tracer is None:
        return
    told = [(d, p) for d in run.directives if (p := d.position(site)) is not None]
    if any(d.routes is not None and d.routes[p] >= 0 for d, p in told):
        return
    name = next((n for n, s in sites_of(run.root).items() if identity(s) == identity(site)), type(site).__name__)
    raise RunError(
        f"site {name!r}: expected an eager call or rr.export, got {tracer}, which would freeze the random route; "
        "use rr.export(model, args), or bake one path in with rr.forced(model, path)"
    )


def active_tracer(arguments: Any) -> str | None:
    """Returns the name of the tracer that watches calls with these arguments, if any."""
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace"
    if torch.compiler.is_exporting():
        return "torch.export"
    if torch.fx.experimental.proxy_tensor.get_proxy_mode() is not None:
        return "make_fx"
    if any(isinstance(leaf, torch.fx.Proxy) for leaf in torch.utils._pytree.tree_leaves(arguments)):
        return "torch.fx.symbolic_trace"
    return None


@contextmanager
def recording_with(recorder: Recorder) -> Iterator[None]:
    """Hands every call of every site to ``recorder`` inside the block."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


@contextmanager
def _directed(
    model: nn.Module, tell: Callable[[Plan], tuple[NDArray[np.int64] | None, NDArray[np.float32] | None]]
) -> Iterator[Record]:
    named = all_sites(model)
    routes, draws = tell(_plan_for_run(model, named))
    open_runs_at(model)
    directive = _Directive(model, tuple(named.values()), routes, draws, Record())
    token = _directives.set((*_directives.get(), directive))
    try:
        yield directive.record
    finally:
        _directives.reset(token)


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
