"""Laws that change with the steps of a training: keep rates over depth and time, and how deep a model may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from torch import nn

from rr_export.eager.choice import sites_of
from rr_export.eager.learned import Learned
from rr_export.eager.module_tree import tree_plan
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Categorical, Markov, Policy


def linear_depth(layers: int, last: float) -> list[float]:
    """Returns keep rates that fall linearly from near 1 to ``last``: ``p_l = 1 - l / L * (1 - last)`` for l = 1..L.

    Huang et al.: Deep networks with stochastic depth, 2016, equation 4. LayerDrop has one rate for all layers (Fan,
    Grave, Joulin: Reducing transformer depth on demand with structured dropout, 2020): ``[keep] * layers``.

    Args:
        layers: L.
        last: the keep rate of the last layer, in [0, 1].

    Raises:
        ValueError: there is no layer, or the rate is not in [0, 1].
    """
    if layers < 1 or not 0 <= last <= 1:
        raise ValueError(
            f"linear_depth: expected one layer or more and a keep rate in [0, 1], got {layers} and {last}; mend them"
        )
    return [1 - (layer + 1) / layers * (1 - last) for layer in range(layers)]


def annealed(start: Sequence[float], end: Sequence[float], progress: float) -> list[float]:
    """Returns what lies between two lists of keep rates: ``start`` at progress 0, ``end`` from 1 on, linearly.

    Args:
        start: float [L].
        end: float [L].
        progress: steps done over steps in all, 0 or more.

    Raises:
        ValueError: the lists are not as long as each other, a rate is not in [0, 1], or the progress is below 0.
    """
    if len(start) != len(end) or not all(0 <= rate <= 1 for rate in (*start, *end)):
        raise ValueError(
            f"annealed: expected two lists of as many keep rates in [0, 1], got {list(start)} and {list(end)}; mend "
            "them"
        )
    if not progress >= 0:
        raise ValueError(
            f"annealed: expected a progress of 0 or more, got {progress!r}; pass steps done over steps in all"
        )
    share = min(max(progress, 0.0), 1.0)
    return [(1 - share) * a + share * b for a, b in zip(start, end, strict=True)]


def layer_policies(keeps: Sequence[float]) -> list[Policy]:
    """Returns a policy over (skip, run) for every keep rate.

    Raises:
        ValueError: a keep rate is not in [0, 1].
    """
    return [Categorical((1 - keep, keep)) for keep in keeps]


def shrinking_depth(layers: int, least: int) -> Markov:
    """Returns the law of a depth that is uniform over ``least..layers``: the first layers run, the others are skipped.

    The depths of progressive shrinking: ``least`` falls from ``layers`` on as the training goes (Cai et al.:
    Once-for-all: train one network and specialize it for efficient deployment, 2020). As a chain, after a skipped layer
    all are skipped: ``P(run l | ran l - 1) = P(D >= l) / P(D >= l - 1)``.

    Args:
        layers: L, the largest depth.
        least: the smallest depth, 0..L.

    Raises:
        ValueError: ``least`` is not in 0..L, or L is below 1.
    """
    if layers < 1 or not 0 <= least <= layers:
        raise ValueError(
            f"shrinking_depth: expected one layer or more and a least depth of 0..layers, got {layers} and {least}; "
            "mend them"
        )
    depths = layers - least + 1
    at_least = [min(1.0, (layers - depth + 1) / depths) for depth in range(layers + 1)]  # P(D >= depth)
    rates = [after / before for before, after in pairwise(at_least)]
    steps = [np.array([[1.0, 0.0], [1 - rate, rate]]) for rate in rates[1:]]
    return Markov([1 - rates[0], rates[0]], steps)


def set_policies(model: nn.Module, policies: Plan | Markov | Mapping[str, Policy] | Sequence[Policy]) -> Plan:
    """The sites of a model have other policies from now on; nothing is changed where they do not fit.

    What is exported has the policies of the moment: set those of the file before, such as those that come back here.

    Args:
        model: the model.
        policies: by the names of sites, for all in site order, those of a plan, or a chain whose step t goes to site t.

    Returns:
        The plan of before, which this function takes too.

    Raises:
        ValueError: there is no such site, not one policy for each, or a site's policy is learned.
        PlanError: a policy has another K, or a chain is not whole.
    """
    before, modules = tree_plan(model), sites_of(model)
    if isinstance(policies, Plan):
        policies = {site.name: site.policy for site in policies.sites}
    elif isinstance(policies, Markov):
        policies = [policies.step(t) for t in range(len(before.sites))]
    after = before.with_policies(policies)
    changed = [(old, new) for old, new in zip(before.sites, after.sites, strict=True) if old.policy is not new.policy]
    for old, _ in changed:
        if isinstance(modules[old.name].law, Learned):
            raise ValueError(
                f"set_policies: expected sites of fixed policies, got {old.name!r}, whose policy is learned; leave it "
                "out, or change its logits"
            )
    for old, new in changed:
        modules[old.name].law = new.policy
    return before
