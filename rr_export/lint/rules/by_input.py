"""Rules for sites whose routes the input decides, in files that carry our manifest: RR301 and RR304."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from rr_export.laws.plan import Plan
from rr_export.laws.policies import Gated
from rr_export.lint.dataflow import Dataflow
from rr_export.lint.finding import Finding
from rr_export.lint.reading import Subject
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.sink import SITE_KEY


def check_by_input(
    subject: Subject, flow: Dataflow, plan: Plan, latent: ir.Value, idle: Collection[str]
) -> Iterator[Finding]:
    """Yields the gated sites whose ``If`` no longer depends on the asked path, the draws and the input."""
    ifs: dict[int, list[ir.Node]] = {}
    for node in flow.nodes():
        if node.op_type == "If" and node.metadata_props.get(SITE_KEY, "").isdigit():
            ifs.setdefault(int(node.metadata_props[SITE_KEY]), []).append(node)
    for i in plan.gates:
        site, policy = plan.sites[i], plan.sites[i].policy
        if not site.calls or len(site.branches) < 2 or site.name in idle:
            continue
        if i not in ifs:
            yield subject.finding("RR301", f"site {site.name!r} decides no If", node=site.name)
        for node in ifs.get(i, ()):
            found = _sources(node.inputs[0], latent)
            missing = [] if latent in found else ["the asked path"]
            names = {value.name for value in found}
            if isinstance(policy, Gated) and policy.decision == "sample" and DRAWS not in names:
                missing.append("its draw")
            if not any(v.is_graph_input() and v.name not in (SEED, PATH, DRAWS) for v in found):
                missing.append("the input")
            if missing:
                text = f"what site {site.name!r} decides no longer depends on {' and '.join(missing)}"
                yield subject.finding("RR304", text, node=node.name or TAKEN, place=flow.place_name(node))


def _sources(value: ir.Value | None, latent: ir.Value) -> set[ir.Value]:
    """Everything that a value is made of, up to the latent routes and the draws."""
    found: set[ir.Value] = set()
    todo = [] if value is None else [value]
    while todo:
        here = todo.pop()
        if here in found:
            continue
        found.add(here)
        producer = here.producer()
        if producer is None or here is latent or here.name == DRAWS:
            continue
        todo += [v for v in producer.inputs if v is not None]
        for attribute in producer.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                inner = attribute.as_graph()
                todo += [v for v in inner.outputs if v is not None]
    return found
