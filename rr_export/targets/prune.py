"""A routed model without the branches that no kept profile can take: a smaller file, and the same on every path left.

before:  x -> If(route >= 1){ a }{ b } -> If(route >= 1){ If(route >= 2){ e }{ d } }{ c } -> y
after:   x -> a -> If(route >= 1){ d }{ c } -> y

A site of which one branch stays is decided: it keeps its place among the sites, so that seeds draw as before, and has
no ``If`` any more. Of several that stay, the routes are counted anew.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_writer import sha256_of
from rr_export.bundle.contents import GoldenCase
from rr_export.bundle.file_names import MODEL
from rr_export.bundle.manifest import write_manifest
from rr_export.capture.origins import SCOPE_KEY
from rr_export.errors import BundleError
from rr_export.laws.kept_branches import (
    Kept,
    kept_branches,
    law_of_kept,
    path_of_kept,
    plan_of_kept,
    profile_of_kept,
    takes_only,
)
from rr_export.laws.plan import Plan
from rr_export.laws.profile import Profile, plan_under
from rr_export.lowering.placement import parse_scope
from rr_export.lowering.sink import BRANCH_KEY, CALL_KEY, MIDDLE_KEY, SITE_KEY, sites_without_if
from rr_export.passes.place_weights import place_weights
from rr_export.targets.freeze import inline_decided, settle_known
from rr_export.targets.golden_runs import golden_on_path
from rr_export.targets.marks import mark_sites
from rr_export.targets.reroute import reroute
from rr_export.targets.reroute_gated import reroute_gated
from rr_runtime.one_line import list_few


def prune(bundle: Bundle, profiles: Sequence[str] | None = None, *, law: str | None = None) -> Bundle:
    """Returns the bundle without the branches that none of the profiles can take; on their paths it is the same model.

    Sites keep their order, names and draws, so that a seed takes the same path under a profile as before. Branches
    that stay keep their names, and are counted anew at each site: ``session.manifest.pruned.path`` has a path of the
    source as the new file calls it, and refuses one through a branch that is gone. Targets are not kept, and golden
    cases where their paths are.

    Args:
        bundle: a routed bundle with profiles.
        profiles: the names of those that are kept; None: all that it has.
        law: the kept profile whose law runs without a profile have. None: the bundle's own where that takes only
            branches that stay, else that of the first profile; ``manifest["pruned"]["law"]`` says which.

    Raises:
        BundleError: the bundle has no profiles.
        ValueError: it has no such profile, nothing would be gone, or a profile has a gate where the law has none.
        PackageError: a site has lost its ``If``.
    """
    chosen = _chosen(bundle, profiles)
    if law is not None and law not in chosen:
        raise ValueError(f"law: expected one of the profiles that are kept ({list_few(chosen)}), got {law!r}; name one")
    plan, kept = bundle.plan, kept_branches(bundle.plan, chosen.values())
    if all(len(here) == len(site.branches) for here, site in zip(kept, plan.sites, strict=True)):
        raise ValueError(
            f"prune: expected profiles that leave a branch out, got {list_few(chosen)}, which together take every "
            "branch of every site; keep fewer profiles, or other ones"
        )
    named = law if law is not None else None if takes_only(plan, kept) else next(iter(chosen))
    left = plan_of_kept(plan, kept) if named is None else law_of_kept(plan, chosen[named], kept)
    rewritten = {name: profile_of_kept(profile, kept) for name, profile in chosen.items()}
    _check_gates(left, rewritten)
    model = bundle.model.clone()
    mark_sites(model, plan, bundle.manifest.get("idle", ()))
    model = prune_model(model, plan, left, kept, interface=bundle.manifest["interface"])
    manifest = copy.deepcopy(bundle.manifest)
    manifest["sites"] = _site_rows(left)
    unread = sites_without_if(model, left)
    manifest["idle"] = [name for name in (s.name for s in left.sites if s.calls) if name in unread]
    manifest["pruned"] = {
        "source": {"sha256": _digest(bundle)},
        "profiles": list(chosen),
        "law": named,
        "sites": [
            {"branches": list(site.branches), "kept": list(here)} for site, here in zip(plan.sites, kept, strict=True)
        ],
    }
    golden = _golden(bundle, chosen, kept, same_law=named is None)
    return Bundle(model, manifest, golden, profiles=rewritten)


def prune_model(model: ir.Model, plan: Plan, left: Plan, kept: Kept, *, interface: str) -> ir.Model:
    """Returns the model without the branches that go; the model is consumed.

    Args:
        model: the routed model, every ``If`` of a site marked.
        plan: its sites.
        left: the sites with what stays of them, and the law that the file has.
        kept: the branches that stay.
        interface: of the model: explicit or host.
    """

    def decided(site: int, middle: int) -> bool | None:
        below = sum(route < middle for route in kept[site])
        return None if 0 < below < len(kept[site]) else below == 0

    inline_decided(model.graph, decided)
    settle_known(model.graph)
    _number_anew(model.graph, kept)
    if plan.gates and left.gates:
        reroute_gated(model, plan, left, interface)
    else:
        reroute(model, left, interface)
    ir_passes.RemoveUnusedNodesPass()(model)
    place_weights(model)
    return model


def _chosen(bundle: Bundle, profiles: Sequence[str] | None) -> dict[str, Profile]:
    if not bundle.profiles:
        raise BundleError(
            "prune: expected a bundle with profiles, which say what is kept, got one without; make some with "
            "bundle.with_profile (rr-export profile), or keep one path alone with rr.freeze"
        )
    if isinstance(profiles, str):
        raise ValueError(f"profiles: expected a list of names, got the text {profiles!r}; pass [{profiles!r}]")
    names = list(bundle.profiles if profiles is None else dict.fromkeys(profiles))
    for name in names:
        if name not in bundle.profiles:
            raise ValueError(
                f"profiles: expected names of {list_few(bundle.profiles)}, got {name!r}; name some of them"
            )
    if not names:
        raise ValueError("profiles: expected at least one name, got none; name what is kept")
    return {name: bundle.profiles[name] for name in names}


def _check_gates(left: Plan, profiles: dict[str, Profile]) -> None:
    """Raises a ValueError where a profile leaves a site to the input at which the file has no gate any more."""
    for name, profile in profiles.items():
        for i in profile.law.gates if profile.law is not None else ():
            if i not in left.gates:
                raise ValueError(
                    f"law: expected one that leaves site {left.sites[i].name!r} to the input, as profile {name!r} "
                    f"does, got one that draws there; pass law={name!r} (--law), or keep other profiles"
                )


def _site_rows(left: Plan) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = write_manifest(
        left, interface="explicit", opset=0, inputs=(), outputs=(), producer={}
    )["sites"]
    return rows


def _number_anew(graph: ir.Graph, kept: Kept) -> None:
    """The ``If`` nodes that are left ask for the new routes; nodes say in which branch they are of a choice that is."""
    nodes = list(ir.traversal.RecursiveGraphIterator(graph))
    for node in nodes:
        if SITE_KEY in node.metadata_props:
            site, middle = int(node.metadata_props[SITE_KEY]), int(node.metadata_props[MIDDLE_KEY])
            if CALL_KEY in node.metadata_props:
                node.metadata_props.setdefault(BRANCH_KEY, str(middle))  # branches of a call keep their numbers
            node.metadata_props[MIDDLE_KEY] = str(sum(route < middle for route in kept[site]))
    calls = {node.metadata_props[CALL_KEY] for node in nodes if CALL_KEY in node.metadata_props}
    for node in nodes:
        if SCOPE_KEY in node.metadata_props:
            inside = [(c, k) for c, k in parse_scope(node.metadata_props[SCOPE_KEY]) if str(c) in calls]
            node.metadata_props[SCOPE_KEY] = "/".join(f"{c}:{k}" for c, k in inside)


def _digest(bundle: Bundle) -> str:
    """The SHA-256 of the model file of a bundle, as it is or would be saved."""
    with bundle.folder() as place:
        return sha256_of(place / MODEL if place.is_dir() else place)


def _golden(bundle: Bundle, chosen: dict[str, Profile], kept: Kept, *, same_law: bool) -> list[GoldenCase]:
    """The golden cases whose paths stay; where there are none, one for each profile, as the source answers it."""
    cases = [case for case in bundle.golden if _stays(case.taken, kept)]
    if not cases:
        for profile in chosen.values():
            likely = bundle.plan.taken(plan_under(bundle.plan, profile).settled().most_probable())
            cases += golden_on_path(bundle, tuple(int(route) for route in likely))
    return [_called_anew(case, kept, same_law=same_law) for case in cases]


def _called_anew(case: GoldenCase, kept: Kept, *, same_law: bool) -> GoldenCase:
    path_stays = case.path is None or _stays(case.path, kept)
    taken = path_of_kept(case.taken, kept)
    if same_law and path_stays:
        return replace(case, path=None if case.path is None else path_of_kept(case.path, kept), taken=taken)
    return replace(case, seed=None, path=taken, taken=taken)


def _stays(path: Sequence[int], kept: Kept) -> bool:
    return all(route < 0 or route in routes for route, routes in zip(path, kept, strict=True))
