"""The law of a model's routes as tensors: what depends on learned logits has a gradient in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from rr_export.eager.code_sites import all_sites
from rr_export.eager.learned import Learned
from rr_export.eager.module_tree import tree_plan
from rr_export.laws.plan import Plan
from rr_runtime.one_line import cut_to_line

Event = Mapping[int, Sequence[int]]  # site index -> the routes that it may have


class Costed(Protocol):
    """What runs cost: ``base`` for every run, and for every site what each branch adds where the site is reached."""

    @property
    def base(self) -> float:
        """What every run pays."""

    @property
    def branches(self) -> Sequence[Sequence[float]]:
        """For every site, in site order, a number for each of its branches."""


@dataclass(frozen=True, repr=False)
class LiveLaw:
    """The law of a plan, with a gradient.

    Attributes:
        plan: the sites, with the probabilities of the law's making.
        tables: for every site float64 [J, K] on the CPU, as the table of its policy.
    """

    plan: Plan
    tables: tuple[Tensor, ...]

    def marginals(self) -> tuple[Tensor, ...]:
        """Returns the law of every latent route, float64 [K] each."""
        found: dict[int, Tensor] = {}
        for chain in self.plan.chains:
            state = torch.ones(1, dtype=torch.float64)
            for i in chain:
                state = state @ self.tables[i]
                found[i] = state
        return tuple(found[i] for i in range(len(self.tables)))

    def taken(self) -> tuple[Tensor, ...]:
        """Returns for every site P(it is reached and takes branch k), float64 [K]."""
        laws, found = self.marginals(), []
        for i, site in enumerate(self.plan.sites):
            if site.calls == ((),):
                found.append(laws[i])
                continue
            events = [dict(call) for call in site.calls if len(dict(call)) == len(call)]
            routes = range(len(site.branches))
            found.append(torch.stack([self._any([{**e, i: k} for e in events], {}) for k in routes]))
        return tuple(found)

    def entropy(self) -> Tensor:
        """Returns the entropy of the latent routes in nats, float64 [].

        By the chain rule: ``H(X_0) + sum over t, j of P(X_{t-1} = j) H(X_t | X_{t-1} = j)`` for every chain (Shannon:
        A mathematical theory of communication, 1948).
        """
        total = torch.zeros((), dtype=torch.float64)
        for chain in self.plan.chains:
            state = torch.ones(1, dtype=torch.float64)
            for i in chain:
                total = total + state @ torch.special.entr(self.tables[i]).sum(dim=1)
                state = state @ self.tables[i]
        return total

    def expected_cost(self, costs: Costed | Sequence[Sequence[float]]) -> Tensor:
        """Returns what a run costs on average, float64 []: ``base + sum of P(reached and taken) * cost``.

        Args:
            costs: in any unit; or, with base 0, a number for every branch of every site.

        Raises:
            ValueError: there is not one number for every branch of every site.
        """
        base, rows = (0.0, costs) if isinstance(costs, Sequence) else (costs.base, costs.branches)
        wanted = [len(site.branches) for site in self.plan.sites]
        if [len(row) for row in rows] != wanted:
            raise ValueError(
                f"expected_cost: expected numbers for sites of {wanted} branches, got {[len(row) for row in rows]}; "
                "give one for every branch of every site, in site order"
            )
        total = torch.tensor(float(base), dtype=torch.float64)
        for law, row in zip(self.taken(), rows, strict=True):
            total = total + law @ torch.tensor(row, dtype=torch.float64)
        return total

    def _any(self, events: Sequence[Mapping[int, int]], given: Mapping[int, int]) -> Tensor:
        """P(the routes are as given, and one event or more happens), by splitting on sites (Shannon's expansion)."""
        if not events:
            return torch.zeros((), dtype=torch.float64)
        if any(not event for event in events):
            return self._all(given)
        site = min(events[0])
        parts = []
        for k in range(self.tables[site].shape[1]):
            alive = [event for event in events if event.get(site, k) == k]
            rest = [{i: r for i, r in event.items() if i != site} for event in alive]
            parts.append(self._any(rest, {**given, site: k}))
        return torch.stack(parts).sum()

    def _all(self, given: Mapping[int, int]) -> Tensor:
        total = torch.ones((), dtype=torch.float64)
        for chain in self.plan.chains:
            if any(i in given for i in chain):
                state = torch.ones(1, dtype=torch.float64)
                for i in chain:
                    state = state @ self.tables[i]
                    if i in given:
                        state = state * torch.eye(len(state), dtype=torch.float64)[given[i]]
                total = total * state.sum()
        return total

    def __repr__(self) -> str:
        return cut_to_line(f"LiveLaw({self.plan!r})")


def live_law(model: nn.Module, plan: Plan | None = None) -> LiveLaw:
    """Returns the law of a model's routes as it is now; make it anew after every step.

    Args:
        model: the model.
        plan: with the calls of its sites, as ``rr.plan_of(model, args)`` gives it; None: those of the module tree.
    """
    plan = tree_plan(model) if plan is None else plan
    return LiveLaw(plan, tuple(_tables(plan, model)))


def _tables(plan: Plan, model: nn.Module) -> Iterator[Tensor]:
    modules = all_sites(model)
    for site in plan.sites:
        law = modules[site.name].law if site.name in modules else site.policy
        if isinstance(law, Learned):
            yield torch.softmax(law.logits.to("cpu", torch.float64), dim=-1)
        else:
            yield torch.tensor(site.policy.table, dtype=torch.float64)
