"""What a file says about itself: sites, policies, the expected share of parameters and FLOPs, contract checks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from rich.markup import escape
from rich.table import Table

from rr_export.bundle.bundle import Bundle
from rr_export.laws.plan import Plan
from rr_export.laws.policies import MarkovStep
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.sink import CALL_KEY, MIDDLE_KEY, SITE_KEY, sites_without_if

RANDOM_OPS = {
    "RandomUniform", "RandomNormal", "RandomUniformLike", "RandomNormalLike", "Bernoulli", "Multinomial",
}  # fmt: skip


@dataclass(frozen=True)
class ContractCheck:
    """One rule of the graph contract, and whether the file keeps it."""

    rule: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Inspection:
    """What can be read off a bundle without running it.

    Attributes:
        plan: the sites.
        nodes: number of nodes, branches included.
        parameters: number of parameters, each counted once.
        parameters_used: expected number of parameters that a run uses.
        flops: multiply-adds times two of all branches, for ``sizes``; matrix products and convolutions only.
        flops_used: expected number in one run.
        sizes: the sizes taken for dynamic axes.
        contract: the checks of the contract.
    """

    plan: Plan
    nodes: int
    parameters: int
    parameters_used: float
    flops: float
    flops_used: float
    sizes: Mapping[str, int]
    contract: tuple[ContractCheck, ...]

    @property
    def sound(self) -> bool:
        """Whether the file keeps every rule of the contract."""
        return all(check.holds for check in self.contract)

    def tables(self, title: str) -> list[Table]:
        """Returns the sites, the expected cost and the contract as rich tables."""
        reached, marginals = self.plan.reached(), self.plan.marginals()
        sites = Table(title=f"{escape(title)}: {len(self.plan.sites)} sites, {self.plan.path_count()} paths")
        for column in ("site", "kind", "branches", "policy", "P(route)", "P(reached)"):
            sites.add_column(column)
        for site, law, probability in zip(self.plan.sites, marginals, reached, strict=True):
            policy = type(site.policy).__name__
            step = f", step {site.policy.index}" if isinstance(site.policy, MarkovStep) else ""
            routes = ", ".join(f"{p:.3g}" for p in law)
            sites.add_row(
                escape(site.name),
                site.kind,
                escape(", ".join(site.branches)),
                policy + step,
                routes,
                f"{probability:.3g}",
            )
        cost = Table(title="expected cost of one run")
        for column in ("", "in the file", "used per run", "share"):
            cost.add_column(column, justify="right")
        at = ", ".join(f"{k}={v}" for k, v in self.sizes.items())
        rows = (
            ("parameters", self.parameters, self.parameters_used),
            (f"FLOPs{f' at {at}' if at else ''}", self.flops, self.flops_used),
        )
        for name, total, used in rows:
            cost.add_row(name, f"{total:,.0f}", f"{used:,.0f}", f"{used / total:.1%}" if total else "-")
        contract = Table(title="graph contract")
        for column in ("rule", "result", "found"):
            contract.add_column(column, overflow="fold")
        for check in self.contract:
            mark = "[green]holds[/]" if check.holds else "[bold red]BROKEN[/]"
            contract.add_row(escape(check.rule), mark, escape(check.found))
        return [sites, cost, contract] if self.plan.sites else [cost, contract]

    def to_json(self) -> dict[str, Any]:
        """Returns everything as a JSON-ready dictionary."""
        return {
            "sites": [
                {
                    "name": site.name,
                    "kind": site.kind,
                    "branches": list(site.branches),
                    "probabilities": law.tolist(),
                    "reached": float(reached),
                }
                for site, law, reached in zip(self.plan.sites, self.plan.marginals(), self.plan.reached(), strict=True)
            ],
            "paths": self.plan.path_count(),
            "nodes": self.nodes,
            "parameters": self.parameters,
            "parameters_used": self.parameters_used,
            "flops": self.flops,
            "flops_used": self.flops_used,
            "sizes": dict(self.sizes),
            "contract": [{"rule": c.rule, "holds": c.holds, "found": c.found} for c in self.contract],
        }


def inspect(bundle: Bundle, sizes: Mapping[str, int] | None = None) -> Inspection:
    """Returns what can be read off a bundle.

    Args:
        bundle: the bundle.
        sizes: sizes of dynamic axes by name, for counting FLOPs; 1 for "batch", else 64, where not given.
    """
    plan = bundle.plan
    labels = {d for row in bundle.manifest["inputs"] for d in row["shape"] if isinstance(d, str)}
    unknown = sorted(set(sizes or {}) - labels)
    if unknown:
        raise ValueError(f"inspect: expected sizes of {sorted(labels) or 'no axis'}, got {unknown}; drop them")
    chosen = {label: (sizes or {}).get(label, 1 if label == "batch" else 64) for label in sorted(labels)}
    weights: dict[int, tuple[int, set[frozenset[tuple[int, int, int, int]]]]] = {}
    total = used = 0.0
    for node, inside in _walk(bundle.model.graph, ()):
        share = _probability(plan, inside)
        flops = _flops(node, chosen)
        total += flops
        used += share * flops
        for value in node.inputs:
            if value is not None and value.is_initializer() and value.const_value is not None and _is_weight(value):
                known = weights.setdefault(id(value.const_value), (value.const_value.size, set()))
                known[1].add(frozenset(inside))
    return Inspection(
        plan,
        sum(1 for _ in ir.traversal.RecursiveGraphIterator(bundle.model.graph)),
        sum(size for size, _ in weights.values()),
        sum(size * _probability_of_any(plan, places) for size, places in weights.values()),
        total,
        used,
        chosen,
        tuple(contract_checks(bundle)),
    )


def contract_checks(bundle: Bundle) -> Iterator[ContractCheck]:
    """Yields the rules of the graph contract with what the file has."""
    graph, manifest = bundle.model.graph, bundle.manifest
    interface, plan = manifest["interface"], bundle.plan
    added = {"explicit": [SEED, PATH], "host": [DRAWS, PATH]}.get(interface, [])
    inputs = [v.name for v in graph.inputs]
    expected = [row["name"] for row in manifest["inputs"]] + added
    yield ContractCheck(f"inputs of interface {interface}", inputs == expected, ", ".join(map(str, inputs)))
    defaults = [v.name for v in graph.inputs if v.name in graph.initializers]
    yield ContractCheck("no input has a default", not defaults, ", ".join(map(str, defaults)) or "none")
    outputs = [v.name for v in graph.outputs]
    expected = [row["name"] for row in manifest["outputs"]] + ([TAKEN] if added else [])
    yield ContractCheck("outputs", outputs == expected, ", ".join(map(str, outputs)))
    opset = graph.opset_imports.get("", 0)
    yield ContractCheck("opset 18 to 21", 18 <= opset <= 21, str(opset))
    random = [n for n in ir.traversal.RecursiveGraphIterator(graph) if n.op_type in RANDOM_OPS]
    wanted = 1 if interface in ("explicit", "standalone") else 0
    right = len(random) == wanted and all(n.op_type == "RandomUniformLike" and n.graph is graph for n in random)
    found = ", ".join(f"{n.op_type} {n.name!r}" for n in random) or "none"
    yield ContractCheck(f"{wanted} random node, in the main graph", right, found)
    seeds = [n.name for n in random if "seed" in n.attributes]
    yield ContractCheck("no seed attribute", not seeds, ", ".join(map(str, seeds)) or "none")
    idle = bundle.manifest.get("idle", [])
    missing = [name for name in sites_without_if(bundle.model, plan) if name not in idle]
    yield ContractCheck("every site that is used is an If", not missing, ", ".join(missing) or "all")


Inside = tuple[tuple[int, int, int, int], ...]  # (call, site, first route, last route + 1), outermost first


def _walk(graph: ir.Graph, inside: Inside) -> Iterator[tuple[ir.Node, Inside]]:
    for node in graph:
        yield node, inside
        for attribute in node.attributes.values():
            if attribute.type != ir.AttributeType.GRAPH:
                continue
            inner = inside
            if SITE_KEY in node.metadata_props:
                call, site, middle = (int(node.metadata_props[k]) for k in (CALL_KEY, SITE_KEY, MIDDLE_KEY))
                low, high = next(((a, b) for c, _, a, b in inside if c == call), (0, 1 << 62))
                part = (middle, high) if attribute.name == "then_branch" else (low, middle)
                inner = (*(i for i in inside if i[0] != call), (call, site, *part))
            yield from _walk(attribute.as_graph(), inner)


def _probability(plan: Plan, inside: Sequence[tuple[int, int, int, int]]) -> float:
    return _probability_of_any(plan, {frozenset(inside)})


def _probability_of_any(plan: Plan, places: set[frozenset[tuple[int, int, int, int]]]) -> float:
    """P(at least one of the places is computed); a place is a conjunction of route ranges."""
    if frozenset() in places:
        return 1.0
    return plan.probability_of_any(
        [{site: range(low, min(high, plan.sites[site].policy.branches)) for _, site, low, high in p} for p in places]
    )


def _is_weight(value: ir.Value) -> bool:
    return not (value.name or "").startswith("rr/") and value.dtype is not None and value.dtype.is_floating_point()


def _flops(node: ir.Node, sizes: Mapping[str, int]) -> float:
    """Two per multiply-add of matrix products and convolutions; 0 for everything else."""
    shapes = [_shape(v, sizes) for v in node.inputs]
    output = _shape(node.outputs[0], sizes)
    if output is None or len(shapes) < 2 or shapes[0] is None or shapes[1] is None:
        return 0.0
    if node.op_type == "MatMul":
        return 2.0 * math.prod(output) * shapes[0][-1]
    if node.op_type == "Gemm":
        transposed = node.attributes["transA"].as_int() if "transA" in node.attributes else 0
        return 2.0 * math.prod(output) * shapes[0][0 if transposed else 1]
    if node.op_type == "Conv":
        return 2.0 * math.prod(output) * math.prod(shapes[1][1:])
    return 0.0


def _shape(value: ir.Value | None, sizes: Mapping[str, int]) -> list[int] | None:
    if value is None or value.shape is None:
        return None
    found = []
    for dim in value.shape:
        if isinstance(dim, int):
            found.append(dim)
        else:
            size = ir.SymbolicDim(dim.value).evaluate(sizes) if dim.value is not None else None
            if not isinstance(size, int):
                return None
            found.append(size)
    return found
