"""The map of a model: its sites, one inside the other as they are called, with probabilities and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Gated, MarkovStep, Policy
from rr_export.overview.section import Section
from rr_export.report.short_numbers import short_number
from rr_export.tools.inspection import Inspection

Place = tuple[int, int] | None  # site and branch around a call; None: outside of all


@dataclass(frozen=True)
class MapBranch:
    """One branch of a site.

    Attributes:
        name: what it is called.
        probability: of the route, or None where the input decides.
        cost: what it adds where the site is reached, or None where that is not known.
        inside: the sites that are called in it.
    """

    name: str
    probability: float | None
    cost: float | None
    inside: tuple[MapSite, ...]


@dataclass(frozen=True)
class MapSite:
    """One site where it is called.

    Attributes:
        index: its place in paths.
        name: its module path.
        kind: "layer", "operation", "parameter" or "python".
        drawn: how its route comes about, in words.
        reached: the probability that it is, or None where that depends on the input.
        branches: its branches; none where the site stands elsewhere on the map too, and is told there.
    """

    index: int
    name: str
    kind: str
    drawn: str
    reached: float | None
    branches: tuple[MapBranch, ...]


@dataclass(frozen=True)
class SiteMap:
    """All sites of a model.

    Attributes:
        unit: of the costs, "" where none are known.
        inputs: the model's inputs, in words.
        outputs: its outputs, in words.
        sites: those that are called outside of all branches.
    """

    unit: str
    inputs: str
    outputs: str
    sites: tuple[MapSite, ...]


def model_section(
    inspection: Inspection, manifest: Mapping[str, Any], costs: Costs | None, said: str, *, name: str
) -> Section:
    """Returns what is said of the model itself.

    Args:
        inspection: what was read off the file.
        manifest: what the file says of itself.
        costs: what branches add, or None.
        said: what the costs are, in a sentence.
        name: what the bundle is called.
    """
    plan = inspection.plan
    if not plan.sites:
        return Section("model", "The model", ("It has no sites: every run takes the same path.",))
    says = [f"Each run takes one of {short_number(plan.path_count())} paths: one branch of every site that is reached."]
    if plan.gates:
        names = ", ".join(plan.sites[i].name for i in plan.gates)
        says.append(
            f"At {names} the input decides: there is no table of probabilities, as they are computed in every run "
            "(session.explain tells those of one)."
        )
    if costs is not None:
        says.append(f"What a branch adds is told in {costs.unit}{f' ({said})' * bool(said)}.")
    drawn = SiteMap(
        "" if costs is None else costs.unit,
        ", ".join(map(_tensor, manifest["inputs"])),
        ", ".join(map(_tensor, manifest["outputs"])),
        site_tree(plan, costs),
    )
    return Section("model", "The model", tuple(says), (inspection.site_table(name, costs),), (drawn,), replaced=True)


def site_tree(plan: Plan, costs: Costs | None) -> tuple[MapSite, ...]:
    """Returns the sites that are called outside of all branches, with what is called in their branches."""
    order = {site: number for number, site in enumerate(plan.order)}
    called: dict[Place, list[int]] = {}
    for i, site in enumerate(plan.sites):
        around = [max(call, key=lambda pair: order[pair[0]]) if call else None for call in site.calls]
        for place in dict.fromkeys(around):
            called.setdefault(place, []).append(i)
    laws, reached, told = plan.told_marginals(), plan.told_reached(), set[int]()

    def inside(place: Place) -> tuple[MapSite, ...]:
        return tuple(one(i) for i in called.get(place, ()))

    def one(i: int) -> MapSite:
        site, law = plan.sites[i], laws[i]
        branches: tuple[MapBranch, ...] = ()
        if i not in told:
            told.add(i)
            branches = tuple(
                MapBranch(
                    branch,
                    None if law is None else float(law[k]),
                    None if costs is None else costs.branches[i][k],
                    inside((i, k)),
                )
                for k, branch in enumerate(site.branches)
            )
        return MapSite(i, site.name, site.kind, how_drawn(site.policy, plan.chains, i), reached[i], branches)

    return inside(None)


def how_drawn(policy: Policy, chains: Sequence[Sequence[int]], site: int) -> str:
    """Returns how the route of a site comes about, in words."""
    if isinstance(policy, Gated):
        return f"by the input ({policy.decision})"
    if isinstance(policy, MarkovStep):
        longer = [chain for chain in chains if len(chain) > 1]
        number = next((n for n, chain in enumerate(longer) if site in chain), 0)
        which = f"chain {number + 1}" if len(longer) > 1 else "a chain"
        return f"step {policy.index} of {which}"
    return "by itself"


def _tensor(row: Mapping[str, Any]) -> str:
    return f"{row['name']} {row['dtype']} [{', '.join(map(str, row['shape']))}]"
