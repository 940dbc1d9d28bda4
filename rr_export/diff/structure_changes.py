"""What changed in what a bundle says and is: sites, laws, the paths of seeds, the graph, sizes of files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.manifest import as_runtime_reads
from rr_export.bundle.weights import weight_bytes
from rr_export.laws.plan import Plan
from rr_export.report.changes import Aspect
from rr_runtime.draws import draws
from rr_runtime.manifest import Manifest
from rr_runtime.profile import Profile, law_in_short, laws_of, shown_law
from rr_runtime.site_law import Site

SEEDS = 1000
SAME_LAW = 1e-12  # by which probabilities may differ and be called the same
SAME_SIZE = 0.01  # share of the size by which files may differ and be called the same


def with_names(bundle: Bundle, moved: Mapping[str, str]) -> Bundle:
    """Returns the bundle with the names that its sites had, by which they are found; its files are what they were.

    Args:
        bundle: the bundle.
        moved: the names that they have, by those that they had.
    """
    had = {new: old for old, new in moved.items()}
    sites = [{**row, "name": had.get(row["name"], row["name"])} for row in bundle.manifest["sites"]]
    return replace(bundle, manifest={**bundle.manifest, "sites": sites})


def compare_sites(before: Bundle, after: Bundle, moved: Mapping[str, str]) -> Aspect:
    """Returns which sites came, went, or have other branches; another line of the code is told, and no change."""
    old, new = ({s.name: (s.kind, s.branches) for s in b.plan.sites} for b in (before, after))
    details = [f"- {name}" for name in old if name not in new]
    details += [f"+ {name}: {new[name][0]} of {', '.join(new[name][1])}" for name in new if name not in old]
    details += [
        f"{name}: {old[name][0]} of {', '.join(old[name][1])} -> {new[name][0]} of {', '.join(new[name][1])}"
        for name in old
        if name in new and old[name] != new[name]
    ]
    if not details and list(old) != list(new):
        details.append(f"another order: {', '.join(old)} -> {', '.join(new)}")
    changed = bool(details)
    details += [f"{name} is on another line now: {other}" for name, other in moved.items()]
    return Aspect("sites", changed, f"{len(old)} -> {len(new)} sites", tuple(details))


def compare_laws(before: Bundle, after: Bundle) -> Aspect:
    """Returns the policies that are others, at the sites that both have; of the profiles too."""
    old, new = (as_runtime_reads(b.manifest, b.profiles) for b in (before, after))
    details, largest = _law_changes(old.sites, new.sites)
    both = {site.name for site in old.sites} & {site.name for site in new.sites}
    summary = f"{len(both)} sites in both, {len(details)} with another law"
    if old.profiles or new.profiles:
        changes = _profile_changes(old, new)
        summary += f"; {len(old.profiles)} -> {len(new.profiles)} profiles, {len(changes)} of them changed"
        details += changes
    return Aspect("laws", bool(details), summary, tuple(details), {"largest_difference": largest})


def _law_changes(old: Sequence[Site], new: Sequence[Site]) -> tuple[list[str], float]:
    """One sentence for each site of both whose law is another, and the largest difference of a probability."""
    details, largest = [], 0.0
    one, other = laws_of(old), laws_of(new)
    for name in one:
        if name not in other:
            continue
        (rows, before), (now, after) = ((np.array(rows), step) for rows, step in (one[name], other[name]))
        apart = float(np.abs(rows - now).max(initial=0.0)) if rows.shape == now.shape else math.inf
        if before == after and apart <= SAME_LAW:
            continue
        largest = max(largest, apart) if apart < math.inf else largest
        details.append(f"{name}: {shown_law(one[name])} -> {shown_law(other[name])}")
    return details, largest


def _profile_changes(old: Manifest, new: Manifest) -> list[str]:
    """One sentence for each profile that came, went, is another law or path, or was measured again."""
    had, has = (
        {name: law_in_short(profile, told.sites) for name, profile in told.profiles.items()} for told in (old, new)
    )
    found = [f"- profile {name}: {law}" for name, law in had.items() if name not in has]
    found += [f"+ profile {name}: {law}" for name, law in has.items() if name not in had]
    for name in had:
        if name not in has:
            continue
        one, other = old.profiles[name], new.profiles[name]
        details = _law_changes(one.sites, other.sites)[0]
        if (one.path is None) != (other.path is None) or _other_routes(old, one, new, other):
            details = [f"{had[name]} -> {has[name]}"]
        if one.measured != other.measured:
            details.append(f"{one.measured or 'not measured'} -> {other.measured or 'not measured'}")
        found += [f"profile {name}: {'; '.join(details)}"] if details else []
    return found


def _other_routes(old: Manifest, one: Profile, new: Manifest, other: Profile) -> bool:
    """Whether two paths differ at a site that both have."""
    routes = [dict(zip((s.name for s in m.sites), p.path or ())) for m, p in ((old, one), (new, other))]  # noqa: B905
    return any(routes[0][name] != routes[1][name] for name in routes[0] if name in routes[1])


def compare_paths(before: Bundle, after: Bundle) -> Aspect:
    """Returns whether the same seeds take the same paths."""
    plans = before.plan, after.plan
    if not all(plan.sites for plan in plans):
        none = not any(plan.sites for plan in plans)
        return Aspect("paths", not none, "no sites" if none else "one of them has no sites")
    if [s.name for s in plans[0].sites] != [s.name for s in plans[1].sites]:
        return Aspect("paths", True, "other sites: a seed takes another path")
    pairs = [tuple(_path(plan, seed) for plan in plans) for seed in range(SEEDS)]
    same = sum(one == other for one, other in pairs)
    details = [f"seed {seed}: {list(one)} -> {list(other)}" for seed, (one, other) in enumerate(pairs) if one != other]
    gates = any(plan.gates for plan in plans)
    summary = f"{same} of {SEEDS} seeds take the same path{', but for what the input decides' if gates else ''}"
    return Aspect("paths", same < SEEDS, summary, tuple(details), {"same": same, "seeds": SEEDS})


def compare_graphs(before: Bundle, after: Bundle) -> Aspect:
    """Returns what changed of interface, inputs, outputs, targets, and kinds of nodes."""
    details = []
    for key in ("interface", "opset"):
        one, other = before.manifest[key], after.manifest[key]
        details += [f"{key}: {one} -> {other}"] if one != other else []
    for key in ("inputs", "outputs"):
        old, new = ({row["name"]: f"{row['dtype']} {row['shape']}" for row in b.manifest[key]} for b in (before, after))
        details += _changed_rows(key.removesuffix("s"), old, new)
    old, new = ({name: _form(target.about) for name, target in b.targets.items()} for b in (before, after))
    details += _changed_rows("target", old, new)
    counts = [_kinds(b.model) for b in (before, after)]
    for kind in sorted(counts[0].keys() | counts[1].keys()):
        one, other = (count[kind] for count in counts)
        details += [f"{kind}: {one} -> {other} nodes"] if one != other else []
    summary = f"{counts[0].total()} -> {counts[1].total()} nodes"
    return Aspect("graph", bool(details), summary, tuple(details))


def compare_sizes(before: Bundle, after: Bundle) -> Aspect:
    """Returns the bytes of the weights, and of all files where both are folders."""
    sizes = [{"weights": weight_bytes(b.model), **_files(b)} for b in (before, after)]
    old, new = sizes
    both = [name for name in old if name in new]
    apart = max(abs(new[n] - old[n]) / max(old[n], 1) for n in both)
    summary = ", ".join(f"{name} {old[name] / 1e6:.3g} -> {new[name] / 1e6:.3g} MB" for name in both)
    figures = {"before": old, "after": new}
    return Aspect("size", apart > SAME_SIZE, summary, (), figures)


def _path(plan: Plan, seed: int) -> tuple[int, ...]:
    return tuple(int(route) for route in plan.taken(plan.routes(draws(seed, len(plan.sites)))))


def _changed_rows(what: str, old: dict[str, str], new: dict[str, str]) -> list[str]:
    found = [f"- {what} {name}: {text}" for name, text in old.items() if name not in new]
    found += [f"+ {what} {name}: {text}" for name, text in new.items() if name not in old]
    changed = [name for name in old if name in new and old[name] != new[name]]
    return found + [f"{what} {name}: {old[name]} -> {new[name]}" for name in changed]


def _form(about: Any) -> str:
    return f"{about['form']}, {about['precision']}, {dict(about.get('sizes', {})) or 'free sizes'}"


def _kinds(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in ir.traversal.RecursiveGraphIterator(model.graph))


def _files(bundle: Bundle) -> dict[str, int]:
    if bundle.path is None or not bundle.path.is_dir():
        return {}
    return {"files": sum(file.stat().st_size for file in bundle.path.iterdir() if file.is_file())}
