"""A pruned bundle against the one that it was made from: the same on every path that is left, and smaller.

Nothing here is told by what pruned it but which branches it says that it kept, and this is checked by their names.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_writer import sha256_of
from rr_export.bundle.file_names import MODEL, WEIGHTS
from rr_export.bundle.manifest import METADATA_KEY
from rr_export.laws.plan import Plan
from rr_export.laws.policies import LEAST, Gated
from rr_export.laws.profile import Profile, plan_under
from rr_export.lowering.deciding_slice import routing_slice
from rr_export.parity.compare import Arrays
from rr_export.parity.kinds_that_ran import check_kinds_that_ran
from rr_export.parity.law import check_law
from rr_export.parity.named_weights import weights_in
from rr_export.parity.nearest import check_nearest
from rr_export.parity.paths import check_paths
from rr_export.parity.profiles_check import check_profile
from rr_export.parity.pruned_file import SourceFile
from rr_export.parity.random_node import first_random_runs
from rr_export.parity.streams import check_streams
from rr_export.parity.subject import File, Original
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_runtime.manifest import Manifest
from rr_runtime.pruned import Pruned

POINTS = ("source", "weights", "paths", "nearest", "streams", "law", "profiles", "laziness")


def check_pruned(
    pruned: Bundle,
    pruned_folder: Path,
    source: Bundle,
    folder: Path,
    inputs: Arrays,
    terms: Terms,
    *,
    points: Collection[str] = POINTS,
) -> tuple[Check, ...]:
    """Returns the checks of some points; where it is of another source, there is nothing else to compare.

    Args:
        pruned: the pruned bundle.
        pruned_folder: where its files are.
        source: the bundle that it is said to be made from.
        folder: where its files are.
        inputs: arrays by input name.
        terms: what counts as equal, and how much is tried.
        points: which points.
    """
    told = Manifest.parse(pruned.manifest).pruned
    assert told is not None
    origin = _check_source(told, pruned, source, folder)
    if not origin.passed:
        return (origin,)
    file = File(pruned_folder, pruned)
    original = Original(SourceFile(File(folder, source), pruned, told), inputs)
    axes = {row["name"]: row["shape"] for row in pruned.manifest["inputs"]}
    bounds = pruned.manifest.get("axes", {})
    routing = routing_slice(file.source, pruned, inputs)

    def law() -> Check:
        with first_random_runs(routing) as drawn:
            found = check_law(None, file, routing, drawn, inputs, terms)
        failures = laws_apart(_law(source, told.law), pruned.plan, told)
        return _with_failures(found, failures)

    checks: dict[str, Callable[[], Check]] = {
        "source": lambda: origin,
        "weights": lambda: _check_weights(pruned, pruned_folder, source, folder),
        "paths": lambda: check_paths(original, file, terms, axes=axes, bounds=bounds),
        "nearest": lambda: check_nearest(original, file, terms),
        "streams": lambda: check_streams(original, file, routing, terms),
        "law": law,
        "laziness": lambda: check_kinds_that_ran(original, file),
    }
    found = [check() for name, check in checks.items() if name in points]
    for name, profile in pruned.profiles.items() if "profiles" in points else ():
        check = check_profile(name, profile, original, file, terms)
        found.append(_with_failures(check, _profile_differences(source.profiles[name], profile, told)))
    return tuple(found)


def laws_apart(source: Plan, pruned: Plan, told: Pruned) -> list[str]:
    """Returns one sentence for each site at which some draw takes another branch by the two laws, exactly.

    Sites that the source's law never reaches decide nothing, but as steps of a chain.
    """
    failures: list[str] = []
    chains = [[c for c in plan.chains if len(c) > 1] for plan in (source, pruned)]
    if chains[0] != chains[1]:
        failures.append(f"expected the chains {chains[0]}, got {chains[1]}")
        return failures
    before = {i: previous for chain in chains[0] for previous, i in itertools.pairwise(chain)}
    chained = {i for chain in chains[0] for i in chain}
    reached = source.evenly().reached()
    for i, (site, other) in enumerate(zip(source.sites, pruned.sites, strict=True)):
        if i not in chained and not reached[i] > 0:
            continue
        if isinstance(site.policy, Gated) or isinstance(other.policy, Gated):
            if site.policy != other.policy:
                failures.append(f"site {site.name!r}: expected {site.policy!r}, got {other.policy!r}")
            continue
        kept = told.sites[i].kept
        rows = told.sites[before[i]].kept if i in before else (0,)
        for number, row in enumerate(rows):
            thresholds = site.policy.thresholds[row]
            wanted = [thresholds[k - 1] for k in kept[1:]]
            got = other.policy.thresholds[number].tolist()
            borders = np.ceil(np.array([0.0, *thresholds, 1.0]) / LEAST)
            lost = [k for k in range(len(borders) - 1) if borders[k] < borders[k + 1] and k not in kept]
            if lost:
                failures.append(f"site {site.name!r}: expected only branches {list(kept)} to be drawn, got {lost} too")
            elif [float(t) for t in wanted] != got:
                failures.append(f"site {site.name!r}: expected thresholds {list(map(float, wanted))}, got {got}")
    return failures


def _check_source(told: Pruned, pruned: Bundle, source: Bundle, folder: Path) -> Check:
    """It was made from this file, and says of it what is so."""
    failures = []
    digest = sha256_of(folder / MODEL if folder.is_dir() else folder)
    if told.source != digest:
        failures.append(
            f"expected a bundle that was made from the model file {digest[:12]}..., got {told.source[:12]}..."
        )
    mine = [(s.name, s.kind, s.branches) for s in source.plan.sites]
    other = [(row.name, site.kind, row.branches) for row, site in zip(told.sites, pruned.plan.sites, strict=True)]
    if mine != other:
        failures.append(f"expected the sites {[m[0] for m in mine]} with their branches, got others")
    else:
        failures += _call_differences(told, pruned, source)
    for key in ("interface", "opset", "generator", "inputs", "outputs", "axes", "tolerances"):
        if pruned.manifest.get(key) != source.manifest.get(key):
            failures.append(f"expected {key} of the source, got {pruned.manifest.get(key)}")
    unknown = sorted({*told.profiles, *pruned.profiles, *([told.law] if told.law else [])} - set(source.profiles))
    if unknown or set(told.profiles) != set(pruned.profiles):
        failures.append(f"expected the profiles {list(told.profiles)} of the source, got {list(pruned.profiles)}")
    gone = sum(len(site.branches) - len(site.kept) for site in told.sites)
    return Check(
        "source",
        not failures,
        f"made from this file; {gone} of {sum(len(s.branches) for s in told.sites)} branches are gone; sites, calls, "
        "inputs and outputs as there",
        tuple(failures),
    )


def _call_differences(told: Pruned, pruned: Bundle, source: Bundle) -> Iterator[str]:
    for i, (site, left) in enumerate(zip(source.plan.sites, pruned.plan.sites, strict=True)):
        calls = [c for c in site.calls if all(k in told.sites[s].kept for s, k in c)]
        called = [tuple((s, told.sites[s].kept[k]) for s, k in call) for call in left.calls]
        if calls != called:
            yield f"site {site.name!r}: expected the calls {calls}, got {called}; site {i}"


def _check_weights(pruned: Bundle, pruned_folder: Path, source: Bundle, folder: Path) -> Check:
    """Every weight is one of the source, bit for bit, and there are fewer bytes."""
    known = {(t.dtype, tuple(t.shape.numpy()), t.tobytes()) for _, t in weights_in(source.model)}
    mine = list(weights_in(pruned.model))
    floats = [(n, t) for n, t in mine if t.dtype.is_floating_point()]
    failures = [
        f"weight {n!r}: expected one of the source, bit for bit, got another"
        for n, t in floats
        if (t.dtype, tuple(t.shape.numpy()), t.tobytes()) not in known
    ]
    sizes = [_bytes(place) for place in (folder, pruned_folder)]
    said = [len(made.model.metadata_props.get(METADATA_KEY, "")) for made in (source, pruned)]
    if not sizes[1] - said[1] < sizes[0] - said[0]:
        failures.append(
            f"expected less than the {sizes[0] - said[0]} bytes of the source without its manifest, got "
            f"{sizes[1] - said[1]}"
        )
    told = f"{len(floats)} weights are those of the source, bit for bit; {sizes[1]} bytes, of {sizes[0]}"
    return Check("weights", not failures, told, tuple(failures), {"bytes": sizes[1], "of": sizes[0]})


def _bytes(folder: Path) -> int:
    """The size of a model with its weights."""
    if not folder.is_dir():
        return folder.stat().st_size
    return sum((folder / name).stat().st_size for name in (MODEL, WEIGHTS) if (folder / name).exists())


def _law(source: Bundle, name: str | None) -> Plan:
    return source.plan if name is None else plan_under(source.plan, source.profiles[name])


def _profile_differences(source: Profile, pruned: Profile, told: Pruned) -> list[str]:
    failures = [] if source.measured == pruned.measured else [
        f"expected {source.measured!r} to be measured, got {pruned.measured!r}"
    ]  # fmt: skip
    if source.path is not None or pruned.path is not None:
        got = None if pruned.path is None else told.source_path(pruned.path)
        return failures + ([] if source.path == got else [f"expected the path {source.path}, got {got}"])
    assert source.law is not None and pruned.law is not None
    return failures + laws_apart(source.law, pruned.law, told)


def _with_failures(check: Check, failures: list[str]) -> Check:
    return replace(check, passed=check.passed and not failures, failures=(*check.failures, *failures))


def said_pruned(manifest: Mapping[str, Any] | None, of: Bundle) -> bool:
    """Tells whether a manifest says that its file was pruned, and not as that of the bundle does."""
    return manifest is not None and "pruned" in manifest and manifest["pruned"] != of.manifest.get("pruned")
