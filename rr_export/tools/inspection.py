"""What a file says about itself: sites, policies, the expected share of parameters and FLOPs, contract checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import onnx_ir as ir
from rich.markup import escape
from rich.table import Table

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.expected_cost import expected_cost
from rr_export.bundle.graph_work import sizes_taken
from rr_export.bundle.manifest import as_runtime_reads
from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_export.laws.policies import MarkovStep
from rr_export.laws.profile import plan_under
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.sink import sites_without_if
from rr_export.report.short_numbers import short_number
from rr_runtime.profile import Measured, figures, law_in_short

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
class InspectedProfile:
    """What can be read off a profile: what runs under it cost, and what was measured of it.

    Attributes:
        name: what it is called.
        law: what it is, in a few words.
        parameters_used: expected number of parameters that a run uses.
        flops_used: expected number in one run.
        measured: what was measured of it, or None.
    """

    name: str
    law: str
    parameters_used: float
    flops_used: float
    measured: Measured | None


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
        profiles: other laws over the sites.
    """

    plan: Plan
    nodes: int
    parameters: int
    parameters_used: float
    flops: float
    flops_used: float
    sizes: Mapping[str, int]
    contract: tuple[ContractCheck, ...]
    profiles: tuple[InspectedProfile, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether the file keeps every rule of the contract."""
        return all(check.holds for check in self.contract)

    def tables(self, title: str) -> list[Table]:
        """Returns the sites, the expected cost, the profiles and the contract as rich tables."""
        sites = [self.site_table(title)] if self.plan.sites else []
        return [*sites, *self.cost_tables(), self.contract_table()]

    def site_table(self, title: str, costs: Costs | None = None) -> Table:
        """Returns the sites as a rich table.

        Args:
            title: what it is a table of.
            costs: what each branch adds, which has a column then.
        """
        reached, marginals = self.plan.told_reached(), self.plan.told_marginals()
        table = Table(title=f"{escape(title)}: {len(self.plan.sites)} sites, {self.plan.path_count()} paths")
        added = [] if costs is None else [escape(f"each adds, {costs.unit}")]
        for column in ("site", "kind", "branches", "policy", "P(route)", "P(reached)", *added):
            table.add_column(column, overflow="fold")
        for i, (site, law, probability) in enumerate(zip(self.plan.sites, marginals, reached, strict=True)):
            policy = type(site.policy).__name__
            step = f", step {site.policy.index}" if isinstance(site.policy, MarkovStep) else ""
            routes = "by the input" if law is None else ", ".join(f"{p:.3g}" for p in law)
            table.add_row(
                escape(site.name),
                escape(site.kind),
                escape(", ".join(site.branches)),
                policy + step,
                routes,
                "by the input" if probability is None else f"{probability:.3g}",
                *([] if costs is None else [" / ".join(map(short_number, costs.branches[i]))]),
            )
        return table

    def cost_tables(self) -> list[Table]:
        """Returns the expected cost of a run, and the profiles where there are some, as rich tables."""
        even = "; branches that the input chooses as if equally likely" if self.plan.gates else ""
        cost = Table(title=f"expected cost of one run{even}")
        for column in ("", "in the file", "used per run", "share"):
            cost.add_column(column, justify="right" if column else "left")
        at = escape(", ".join(f"{k}={v}" for k, v in self.sizes.items()))
        rows = (
            ("parameters", self.parameters, self.parameters_used),
            (f"FLOPs{f' at {at}' if at else ''}", self.flops, self.flops_used),
        )
        for name, total, used in rows:
            cost.add_row(name, f"{total:,.0f}", f"{used:,.0f}", f"{used / total:.1%}" if total else "-")
        return [cost, *([self._profile_table(at)] if self.profiles else [])]

    def contract_table(self) -> Table:
        """Returns the rules of the graph contract, and whether the file keeps them, as a rich table."""
        contract = Table(title="graph contract")
        for column in ("rule", "result", "found"):
            contract.add_column(column, overflow="fold")
        for check in self.contract:
            mark = "[green]holds[/]" if check.holds else "[bold red]BROKEN[/]"
            contract.add_row(escape(check.rule), mark, escape(check.found))
        return contract

    def _profile_table(self, at: str) -> Table:
        table = Table(title=f"profiles: shares of one run{f' at {at}' * bool(at)}, and what was measured")
        for column in ("profile", "law", "parameters", "FLOPs", "cost", "quality"):
            table.add_column(column, overflow="fold", no_wrap=column in ("parameters", "FLOPs", "cost"))
        for profile in self.profiles:
            used = (profile.parameters_used, self.parameters), (profile.flops_used, self.flops)
            shares = [f"{part / total:.1%}" if total else "-" for part, total in used]
            cost, quality, spread, metric = figures(profile.measured)
            told = "-" if profile.measured is None else f"{quality} +- {spread} {metric}"
            table.add_row(escape(profile.name), escape(profile.law), *shares, cost, escape(told))
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns everything as a JSON-ready dictionary."""
        return {
            "sites": [
                {
                    "name": site.name,
                    "kind": site.kind,
                    "branches": list(site.branches),
                    "probabilities": None if law is None else law.tolist(),
                    "reached": reached,
                }
                for site, law, reached in zip(
                    self.plan.sites, self.plan.told_marginals(), self.plan.told_reached(), strict=True
                )
            ],
            "paths": self.plan.path_count(),
            "nodes": self.nodes,
            "parameters": self.parameters,
            "parameters_used": self.parameters_used,
            "flops": self.flops,
            "flops_used": self.flops_used,
            "sizes": dict(self.sizes),
            "profiles": [asdict(profile) for profile in self.profiles],
            "contract": [{"rule": c.rule, "holds": c.holds, "found": c.found} for c in self.contract],
        }


def inspect(bundle: Bundle, sizes: Mapping[str, int] | None = None) -> Inspection:
    """Returns what can be read off a bundle.

    Args:
        bundle: the bundle.
        sizes: sizes of dynamic axes by name, for counting FLOPs; 1 for "batch", else 64, where not given.
    """
    plan = bundle.plan
    taken = sizes_taken(bundle.manifest, sizes)
    cost = expected_cost(bundle.model, plan, taken)
    told = as_runtime_reads(bundle.manifest, bundle.profiles)
    profiles = []
    for name, profile in bundle.profiles.items():
        found = expected_cost(bundle.model, plan_under(plan, profile), taken)
        law = law_in_short(told.profiles[name], told.sites)
        profiles.append(InspectedProfile(name, law, found.parameters_used, found.flops_used, profile.measured))
    return Inspection(
        plan,
        sum(1 for _ in ir.traversal.RecursiveGraphIterator(bundle.model.graph)),
        cost.parameters,
        cost.parameters_used,
        cost.flops,
        cost.flops_used,
        cost.sizes,
        tuple(contract_checks(bundle)),
        tuple(profiles),
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
