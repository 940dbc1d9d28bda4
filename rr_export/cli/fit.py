"""``rr-export fit``: a profile that meets a budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from rr_export.cli.console import HOLDS, end, out
from rr_export.cli.options import read_sizes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rr_export.bundle.bundle import Bundle
    from rr_export.laws.costs import Costs
    from rr_export.laws.plan import Plan

COUNTED = ("flops", "parameters", "bytes")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--budget", type=float, required=True, metavar="SHARE", help="Of the dearest path, such as 0.6.")
@click.option(
    "--costs",
    "source",
    required=True,
    metavar="FILE|flops|parameters|bytes",
    help="What branches cost: measured by `rr-export bench --json FILE`, or counted in the graph.",
)
@click.option("--name", required=True, help="The profile's name.")
@click.option(
    "--percentile", type=float, metavar="P", help="So many percent of runs meet the budget (default: the average)."
)
@click.option("--form", metavar="NAME", help="With a FILE that has several forms: which of them, such as cpu.")
@click.option("--size", "sizes", multiple=True, metavar="AXIS=N", help="Size of a dynamic axis, for counting FLOPs.")
@click.option("--overwrite", is_flag=True, help="Replace a profile of that name.")
def fit(
    bundle: Path, budget: float, source: str, name: str, percentile: float | None, form: str | None,
    sizes: Sequence[str], overwrite: bool,
) -> None:  # fmt: skip
    """Give BUNDLE a profile that meets a budget: the law of its runs that is nearest to its own and costs no more.

    Its model files stay as they are. `rr-export verify BUNDLE MODEL` proves the profile.
    """
    from rr_export.bundle.bundle_reader import load
    from rr_export.laws.budget import fit_budget

    if form is not None and source in COUNTED:
        raise click.UsageError("--form: expected the FILE of a bench as --costs, got a unit; leave --form away")
    if sizes and source not in COUNTED:
        raise click.UsageError("--size: expected flops, parameters or bytes as --costs, got a file; leave --size away")
    found = load(bundle)
    if name in found.profiles and not overwrite:
        raise click.UsageError(
            f"--name: expected one that no profile has, got {name!r}; choose another, or pass --overwrite"
        )
    costs = _costs(found, source, form, sizes)
    fitted = fit_budget(found.plan, costs, budget, percentile=percentile)
    made = found.with_profile(name, fitted)
    made.save(found.path or bundle, overwrite=True)
    out.print(_table(f"{bundle}: profile {name}, {costs.unit}", found.plan, fitted, costs, percentile))
    if fitted.sites == found.plan.sites:
        out.print("the bundle's own law meets the budget: the profile has it as it is", soft_wrap=True)
    out.print(f"not proven yet: rr-export verify {escape(str(bundle))} MODEL", soft_wrap=True)
    end(HOLDS)


def _costs(bundle: Bundle, source: str, form: str | None, sizes: Sequence[str]) -> Costs:
    from rr_export.laws.costs import Costs

    if source in COUNTED:
        return bundle.costs(source, sizes=read_sizes(sizes))
    return Costs.from_bench(source, bundle.plan, form=form)


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
