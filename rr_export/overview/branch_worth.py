"""How much branches matter: what an attribution found, beside the sites of the bundle."""

from __future__ import annotations

from dataclasses import dataclass

from rr_export.laws.plan import Plan
from rr_export.overview.given_files import GivenFile
from rr_export.overview.section import Absent, Section

ATTRIBUTE = "rr-export attribute {bundle} --data MODULE:FUNCTION --metric MODULE:FUNCTION --json attribution.json"


@dataclass(frozen=True)
class Worth:
    """What a site's branch of a path is worth.

    Attributes:
        site: its name.
        branch: what it takes on the path.
        value: its Shapley value.
        error: the standard error of that, or None where it is exact.
    """

    site: str
    branch: str
    value: float
    error: float | None


@dataclass(frozen=True)
class Worths:
    """What the branches of a path are worth.

    Attributes:
        metric: what the values are of.
        beside: what the sites are compared with, in words.
        rows: in site order.
    """

    metric: str
    beside: str
    rows: tuple[Worth, ...]


def importance_section(plan: Plan, given: GivenFile | None, *, bundle: str) -> Section:
    """Returns what is said of the importance of branches.

    Args:
        plan: the sites.
        given: what ``Attribution.save`` has written, or None.
        bundle: how a call names the bundle.

    Raises:
        ValueError: the attribution is one of other sites.
    """
    title = "Importance of branches"
    if given is None:
        absent = Absent("No attribution is known.", ATTRIBUTE.format(bundle=bundle), "attribution.json")
        return Section("importance", title, absent=absent)
    from rr_export.quality.attribution import Attribution  # here, as it takes long to import

    found = Attribution.load(given.told)
    branches = {site.name: site.branches for site in plan.sites}
    told = {(row.site, row.branch) for row in found.sites} | {(row.site, row.branch) for row in found.ablations}
    strange = sorted(f"{site}: {branch}" for site, branch in told if branch not in branches.get(site, ()))
    if strange or len(found.path) != len(plan.sites):
        got = strange[0] if strange else f"a path of {len(found.path)}"
        raise ValueError(
            f"{given.file}: expected an attribution of this bundle's {len(plan.sites)} sites, got {got}; attribute "
            "this bundle"
        )
    beside = "a run of the law" if found.baseline is None else f"the routes {','.join(map(str, found.baseline))}"
    says = (
        f"{found.metric} is {found.value:.4g} on the path {','.join(map(str, found.path))}, and {found.without:.4g} "
        f"for {beside}: the Shapley values of branches sum to the difference ({given.file.name}).",
    )
    rows = tuple(Worth(row.site, row.branch, row.value, row.error) for row in found.sites)
    tables = (found.table(), *([found.pairs()] if found.interactions else []))
    return Section("importance", title, says, tables, (Worths(found.metric, beside, rows),))
