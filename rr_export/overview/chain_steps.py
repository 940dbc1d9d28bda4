"""Markov chains of a plan: their steps, transitions and marginals."""

from __future__ import annotations

from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from rr_export.laws.plan import Plan
from rr_export.overview.section import Section


@dataclass(frozen=True)
class ChainStep:
    """One step of a chain.

    Attributes:
        site: the site that it is.
        branches: its branches, K.
        marginals: the probability of each, K, whatever came before.
        transitions: rows of K probabilities: one for each branch of the step before, at the first step one.
    """

    site: str
    branches: tuple[str, ...]
    marginals: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Chain:
    """A chain.

    Attributes:
        number: from 1.
        steps: in order.
    """

    number: int
    steps: tuple[ChainStep, ...]


def chains_of(plan: Plan) -> tuple[Chain, ...]:
    """Returns the chains of more than one step."""
    laws = plan.told_marginals()
    found: list[Chain] = []
    for chain in plan.chains:
        if len(chain) < 2:
            continue
        steps = []
        for i in chain:
            site, law = plan.sites[i], laws[i]
            assert law is not None  # a step of a chain is no gate
            rows = tuple(tuple(row) for row in site.policy.table.tolist())
            steps.append(ChainStep(site.name, site.branches, tuple(law.tolist()), rows))
        found.append(Chain(len(found) + 1, tuple(steps)))
    return tuple(found)


def chain_section(plan: Plan) -> Section:
    """Returns what is said of Markov chains."""
    chains = chains_of(plan)
    title = "Markov chains" if len(chains) != 1 else "The Markov chain"
    if not chains:
        return Section("chains", title, ("No site follows another: each draws by itself, or is decided by the input.",))
    says = (
        "What a step does depends on what the step before it did. Marginals are the probabilities of a step's branches "
        "over all that may come before.",
    )
    return Section("chains", title, says, tuple(_table(chain, len(chains)) for chain in chains), chains)


def _table(chain: Chain, count: int) -> Table:
    table = Table(title=f"chain {chain.number}" if count > 1 else "the chain")
    table.add_column("step", justify="right")
    table.add_column("site", overflow="fold")
    table.add_column("marginals", overflow="fold")
    table.add_column("transitions", overflow="fold")
    before: tuple[str, ...] = ()
    for number, step in enumerate(chain.steps):
        rows = [_law(step.branches, row) for row in step.transitions]
        told = [f"after {name}: {row}" for name, row in zip(before, rows, strict=True)] if before else ["(the first)"]
        table.add_row(str(number), *map(escape, (step.site, _law(step.branches, step.marginals), "\n".join(told))))
        before = step.branches
    return table


def _law(branches: tuple[str, ...], law: tuple[float, ...]) -> str:
    return ", ".join(f"{name} {p:.3g}" for name, p in zip(branches, law, strict=True))
