"""Which ``If`` belongs to which site: by what lowering wrote on it, or by the name of its condition."""

from __future__ import annotations

import re
from collections.abc import Collection

import onnx_ir as ir

from rr_export.errors import PackageError
from rr_export.laws.plan import Plan
from rr_export.lowering.sink import MIDDLE_KEY, SITE_KEY

_CONDITION = re.compile(r"rr/(.*)>=([0-9]+)", re.DOTALL)


def mark_sites(model: ir.Model, plan: Plan, idle: Collection[str]) -> None:
    """Every ``If`` of a site says so in its metadata.

    Tools that rewrite a file may drop the metadata; the conditions keep their names ``rr/<site>>=<m>``.

    Raises:
        PackageError: a site that is called has not all of its ``If`` nodes.
    """
    indices = {site.name: i for i, site in enumerate(plan.sites)}
    found: set[tuple[int, int]] = set()
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.op_type not in ("If", "Squeeze") or node.domain:
            continue
        match = _CONDITION.fullmatch((node.inputs[0].name if node.inputs[0] is not None else None) or "")
        if SITE_KEY not in node.metadata_props and match is not None and match[1] in indices:
            node.metadata_props.update({SITE_KEY: str(indices[match[1]]), MIDDLE_KEY: match[2]})
        if SITE_KEY in node.metadata_props:
            found.add((int(node.metadata_props[SITE_KEY]), int(node.metadata_props[MIDDLE_KEY])))
    for i, site in enumerate(plan.sites):
        needed = {(i, m) for m in range(1, len(site.branches))}
        every = needed & found if site.kind == "python" else needed  # code need not tell all routes apart everywhere
        if needed and site.calls and site.name not in idle and not (every and every <= found):
            raise PackageError(
                f"site {site.name!r}: expected its If nodes with the metadata {SITE_KEY}, got {len(needed & found)} of "
                f"{len(needed)} (a tool that rewrote the file dropped it); package the exported bundle, and let the "
                "tool rewrite the packaged files"
            )
