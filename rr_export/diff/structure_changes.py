"""What changed in what a bundle says and is: sites, laws, the paths of seeds, the graph, sizes of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.weights import weight_bytes
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Gated
from rr_export.report.changes import Aspect
from rr_runtime.draws import draws

SEEDS = 1000
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
    """Returns the policies that are others, at the sites that both have."""
    details, largest = [], 0.0
    old, new = ({s.name: s.policy for s in b.plan.sites} for b in (before, after))
    both = [name for name in old if name in new]
    for name in both:
        if isinstance(old[name], Gated) or isinstance(new[name], Gated):
            details += [f"{name}: {old[name]!r} -> {new[name]!r}"] if old[name] != new[name] else []
            continue
        one, other = old[name].table, new[name].table
        if one.shape == other.shape and np.allclose(one, other, rtol=0, atol=1e-12):
            continue
        if one.shape == other.shape:
            largest = max(largest, float(np.abs(one - other).max()))
        details.append(f"{name}: {_shown(one)} -> {_shown(other)}")
    summary = f"{len(both)} sites in both, {len(details)} with another law"
    return Aspect("laws", bool(details), summary, tuple(details), {"largest_difference": largest})


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


def _shown(table: Any) -> str:
    rows = [" ".join(f"{p:.6g}" for p in row) for row in table]
    return f"[{'; '.join(rows)}]"


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
