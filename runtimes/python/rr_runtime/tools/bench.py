"""What runs of a bundle cost: the law over paths, each branch, against a frozen path, loading, memory.

Every form on every provider is timed in the same interleaved rounds:

- law: one run on fresh draws per round, timed by itself. All forms get the same seeds, one seed per round.
- profiles: alike, with the routes of these seeds by the law of each profile.
- most probable path, frozen path: one run per round, timed by itself, so that they compare with the law.
- branches: every site is toggled, one at a time, around the most probable routes; the cost of a branch is the median
  over the rounds of its paired difference from the site's most probable branch. A site that this path does not reach
  is reached through its first call.
- model: a base and one cost for every branch, fitted to the paths above and to random ones, and judged on others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.arguments import check_path
from rr_runtime.bundle import Bundle, open_bundle
from rr_runtime.draws import SEEDS, check_seed, fresh_seed
from rr_runtime.errors import RuntimeFailure
from rr_runtime.fastest import Fastest, record_fastest
from rr_runtime.output_files import check_folder
from rr_runtime.providers import find_provider
from rr_runtime.session import Session
from rr_runtime.target import Target
from rr_runtime.tools.assignment import assignment
from rr_runtime.tools.choices import choices, most_probable_routes
from rr_runtime.tools.frozen_path import check_frozen
from rr_runtime.tools.inputs import timed_inputs
from rr_runtime.tools.load import load_often
from rr_runtime.tools.machine import about_machine
from rr_runtime.tools.opening import check_least, check_targets, open_session
from rr_runtime.tools.path_model import PathModel, random_paths
from rr_runtime.tools.timing import (
    Case,
    Tell,
    Times,
    interleave,
    interval_of,
    law_of,
    paired_ratio,
    spread_of,
)
from rr_runtime.tools.tune import Found, compare_on, find_tuning
from rr_runtime.tuning import default_tuning

TUNING_SHARE = 5  # a comparison of tunings has so many times fewer rounds than the benchmark
BRANCH_ROUNDS = 50  # branches take part in so many rounds, or in all where there are fewer
LAW, USUAL, FROZEN = "law", "most probable path", "frozen path"
Feeds = dict[str, NDArray[Any]]
Route = tuple[int, ...]


@dataclass
class _Subject:
    """One form on one provider, while it is measured."""

    provider: str
    target: str | None
    session: Session | None = None
    frozen: Session | None = None
    error: str = ""
    frozen_error: str = ""
    routed: bool = False  # whether it takes seeds and paths
    usual: bool = False  # whether it has the most probable path
    branches: list[tuple[int, int, Route, Route]] = field(default_factory=list)  # site, branch, path, reference
    profiles: Sequence[str] = ()
    modelled: bool = False  # whether all branches are timed, so that what any path takes can be told
    fitted: list[Route] = field(default_factory=list)  # further paths by which that is told
    held_out: list[Route] = field(default_factory=list)  # paths on which it is tried
    load: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.provider if self.target is None else f"{self.provider}/{self.target}"


def bench(
    path: Path,
    *,
    providers: Sequence[str] = ("cpu",),
    targets: Sequence[str] = (),
    profiles: Sequence[str] = (),
    runs: int = 200,
    threads: int = 1,
    loads: int = 3,
    usual: Sequence[int] | None = None,
    frozen: Path | None = None,
    seed: int | None = None,
    record: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    progress: Tell | None = None,
) -> dict[str, Any]:
    """Returns the figures of every form on every provider (JSON-ready); a form that fails has an ``error`` instead.

    Args:
        path: a bundle folder with golden cases, whose first inputs are used.
        providers: the execution providers.
        targets: which forms of the model; empty: the one that a session would take on each provider.
        profiles: names of profiles under which runs are timed too.
        runs: timed rounds, >= 10.
        threads: threads inside one operator, >= 1.
        loads: processes that load it, >= 0; 0 leaves load time and memory away.
        usual: the most probable path, S routes; None: the most probable routes.
        frozen: a bundle folder with the static file of that path, or None.
        seed: the first of the seeds, which are consecutive; None takes a fresh one from the operating system.
        record: write beside the bundle what is fastest, for ``provider="auto"``: the provider, of which the CPU is one,
            and on the CPU how it computes.
        clock: seconds of runs, as for ``interleave``.
        progress: told (stage, done, total).

    Raises:
        BundleError: the bundle is damaged, or has no golden cases.
        ProviderError: this onnxruntime has no such provider.
        ValueError: an argument is wrong, or nothing can be recorded there; raised before any run.
    """
    if runs < 10:
        raise ValueError(f"runs: expected at least 10, got {runs}; the law needs samples")
    if record and targets:
        raise ValueError("record: expected no targets beside it, got some; auto takes the form that fits the provider")
    check_least(threads, 1, "threads")
    check_least(loads, 0, "loads")
    first = fresh_seed() if seed is None else check_seed(seed)
    bundle = open_bundle(path)
    if record and bundle.path.is_dir():
        check_folder(bundle.path, f"record: {bundle.path}")
    check_targets(bundle, targets)
    for name in profiles:
        if name not in bundle.manifest.profiles:
            known = ", ".join(bundle.manifest.profiles) or "none"
            raise ValueError(f"profile: expected one of {known} of {bundle.path}, got {name!r}; name one of them")
    for provider in providers:
        find_provider(provider)
    routes = _usual_routes(bundle, usual)
    if frozen is not None:
        check_frozen(bundle, frozen, routes, timed_inputs(bundle), threads=threads)
    names = [*providers, *(["cpu"] if record else [])]  # nothing is the fastest of one
    laws = tuple(dict.fromkeys(profiles))
    forms = [(p, t) for p in dict.fromkeys(names) for t in dict.fromkeys(targets or (None,))]
    subjects = [_Subject(provider, target, profiles=laws) for provider, target in forms]
    for subject in subjects:
        _open(subject, path, frozen, threads=threads)
    used = [_target_of(bundle, s.session) for s in subjects if s.session is not None]
    feeds = timed_inputs(bundle, used)
    for number, subject in enumerate(subjects):
        if progress is not None:
            progress(f"loading {subject.name}", number, len(subjects))
        _try(subject, lambda s=subject: _prepare(s, bundle, feeds, routes, first))  # type: ignore[misc]
        if not subject.error:
            _try(subject, lambda s=subject: _load(s, path, threads=threads, loads=loads))  # type: ignore[misc]
    sound = [s for s in subjects if not s.error]
    for subject in sound:
        _drop_frozen_on_cpu(subject, frozen, feeds)
    cases, single, seldom = _cases(sound, feeds, routes, first, runs)
    times = interleave(cases, runs=runs, clock=clock, progress=progress, title="timing", single=single, seldom=seldom)
    entries = [_entry(subject, bundle, routes, times) for subject in subjects]
    fastest = _record(path, sound, entries, feeds, first, runs, progress) if record else None
    return {
        "tool": "bench",
        "bundle": str(path),
        "machine": about_machine(),
        "sites": len(bundle.manifest.sites),
        "runs": runs,
        "threads": threads,
        "first_seed": first,
        "most_probable": list(routes),
        "inputs": {name: {"dtype": str(x.dtype), "shape": list(x.shape)} for name, x in feeds.items()},
        "subjects": entries,
        "fastest": fastest,
        "holds": not any(subject.error for subject in subjects) and not (fastest and fastest["wrong"]),
    }


def _open_frozen(subject: _Subject, frozen: Path, target: str, *, threads: int) -> None:
    """The same form of the static file is open, or it is kept why not: it does not exist, or does not open there."""
    try:
        subject.frozen = open_session(frozen, subject.provider, target, threads=threads)
    except (RuntimeFailure, ValueError) as error:
        subject.frozen_error = str(error)


def _usual_routes(bundle: Bundle, usual: Sequence[int] | None) -> Route:
    """The routes of the most probable path, reached or not.

    Raises:
        ValueError: those that were given are not of the bundle's sites.
    """
    if usual is None:
        return most_probable_routes(bundle.manifest.sites)
    try:
        return tuple(max(0, int(route)) for route in check_path(usual, bundle.manifest.sites))
    except ValueError as error:
        raise ValueError(f"usual: {error}") from error


def _open(subject: _Subject, path: Path, frozen: Path | None, *, threads: int) -> None:
    def opened() -> None:
        session = open_session(path, subject.provider, subject.target, threads=threads)
        if frozen is not None:
            _open_frozen(subject, frozen, session.target, threads=threads)
        subject.session = session

    _try(subject, opened)


def _try(subject: _Subject, work: Callable[[], None]) -> None:
    """What goes wrong is kept in the subject: the others are measured all the same."""
    try:
        work()
    except (RuntimeFailure, ValueError) as error:
        subject.error = subject.error or str(error)


def _target_of(bundle: Bundle, session: Session) -> Target | None:
    return bundle.manifest.targets.get(session.target)


def _prepare(subject: _Subject, bundle: Bundle, feeds: Feeds, routes: Route, seed: int) -> None:
    """Every kind of run works once; the branches that the form can be forced to are found."""
    session = subject.session
    if session is None:
        return
    session.run(feeds)
    if not _routed(session, bundle):
        return
    session.run(feeds, seed=seed)
    subject.routed = True
    target = _target_of(bundle, session)
    if subject.profiles and target is not None and target.form == "frozen":
        raise ValueError(
            f"profile: expected a form that takes every path, got the frozen target {target.name!r}; time another one"
        )
    for name in subject.profiles:
        session.run(feeds, seed=seed, profile=name)
    try:
        session.run(feeds, path=routes, seed=0)
        subject.usual = True
    except ValueError:  # a frozen form has some paths only
        pass
    for choice in choices(session.sites, routes):
        try:
            for route in choice.paths:
                session.run(feeds, path=route, seed=0)
        except ValueError:
            continue
        subject.branches += [
            (choice.site, k, route, choice.paths[choice.usual])
            for k, route in enumerate(choice.paths)
            if k != choice.usual
        ]
    subject.modelled = 0 < len(subject.branches) == sum(len(site.branches) - 1 for site in session.sites)
    if subject.modelled:
        timed = {routes, *(route for _, _, *both in subject.branches for route in both)}
        subject.held_out, subject.fitted = random_paths(session.sites, timed)


def _load(subject: _Subject, path: Path, *, threads: int, loads: int) -> None:
    subject.load = load_often(path, subject.provider, subject.target, threads=threads, times=loads)


def _routed(session: Session, bundle: Bundle) -> bool:
    """Tells whether the form takes seeds and paths."""
    target = _target_of(bundle, session)
    interface = bundle.manifest.interface if target is None or target.interface is None else target.interface
    return interface != "standalone" and bool(session.sites)


def _cases(
    subjects: Sequence[_Subject], feeds: Feeds, routes: Route, first: int, runs: int
) -> tuple[dict[str, Case], set[str], dict[str, int]]:
    """What is timed, by name; which of it in single calls; which of it not in every round."""
    cases: dict[str, Case] = {}
    seldom: dict[str, int] = {}
    single: set[str] = set()
    stride = max(1, runs // BRANCH_ROUNDS)
    for subject in subjects:
        session, name = subject.session, subject.name
        assert session is not None
        cases[f"{name}: {LAW}"] = _fresh_run(session, feeds, first, routed=subject.routed)
        for profile in subject.profiles:
            cases[f"{name}: profile {profile}"] = _fresh_run(session, feeds, first, profile=profile)
        if subject.usual:
            cases[f"{name}: {USUAL}"] = _forced_run(session, feeds, routes)
        if subject.frozen is not None:
            cases[f"{name}: {FROZEN}"] = lambda frozen=subject.frozen: frozen.run(feeds)  # type: ignore[misc]
        single |= set(cases) - seldom.keys()
        forced = [route for _, _, *both in subject.branches for route in both]
        for route in [*forced, *subject.fitted, *subject.held_out, *[routes] * subject.modelled]:
            cases[_branch_case(name, route)] = _forced_run(session, feeds, route)
            seldom[_branch_case(name, route)] = stride
    return cases, single - seldom.keys(), seldom


def _branch_case(name: str, path: Route) -> str:
    return f"{name}: path {','.join(map(str, path))}"


def _fresh_run(session: Session, feeds: Feeds, first: int, *, routed: bool = True, profile: str | None = None) -> Case:
    """A run on the next seed: forms that are called equally often get the same seeds."""
    if not routed:
        return lambda: session.run(feeds)
    count = iter(range(2**62))
    return lambda: session.run(feeds, seed=(first + next(count)) % SEEDS, profile=profile)


def _forced_run(session: Session, feeds: Feeds, path: Route) -> Case:
    return lambda: session.run(feeds, path=path, seed=0)


def _entry(subject: _Subject, bundle: Bundle, routes: Route, times: Times) -> dict[str, Any]:
    """The figures of a subject, in milliseconds, seconds and bytes."""
    entry: dict[str, Any] = {
        "name": subject.name,
        "provider": subject.provider,
        "target": subject.target,
        "form": None,
        "error": subject.error,
        "law": None,
        "most_probable": None,
        "frozen": None,
        "frozen_error": subject.frozen_error,
        "ratio_to_frozen": None,
        "profiles": {},
        "branches": [],
        "model": None,
        "load": subject.load,
    }
    if subject.error or subject.session is None:
        return entry
    target = _target_of(bundle, subject.session)
    entry |= {
        "provider": subject.session.provider,
        "target": subject.session.target,
        "form": "routed" if target is None else target.form,
    }
    name = subject.name
    for key, case in (("law", LAW), ("most_probable", USUAL), ("frozen", FROZEN)):
        if f"{name}: {case}" in times:
            entry[key] = _law(times[f"{name}: {case}"])
    entry["profiles"] = {profile: _law(times[f"{name}: profile {profile}"]) for profile in subject.profiles}
    if entry["frozen"] and entry["most_probable"]:
        entry["ratio_to_frozen"] = asdict(paired_ratio(times, f"{name}: {USUAL}", f"{name}: {FROZEN}"))
    for site, branch, path, reference in subject.branches:
        samples, base = times[_branch_case(name, path)] * 1e3, times[_branch_case(name, reference)] * 1e3
        cost = interval_of(samples - base)
        about = bundle.manifest.sites[site]
        entry["branches"].append(
            {
                "site": about.name,
                "branch": about.branches[branch],
                "instead_of": about.branches[reference[site]],
                "cost_ms": [cost.low, cost.median, cost.high] if np.isfinite(cost.low) else [None, cost.median, None],
                "path_ms": spread_of(samples).median,
            }
        )
    if subject.modelled:
        entry["model"] = _model(subject, bundle, routes, times)
    return entry


def _law(samples: NDArray[np.float64]) -> dict[str, Any]:
    """The law of some times in milliseconds, with all of them."""
    return {**law_of(samples * 1e3).to_json(), "samples_ms": [round(float(x) * 1e3, 6) for x in samples]}


def _model(subject: _Subject, bundle: Bundle, routes: Route, times: Times) -> dict[str, Any]:
    """What any path takes, by costs of branches, and how well these say what held-out paths take."""

    def took(paths: Iterable[Route]) -> dict[Route, float]:
        return {path: spread_of(times[_branch_case(subject.name, path)] * 1e3).median for path in paths}

    forced = [route for _, _, *both in subject.branches for route in both]
    return PathModel(bundle.manifest.sites, took([routes, *forced, *subject.fitted])).judge(took(subject.held_out))


def _record(
    path: Path,
    subjects: Sequence[_Subject],
    entries: Sequence[dict[str, Any]],
    feeds: Feeds,
    first: int,
    runs: int,
    progress: Tell | None,
) -> dict[str, Any]:
    """The fastest provider that is right is recorded, and on the CPU the fastest tuning.

    Right: the golden cases hold on it, and it has nodes: where it is known to have none, its times are those of the
    CPU.
    """
    laws = {entry["provider"]: entry["law"] for entry in entries if entry["law"] is not None}
    wrong = {}
    for subject in subjects:
        assert subject.session is not None
        try:
            subject.session.check()
            _check_has_nodes(open_bundle(path), subject.session, feeds)
        except RuntimeFailure as error:
            wrong[subject.session.provider] = str(error)
            laws.pop(subject.session.provider, None)
    if not laws:
        return {"provider": None, "file": None, "wrong": wrong}
    best = fastest_provider(laws)
    found = Found(default_tuning(find_provider(best)), ())
    if best == "cpu":
        forms = {entry["provider"]: entry["form"] for entry in entries}
        spins = forms["cpu"] == "routed"
        compare = compare_on(path, feeds, first=first, rounds=max(5, runs // TUNING_SHARE))
        found = find_tuning(found.tuning, compare, spins=spins, progress=progress)
    means = {name: float(law["mean"]) for name, law in laws.items()}
    file = record_fastest(path, Fastest(best, found.tuning), mean_ms=means)
    return {"provider": best, "file": str(file), "wrong": wrong, **found.to_json()}


def fastest_provider(laws: Mapping[str, Mapping[str, float]]) -> str:
    """Returns the provider of the least mean; the CPU, unless another is faster by three standard errors.

    Args:
        laws: by provider, mean and its standard error.
    """
    best = min(laws, key=lambda name: laws[name]["mean"])
    if "cpu" in laws and best != "cpu":
        doubt = float(np.hypot(laws["cpu"]["error"], laws[best]["error"]))
        if laws["cpu"]["mean"] - laws[best]["mean"] <= 3 * doubt:
            return "cpu"
    return best


def _drop_frozen_on_cpu(subject: _Subject, frozen: Path | None, feeds: Feeds) -> None:
    """A static file of which the provider has no node is not timed: it would be compared with the CPU."""
    if frozen is None or subject.frozen is None:
        return
    try:
        _check_has_nodes(open_bundle(frozen), subject.frozen, feeds)
    except RuntimeFailure as error:
        subject.frozen, subject.frozen_error = None, str(error)


def _check_has_nodes(bundle: Bundle, session: Session, feeds: Feeds) -> None:
    """The session's provider has nodes, or nothing tells.

    Raises:
        RuntimeFailure: it has none.
    """
    if session.provider == "cpu":
        return
    count = assignment(bundle, _target_of(bundle, session), session.provider, feeds).count()
    if count is not None and not count.get(session.provider):
        raise RuntimeFailure(
            f"{bundle.path}: expected nodes on {session.provider}, got none: everything runs on the CPU; package a "
            "form for it"
        )
