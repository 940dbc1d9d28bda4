"""The plan of a model, read off its module tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from rr_export.eager.choice import Choice, sites_of
from rr_export.eager.code_sites import CodeSite
from rr_export.eager.learned import policies_now
from rr_export.laws.plan import Plan, Site


def tree_plan(root: nn.Module) -> Plan:
    """Returns the plan of ``root`` read off its module tree: one call per registration of a site."""
    modules = sites_of(root)
    index = {id(module): i for i, module in enumerate(modules.values())}
    calls: list[list[tuple[tuple[int, int], ...]]] = [[] for _ in modules]
    registrations = list(root.named_modules(remove_duplicate=False))
    bodies: dict[str, tuple[int, int]] = {}
    for name, module in registrations:
        if isinstance(module, Choice):
            for k, prefix in enumerate(module.branch_prefixes()):
                if prefix is not None:
                    bodies[f"{name}.{prefix}" if name else prefix] = (index[id(module)], k)
    for name, module in registrations:
        if isinstance(module, Choice):
            parts = name.split(".") if name else []
            enclosing = tuple(bodies[p] for n in range(1, len(parts) + 1) if (p := ".".join(parts[:n])) in bodies)
            if enclosing not in calls[index[id(module)]]:
                calls[index[id(module)]].append(enclosing)
    return plan_with_calls(modules, calls)


def plan_with_calls(
    modules: Mapping[str, Choice | CodeSite], calls: Sequence[Sequence[tuple[tuple[int, int], ...]]]
) -> Plan:
    """Returns the plan of these sites, where ``calls[i]`` holds the enclosing (site, branch) pairs per call."""
    policies = policies_now([module.law for module in modules.values()])
    return Plan(
        [
            Site(name, module.branch_names, policies[i], module.kind, tuple(calls[i]))
            for i, (name, module) in enumerate(modules.items())
        ]
    )
