"""``rr-export profile``: another law over the sites of a bundle, under a name, or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from rr_export.cli.console import HOLDS, end, out
from rr_export.cli.options import read_numbers, read_path

if TYPE_CHECKING:
    from rr_export.laws.plan import Plan
    from rr_export.laws.policies import Policy
    from rr_runtime.profile import Measured

WAYS = ("--keep", "--law", "--path", "--remove")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--keep", type=float, metavar="P", help="Every layer runs with this probability; other sites as before.")
@click.option(
    "--law",
    "laws",
    multiple=True,
    metavar="SITE=P,P",
    help="The probabilities of a site's branches, or of all sites that a pattern (layers.*) names; others as before.",
)
@click.option("--path", "path_text", metavar="1,0,-1", help="One path; -1 where it does not reach.")
@click.option("--cost", type=float, metavar="X", help="Measured: its share of the cost of the most expensive path.")
@click.option("--quality", type=float, metavar="Q", help="Measured: the mean of a metric over its paths.")
@click.option("--spread", type=float, metavar="S", help="Measured: the standard deviation of that (default: 0).")
@click.option("--metric", metavar="TEXT", help="What the quality is, in words.")
@click.option("--remove", is_flag=True, help="Take the profile of that name away.")
@click.option("--overwrite", is_flag=True, help="Replace a profile of that name.")
def profile(
    bundle: Path, name: str, keep: float | None, laws: Sequence[str], path_text: str | None, cost: float | None,
    quality: float | None, spread: float | None, metric: str | None, remove: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Give BUNDLE another law over its sites under NAME, or take one away; its model files stay as they are.

    `rr-export run BUNDLE --profile NAME` runs it, `rr-export verify BUNDLE MODEL` proves it. A profile with --cost,
    --quality and --metric is on the menu, from which --budget takes one. Chains are made in Python.
    """
    from rr_export.bundle.bundle_reader import load
    from rr_export.bundle.card import unproven_parts
    from rr_export.bundle.manifest import as_runtime_reads
    from rr_export.bundle.saved_profiles import put_profile
    from rr_runtime.profile import law_in_short

    given = [way for way, value in zip(WAYS, (keep, laws or None, path_text, remove or None)) if value is not None]  # noqa: B905
    if len(given) != 1:
        raise click.UsageError(
            f"profile: expected a law by one of {', '.join(WAYS)}, got {' and '.join(given) or 'none'}; name one"
        )
    measured = _measured(cost, quality, spread, metric, remove=remove)
    found = load(bundle)
    if remove:
        put_profile(found, name, None)
        out.print(f"{escape(str(bundle))}: profile {escape(name)} is gone", soft_wrap=True)
        end(HOLDS)
    path = read_path(path_text)
    law = path if path is not None else _law(found.plan, keep, laws)
    made = found.with_profile(name, law, measured=measured).profiles[name]
    put_profile(found, name, made, overwrite=overwrite)
    told = as_runtime_reads(found.manifest, {name: made})
    short = law_in_short(told.profiles[name], told.sites)
    proven = not unproven_parts((), {name: made}, found.parity or {})
    proof = "" if proven else f"; not proven yet: rr-export verify {bundle} MODEL --record"
    out.print(escape(f"{bundle}: profile {name}, {short}{proof}"), soft_wrap=True)
    end(HOLDS)


def _measured(
    cost: float | None, quality: float | None, spread: float | None, metric: str | None, *, remove: bool
) -> Measured | None:
    from rr_runtime.profile import Measured

    told = {"--cost": cost, "--quality": quality, "--metric": metric, "--spread": spread}
    given = [option for option, value in told.items() if value is not None]
    if not given:
        return None
    if remove:
        raise click.UsageError(f"{given[0]}: expected no --remove beside it, got one; drop one of both")
    if cost is None or quality is None or metric is None:
        missing = next(option for option, value in told.items() if value is None)
        raise click.UsageError(f"{given[0]}: expected {missing} beside it, got none; say what was measured, or nothing")
    return Measured(cost, quality, spread or 0.0, metric)


def _law(plan: Plan, keep: float | None, laws: Sequence[str]) -> Plan:
    """The plan with the laws that the options say."""
    from rr_export.laws.policies import Categorical

    policies: dict[str, Policy] = {}
    if keep is not None:
        if not 0 <= keep <= 1:
            raise click.UsageError(f"--keep: expected a probability from 0 to 1, got {keep}; for instance 0.5")
        policies = {site.name: Categorical([1 - keep, keep]) for site in plan.sites if site.kind == "layer"}
        if not policies:
            raise click.UsageError("--keep: expected a bundle with layers that are skipped, got none; use --law")
    for text in laws:
        pattern, _, numbers = text.rpartition("=")
        names = [site.name for site in plan.sites if site.name == pattern or fnmatchcase(site.name, pattern)]
        if not names:
            known = ", ".join(site.name for site in plan.sites)
            raise click.UsageError(
                f"--law: expected SITE=P,P with a site among {known}, got {text!r}; name one of them"
            )
        for name in names:
            if name in policies:
                raise click.UsageError(f"--law: expected every site once, got {name!r} twice; drop one")
            policies[name] = Categorical(read_numbers("--law", numbers))
    return plan.with_policies(policies)
