"""Sites, and how they hang together: chains, and which encloses which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rr_export.errors import PlanError
from rr_export.laws.policies import MarkovStep, Policy
from rr_runtime.one_line import cut_to_line, list_few

Pair = tuple[int, int]  # (site index, branch)


@dataclass(frozen=True)
class Site:
    """A place in the model where one of K branches is chosen.

    Attributes:
        name: its module path.
        branches: names of the branches, K of them.
        policy: the law of its route.
        kind: "operation", "layer", "parameter", or "python" for a decision of the model's own code.
        calls: for every call the enclosing (site index, branch) pairs; ``((),)``: called once, at the top.
    """

    name: str
    branches: tuple[str, ...]
    policy: Policy
    kind: str = "operation"
    calls: tuple[tuple[Pair, ...], ...] = ((),)

    def __repr__(self) -> str:
        return cut_to_line(f"Site({self.name!r}, {self.kind}, {list_few(self.branches)}: {self.policy!r})")


class Layout:
    """Sites in site order, with their chains and nesting.

    Attributes:
        sites: the sites.
        chains: site indices of every chain in step order; a site without a chain is one of its own.
        order: site indices such that every site comes after all that enclose its calls.

    Raises:
        PlanError: names repeat, a policy has another K, a chain is not whole, or calls do not nest.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self.sites = tuple(sites)
        names = [s.name for s in self.sites]
        for site in self.sites:
            if names.count(site.name) > 1:
                raise PlanError(f"plan: expected different names, got {site.name!r} twice; rename one site")
            if site.policy.branches != len(site.branches):
                raise PlanError(
                    f"site {site.name!r}: expected a policy over {len(site.branches)} branches, got one over "
                    f"{site.policy.branches}; make the counts agree"
                )
        self.chains = _chains(self.sites)
        _check_pairs(self.sites)
        self.order = _enclosing_first(self.sites)
        _check_stacks(self.sites)

    def is_reached(self, i: int, path: Sequence[int]) -> bool:
        """Returns whether some call of site ``i`` is reached, for a path that has all that enclose it."""
        return any(all(path[s] == k for s, k in call) for call in self.sites[i].calls)


def _chains(sites: Sequence[Site]) -> tuple[tuple[int, ...], ...]:
    """Site indices of every chain in step order; a site without a chain is one of its own."""
    steps: dict[int, list[tuple[int, int]]] = {}
    found: list[list[tuple[int, int]]] = []
    for i, site in enumerate(sites):
        if isinstance(site.policy, MarkovStep):
            known = steps.setdefault(id(site.policy.chain), [])
            if not known:
                found.append(known)
            known.append((site.policy.index, i))
        else:
            found.append([(0, i)])
    for chain in found:
        chain.sort()
        if [t for t, _ in chain] != list(range(len(chain))):
            given = ", ".join(f"{sites[i].name!r} (step {t})" for t, i in chain)
            raise PlanError(
                f"plan: expected the steps 0..{len(chain) - 1} of a chain, each at one site, got {given}; give every "
                "step to one site of the model"
            )
    return tuple(tuple(i for _, i in chain) for chain in found)


def _check_pairs(sites: Sequence[Site]) -> None:
    """Raises unless every enclosing pair names a site and a branch that exist."""
    for site in sites:
        for s, k in {pair for call in site.calls for pair in call}:
            if not 0 <= s < len(sites):
                raise PlanError(
                    f"site {site.name!r}: expected calls inside sites 0..{len(sites) - 1}, got one inside site {s}; "
                    "give site indices"
                )
            if not 0 <= k < len(sites[s].branches):
                raise PlanError(
                    f"site {site.name!r}: expected calls inside branch 0..{len(sites[s].branches) - 1} of "
                    f"{sites[s].name!r}, got one inside branch {k}; give branch indices"
                )


def _enclosing_first(sites: Sequence[Site]) -> tuple[int, ...]:
    """Site indices such that every site comes after all that enclose its calls: in site order where possible."""
    needed = [{s for call in site.calls for s, _ in call} for site in sites]
    order: dict[int, None] = {}
    left = dict.fromkeys(range(len(sites)))
    while left:
        ready = next((i for i in left if needed[i] <= order.keys()), None)
        if ready is None:
            names = ", ".join(repr(sites[i].name) for i in left)
            raise PlanError(f"plan: expected calls nested in an order, got {names} inside each other; mend the calls")
        order[ready] = left.pop(ready)
    return tuple(order)


def _check_stacks(sites: Sequence[Site]) -> None:
    """Raises unless every call names all that encloses it.

    An enclosing site must itself be called under the rest of the call; then what a path reports says which
    sites are reached, and latent routes of sites that are not reached cannot matter.
    """
    for site in sites:
        for call in site.calls:
            for s, k in call:
                rest = set(call) - {(s, k)}
                if not any(set(outer) <= rest for outer in sites[s].calls):
                    raise PlanError(
                        f"site {site.name!r}: expected calls that name every enclosing site, got {list(call)}, under "
                        f"which {sites[s].name!r} is not called; add the pairs that enclose {sites[s].name!r}"
                    )
