"""A site as the run sees it, and the sites of a model."""

from __future__ import annotations

from typing import Any

from torch import nn

from rr_export.eager.gate import Gate
from rr_export.eager.learned import Learned, policies_now
from rr_export.laws.policies import Gated, Policy
from rr_runtime.one_line import cut_to_line, list_few

ROOT_SITE = "root"  # the name of a site that is itself the root of its run


class Choice(nn.Module):
    """A site as the run sees it: a module with a policy, K named branches, and a way to call branch k.

    Eagerly a site is a plain Python ``if``: only the branch of this run's route is computed, and gradients flow through
    it alone. All elements of a batch share the route.

    The kinds of sites (``OperationChoice``, ``LayerChoice``, ``ParameterChoice``) derive from it; their forward is
    :func:`rr_export.eager.calling.take_route`.
    """

    kind: str
    branch_names: tuple[str, ...]
    law: Policy | Learned  # what the policy comes from: itself, or the module whose logits are learned

    @property
    def policy(self) -> Policy:
        """The law of the route; where it is learned, with the probabilities of now."""
        return policies_now([self.law])[0]

    def __setattr__(self, name: str, value: Any) -> None:
        """A policy that is set is the law from now on; where it is a gate, what decides is a module of the site."""
        if name in ("law", "policy"):
            for own in ("law", "routing_gate"):
                self._modules.pop(own, None)  # torch puts nothing else in the place of a module
            name = "law"
            if isinstance(value, Gate):
                super().__setattr__("routing_gate", value.module)
        super().__setattr__(name, value)

    def branch(self, index: int, /, *args: Any, **kwargs: Any) -> Any:
        """Returns what branch ``index`` makes of the site's arguments."""
        raise NotImplementedError

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns, per branch, the module path of the branch inside the site (None: it has no module)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Returns the line that torch shows above the site's modules: its branches and their law."""
        return cut_to_line(f"{list_few(self.branch_names)}: {self.policy!r}")


def identity(site: object) -> int:
    """Returns what tells a site from others: while tracing, torch hands out stand-ins that share its ``__dict__``."""
    return id(vars(site))


def sites_of(root: nn.Module) -> dict[str, Choice]:
    """Returns the sites below ``root`` by their first names, in site order."""
    return {name or ROOT_SITE: m for name, m in root.named_modules() if isinstance(m, Choice)}


def checked_policy(where: str, policy: Policy | Learned | None, count: int) -> Policy | Learned:
    """Returns the policy of a site with ``count`` branches.

    Raises:
        TypeError: it is none.
        ValueError: there are no branches, or it has another number of them.
    """
    if not isinstance(policy, Policy | Learned):
        raise TypeError(
            f"{where}: expected a policy (Categorical, Uniform, Learned, Gate or a step of a Markov chain), got "
            f"{type(policy).__name__}; for a chain pass chain.step(t)"
        )
    if count < 1:
        raise ValueError(f"{where}: expected at least one branch, got none; add a branch")
    if isinstance(policy, Gated) and not isinstance(policy, Gate):
        raise TypeError(f"{where}: expected rr.Gate with a module that gives logits, got {policy!r}; give the module")
    if policy.branches != count:
        raise ValueError(
            f"{where}: expected a policy over {count} branches, got one over {policy.branches}; make the counts agree"
        )
    return policy
