"""``rr-export fit``: a profile that meets a budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from rr_export.cli.console import HOLDS, end, out
from rr_export.cli.costs_option import CostOptions, cost_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rr_export.laws.costs import Costs
    from rr_export.laws.plan import Plan


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--budget", type=float, required=True, metavar="SHARE", help="Of the dearest path, such as 0.6.")
@cost_options
@click.option("--name", required=True, help="The profile's name.")
@click.option(
    "--percentile", type=float, metavar="P", help="So many percent of runs meet the budget (default: the average)."
)
@click.option("--overwrite", is_flag=True, help="Replace a profile of that name.")
def fit(bundle: Path, budget: float, costs: CostOptions, name: str, percentile: float | None, overwrite: bool) -> None:
    """Give BUNDLE a profile that meets a budget: the law of its runs that is nearest to its own and costs no more.

    Its model files stay as they are. `rr-export verify BUNDLE MODEL` proves the profile.
    """
    from rr_export.bundle.bundle_reader import load
    from rr_export.laws.budget import fit_budget

    found = load(bundle)
    if name in found.profiles and not overwrite:
        raise click.UsageError(
            f"--name: expected one that no profile has, got {name!r}; choose another, or pass --overwrite"
        )
    prices = costs.read(found)
    fitted = fit_budget(found.plan, prices, budget, percentile=percentile)
    made = found.with_profile(name, fitted)
    made.save(found.path or bundle, overwrite=True)
    out.print(_table(f"{bundle}: profile {name}, {prices.unit}", found.plan, fitted, prices, percentile))
    if fitted.sites == found.plan.sites:
        out.print("the bundle's own law meets the budget: the profile has it as it is", soft_wrap=True)
    out.print(f"not proven yet: rr-export verify {escape(str(bundle))} MODEL", soft_wrap=True)
    end(HOLDS)


def _table(title: str, before: Plan, after: Plan, costs: Costs, percentile: float | None) -> Table:
    """How likely each branch was and is now, and what that costs."""
    table = Table(title=escape(title), caption="branches: how likely, whether or not the site is reached")
    for column in ("", "before", "after"):
        table.add_column(column, overflow="fold")
    for site, first, second in zip(before.sites, before.marginals(), after.marginals(), strict=True):
        table.add_row(escape(site.name), *(escape(_law(site.branches, law)) for law in (first, second)))
    table.add_section()
    dearest = costs.dearest(before)
    table.add_row("average cost, of the dearest path", *(f"{costs.expected(p) / dearest:.2%}" for p in (before, after)))
    if percentile is not None:
        shares = (costs.law(p).percentile(percentile) / dearest for p in (before, after))
        table.add_row(f"{percentile:g} % of runs cost at most", *(f"{share:.2%}" for share in shares))
    return table


def _law(branches: Sequence[str], law: NDArray[np.float64]) -> str:
    return ", ".join(f"{name} {p:.3g}" for name, p in zip(branches, law, strict=True))
