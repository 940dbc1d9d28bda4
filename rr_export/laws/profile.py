"""Profiles: other laws over the sites of a plan, under which the same file runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.laws.policies import Categorical, Gated
from rr_runtime.one_line import cut_to_line
from rr_runtime.profile import Measured


@dataclass(frozen=True)
class Profile:
    """A law over the sites of a bundle: other policies, or one path.

    Attributes:
        law: the sites with the policies of the profile; None where it is one path.
        path: the one path that it is, int [S], -1 where a site is not reached; None where it is a law.
        measured: what was measured of it, or None.
    """

    law: Plan | None = None
    path: tuple[int, ...] | None = None
    measured: Measured | None = None

    def __repr__(self) -> str:
        what = f"path {list(self.path)}" if self.path is not None else repr(self.law)
        cost = "" if self.measured is None else f"cost {self.measured.cost:.3g}, quality {self.measured.quality:.4g}, "
        return cut_to_line(f"Profile({cost}{what})")


def profile_of(plan: Plan, law: Plan | Sequence[int] | NDArray[np.int64], measured: Measured | None = None) -> Profile:
    """Returns the profile that a law over a plan's sites, or one of its paths, is.

    Raises:
        ValueError: the law is over other sites, or the path is none that a run reports.
    """
    if isinstance(law, Plan):
        mine, other = ([(s.name, s.branches, s.calls) for s in p.sites] for p in (plan, law))
        if mine != other:
            raise ValueError(
                f"profile: expected a law over the sites of the plan, got one over {law!r}; make it of the plan with "
                "plan.with_policies"
            )
        for site, own in zip(law.sites, plan.sites, strict=True):
            if isinstance(site.policy, Gated) and site.policy != own.policy:
                raise ValueError(
                    f"profile: expected a law for site {site.name!r}, got {site.policy!r}, where the model has no such "
                    "gate; give a Categorical, or leave the site as it is"
                )
        return Profile(law=law, measured=measured)
    path = plan.check_whole_path(law)
    if not np.array_equal(plan.taken(np.where(path < 0, 0, path)), path):
        raise ValueError(
            f"profile: expected a path that a run reports, with -1 where, and only where, a site is not reached, got "
            f"{path.tolist()}; take one of plan.paths()"
        )
    return Profile(path=tuple(path.tolist()), measured=measured)


def plan_under(plan: Plan, profile: Profile) -> Plan:
    """Returns the plan whose law is that of a profile; where it is one path, that has probability 1."""
    if profile.path is None:
        assert profile.law is not None
        return profile.law
    return plan.with_policies(
        [
            Categorical([float(k == max(route, 0)) for k in range(len(site.branches))])
            for site, route in zip(plan.sites, profile.path, strict=True)
        ]
    )
