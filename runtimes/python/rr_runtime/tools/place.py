"""Which nodes of a bundle run where, in which branch of which site, and whether skipping saves time there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.bundle import Bundle, open_bundle
from rr_runtime.errors import RuntimeFailure
from rr_runtime.providers import find_provider
from rr_runtime.session import Session
from rr_runtime.target import Target
from rr_runtime.tools.advice import Warning, advise, package_command, some
from rr_runtime.tools.assignment import Assignment, assignment
from rr_runtime.tools.choices import Choice, choices, most_probable_routes
from rr_runtime.tools.inputs import timed_inputs
from rr_runtime.tools.machine import about_machine
from rr_runtime.tools.opening import Fails, check_least, check_targets, open_session
from rr_runtime.tools.parts import label
from rr_runtime.tools.timing import Case, Interval, Tell, interleave, interval_of

PILOT = 5  # rounds that choose the cheapest and the dearest of more than two branches; they are not counted
CONFIDENCE = 0.95  # for all sites together
SAVES, NOISE = "saves", "not distinguishable from noise"


def place(
    path: Path,
    provider: str,
    *,
    target: str | None = None,
    runs: int = 50,
    threads: int = 1,
    progress: Tell | None = None,
) -> dict[str, Any]:
    """Returns where the nodes run and what each site's branches cost there (JSON-ready).

    Args:
        path: a bundle folder with golden cases.
        provider: the execution provider.
        target: which form of the model; None: the one that a session would take.
        runs: timed rounds, >= 0; 0 times nothing.
        threads: threads inside one operator, >= 1.
        progress: told (stage, done, total).

    Raises:
        BundleError: the bundle is damaged, or has no golden cases.
        ProviderError: this onnxruntime has no such provider.
        Fails: the form does not run on the provider.
        ValueError: an argument is wrong.
    """
    check_least(runs, 0, "runs")
    check_least(threads, 1, "threads")
    bundle = open_bundle(path)
    check_targets(bundle, [target])
    find_provider(provider)
    timed_inputs(bundle)
    try:
        return _placed(bundle, provider, target, runs=runs, threads=threads, progress=progress)
    except RuntimeFailure as error:
        raise Fails(str(error)) from error


def _placed(
    bundle: Bundle, provider: str, target: str | None, *, runs: int, threads: int, progress: Tell | None
) -> dict[str, Any]:
    session = open_session(bundle.path, provider, target, threads=threads)
    chosen = bundle.manifest.targets.get(session.target)
    feeds = timed_inputs(bundle, [chosen])
    found = assignment(bundle, chosen, session.provider, feeds, threads=threads)
    warnings = advise(bundle, chosen, session.provider, found)
    sites = _time_sites(session, bundle, chosen, feeds, runs=runs, progress=progress) if runs else []
    for entry in sites:
        entry["whole"] = entry["index"] in found.whole if found.parts_told and found.nodes else None
    warnings += _about_savings(bundle, chosen, session.provider, found, sites)
    return {
        "tool": "place",
        "bundle": str(bundle.path),
        "machine": about_machine(),
        "provider": session.provider,
        "target": session.target,
        "form": "routed" if chosen is None else chosen.form,
        "threads": threads,
        "runs": runs,
        "told_by": found.told_by,
        "counts": found.count(),
        "parts": _parts(bundle, chosen, found),
        "copies": None if found.copies is None else [list(copy) for copy in found.copies],
        "nodes": [
            {**asdict(node), "part": None if node.part is None else label(node.part, bundle.manifest.sites)}
            for node in found.nodes
        ],
        "sites": sites,
        "warnings": [warning.to_json() for warning in warnings],
        "holds": not any(warning.about in ("outside", "savings") for warning in warnings),
    }


def _parts(bundle: Bundle, target: Target | None, found: Assignment) -> list[dict[str, Any]]:
    """The number of nodes on every provider, for every part of the model, in the order of the sites."""
    frozen = target is not None and target.form == "frozen"
    count: Counter[tuple[Any, str, str]] = Counter()
    for node in found.nodes:
        name = "not told" if node.part is None else label(node.part, bundle.manifest.sites)
        order: Any = (
            (2, 0, 0, 0) if node.part is None else (bool(node.part), *(node.part[-1] if node.part else (0,) * 3))
        )
        count[order, node.file if frozen else name, node.provider] += 1
    parts: dict[tuple[Any, str], dict[str, int]] = {}
    for (order, name, provider), number in sorted(count.items()):
        parts.setdefault((order, name), {})[provider] = number
    return [{"part": name, "providers": providers} for (_, name), providers in parts.items()]


def _time_sites(
    session: Session,
    bundle: Bundle,
    target: Target | None,
    feeds: Mapping[str, NDArray[Any]],
    *,
    runs: int,
    progress: Tell | None,
) -> list[dict[str, Any]]:
    """What the dearest branch of every site costs over its cheapest, the other sites on their most probable routes."""
    if target is None and bundle.manifest.interface not in ("explicit", "host", "gates"):
        return []
    sites = bundle.manifest.sites
    every = [c for c in choices(sites, most_probable_routes(sites)) if len(c.paths) > 1]
    every = [c for c in every if _all_run(session, feeds, c)]
    many = {p for c in every if len(c.paths) > 2 for p in c.paths}
    pilot = _timed(session, feeds, many, PILOT, progress, "trying branches") if many else {}
    pairs = {}
    for choice in every:
        paths = (
            sorted(choice.paths, key=lambda p: float(np.median(pilot[p]))) if len(choice.paths) > 2 else choice.paths
        )
        pairs[choice.site] = (paths[0], paths[-1])
    times = _timed(session, feeds, {p for pair in pairs.values() for p in pair}, runs, progress, "timing branches")
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(pairs))
    return [_site_entry(bundle, site, pair, times, confidence) for site, pair in pairs.items()]


def _site_entry(
    bundle: Bundle,
    site: int,
    pair: Sequence[tuple[int, ...]],
    times: Mapping[tuple[int, ...], NDArray[np.float64]],
    confidence: float,
) -> dict[str, Any]:
    """How much time the cheaper of two branches saves, and how sure that is."""
    cheap, dear = pair
    if np.median(times[dear] - times[cheap]) < 0:  # paired: a burst of noise hits both
        cheap, dear = dear, cheap
    saving = interval_of((times[dear] - times[cheap]) * 1e3, confidence=confidence)
    about = bundle.manifest.sites[site]
    return {
        "index": site,
        "site": about.name,
        "cheapest": about.branches[cheap[site]],
        "dearest": about.branches[dear[site]],
        "cheapest_ms": float(np.median(times[cheap])) * 1e3,
        "dearest_ms": float(np.median(times[dear])) * 1e3,
        "saving_ms": _finite(saving),
        "verdict": SAVES if saving.low > 0 else NOISE,
    }


def _about_savings(
    bundle: Bundle, target: Target | None, provider: str, found: Assignment, sites: Sequence[Mapping[str, Any]]
) -> list[Warning]:
    """Sites at which skipping saves nothing that can be measured, although it should."""
    warnings = []
    remedy = package_command(bundle, provider) or "run on another provider"
    if target is not None:
        remedy = "package segments or frozen paths, in which a skipped branch is not there"
    quiet = [entry for entry in sites if entry["verdict"] != SAVES and _differs(found, entry)]
    moved = {site for _, site in found.outside}
    for entry in quiet:
        interval = entry["saving_ms"]
        most = "" if interval is None else f" (at most {interval[2]:.3f} ms of {entry['dearest_ms']:.3f})"
        text = (
            f"site {entry['site']!r}: {entry['cheapest']} in place of {entry['dearest']} saves nothing that is "
            f"distinguishable from noise{most}"
        )
        if entry["whole"]:
            text += f"; {provider} took its If whole, and may compute both branches"
            warnings.append(Warning("savings", text, remedy))
        elif entry["index"] in moved:
            warnings.append(Warning("savings", f"{text}; its branches are computed outside", "export again"))
    rest = [entry["site"] for entry in quiet if not entry["whole"] and entry["index"] not in moved]
    if rest:
        text = f"skipping saves nothing that is distinguishable from noise, at {some(rest)}"
        warnings.append(Warning("noise", text, "time more rounds with --runs, or larger inputs"))
    return warnings


def _differs(found: Assignment, entry: Mapping[str, Any]) -> bool:
    """Tells whether something says that one branch of the site has more work: its nodes, or that nothing is told."""
    inside = [n.part for n in found.nodes if n.part and n.part[-1][0] == entry["index"]]
    count = Counter(inside)
    return entry["whole"] or not count or len(set(count.values())) > 1


def _all_run(session: Session, feeds: Mapping[str, NDArray[Any]], choice: Choice) -> bool:
    """Tells whether the form has all paths of a choice (frozen ones may not)."""
    try:
        for path in choice.paths:
            session.run(feeds, path=path, seed=0)
    except ValueError:
        return False
    return True


def _timed(
    session: Session,
    feeds: Mapping[str, NDArray[Any]],
    paths: set[tuple[int, ...]],
    runs: int,
    progress: Tell | None,
    title: str,
) -> dict[tuple[int, ...], NDArray[np.float64]]:
    def case(path: tuple[int, ...]) -> Case:
        return lambda: session.run(feeds, path=path, seed=0)

    names = {",".join(map(str, path)): path for path in sorted(paths)}
    times = interleave({name: case(path) for name, path in names.items()}, runs=runs, progress=progress, title=title)
    return {path: times[name] for name, path in names.items()}


def _finite(interval: Interval) -> list[float] | None:
    """Low, median and high; None where there are too few rounds for bounds."""
    found = [interval.low, interval.median, interval.high]
    return found if np.isfinite(found).all() else None
