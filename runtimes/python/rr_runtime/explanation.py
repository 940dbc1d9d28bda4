"""Why a run took its path, and what it would have given on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.draws import draws_as_floats
from rr_runtime.errors import RuntimeFailure
from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.profile import Profile
from rr_runtime.results import Result
from rr_runtime.routes import Router, later_steps
from rr_runtime.site_law import Site
from rr_runtime.text_table import columns

FORCED, FIXED, DRAWN = "forced", "fixed by the profile", "drawn"
Run = Callable[[int, Sequence[int] | None], Result]  # from the seed and the path


@dataclass(frozen=True)
class SiteChoice:
    """Why one site has its route.

    Attributes:
        site: its name.
        route: its latent route, whether it is reached or not.
        branch: the branch of that route.
        reached: whether it is reached in this run.
        how: "forced" by the path that was asked for, "fixed by the profile" that is one path, or "drawn".
        draw: its number in [0, 1) of this seed.
        thresholds: K - 1 numbers; a drawn route is the number of thresholds <= the draw.
        probabilities: K numbers.
        after: for a later step of a Markov chain the branch of the step before, by which thresholds and probabilities
            hold; else None.
    """

    site: str
    route: int
    branch: str
    reached: bool
    how: str
    draw: float
    thresholds: tuple[float, ...]
    probabilities: tuple[float, ...]
    after: str | None

    def __repr__(self) -> str:
        reached = "" if self.reached else ", not reached"
        return cut_to_line(f"SiteChoice({self.site!r}: {self.branch}, {self.how}{reached}, draw {self.draw:.4g})")


@dataclass(frozen=True, eq=False)
class Alternative:
    """The same run where one site takes another branch, and all others keep their latent routes.

    Attributes:
        site: its name.
        branch: the other branch.
        path: the path that is taken then, S routes.
        outputs: by name.
        differences: for each output the largest difference from that of the run; infinite where shapes differ, or only
            one of both is finite.
    """

    site: str
    branch: str
    path: tuple[int, ...]
    outputs: Mapping[str, NDArray[Any]]
    differences: Mapping[str, float]

    def __repr__(self) -> str:
        told = list_few(f"{name}: {number:.3g}" for name, number in self.differences.items())
        return cut_to_line(f"Alternative({self.site!r}: {self.branch}, differences {told})")


@dataclass(frozen=True, eq=False)
class Explanation:
    """One run, why it took its path, and what the paths beside it give.

    Attributes:
        result: the run.
        profile: the law that it was drawn from; None: that of the file.
        sites: in path order, why each has its route.
        alternatives: for every site that is reached, each other branch.
    """

    result: Result
    profile: str | None
    sites: tuple[SiteChoice, ...]
    alternatives: tuple[Alternative, ...]

    def __repr__(self) -> str:
        """Shows how many routes were drawn, and what matters most."""
        drawn = sum(site.how == DRAWN for site in self.sites)
        most = max(self.alternatives, key=lambda other: max(other.differences.values(), default=0.0), default=None)
        told = "" if most is None else f", most changed by {most.site} {most.branch}"
        return cut_to_line(f"Explanation(seed {self.result.seed}, {drawn} of {len(self.sites)} routes drawn{told})")

    def __str__(self) -> str:
        """Two tables as plain text: why, and what else."""
        law = "the file's own law" if self.profile is None else f"profile {self.profile!r}"
        path = [] if self.result.path is None else self.result.path.tolist()
        head = f"seed {self.result.seed}, {law}: path {path}"
        rows = [
            (
                site.site,
                site.branch if site.reached else f"not reached ({site.branch})",
                f"{site.how}{f', after {site.after}' if site.after is not None else ''}",
                f"{site.draw:.6f}",
                _numbers(site.thresholds),
                _numbers(site.probabilities),
            )
            for site in self.sites
        ]
        why = columns(("site", "branch", "why", "draw", "thresholds", "probabilities"), rows)
        names = list(self.result.outputs)
        others = [
            (other.site, other.branch, *(f"{other.differences[name]:.4g}" for name in names))
            for other in self.alternatives
        ]
        what = columns(("site", "other branch", *(f"largest difference of {name}" for name in names)), others)
        return f"{head}\n\n{why}\n\n{what}\n"


def explain_run(
    run: Run, sites: Sequence[Site], profile: Profile | None, seed: int, path: Sequence[int] | None
) -> Explanation:
    """Returns why a run takes its path, with that run and one for every other branch of the sites that are reached.

    Args:
        run: runs with a seed and a path, by the law of the profile where that is None or draws.
        sites: of the file.
        profile: the law that is drawn from; None: that of the sites.
        seed: of the draws.
        path: the routes that are asked for, -1 where the site draws.

    Raises:
        RuntimeFailure: a run takes another path than these laws say.
    """
    law = sites if profile is None or profile.path is not None else profile.sites
    asked = [-1] * len(sites) if path is None else list(path)
    fixed = [-1] * len(sites) if profile is None or profile.path is None else list(profile.path)
    forced = [f if a < 0 else a for a, f in zip(asked, fixed, strict=True)]
    router, numbers = Router(law), draws_as_floats(seed, len(sites))
    latent = router.latent(numbers, forced)
    reached = router.reached(latent)
    result = _checked(run(seed, path), router.taken(latent))
    before = {site: place for place, site in later_steps(law)}
    choices = tuple(
        _choice(site, i, latent, reached[i], _how(asked[i], fixed[i]), numbers[i], before.get(i), sites)
        for i, site in enumerate(law)
    )
    alternatives = []
    for i, site in enumerate(sites):
        for route in range(len(site.branches)) if reached[i] else ():
            if route != latent[i]:
                other = [*latent[:i], route, *latent[i + 1 :]]
                found = _checked(run(seed, other), router.taken(other))
                alternatives.append(_alternative(site.name, site.branches[route], result, found))
    return Explanation(result, None if profile is None else profile.name, choices, tuple(alternatives))


def _how(asked: int, fixed: int) -> str:
    return FORCED if asked >= 0 else FIXED if fixed >= 0 else DRAWN


def _choice(
    site: Site, i: int, latent: Sequence[int], reached: bool, how: str, draw: float, before: int | None,
    sites: Sequence[Site],
) -> SiteChoice:  # fmt: skip
    row = 0 if before is None else latent[before]
    return SiteChoice(
        site=site.name,
        route=latent[i],
        branch=site.branches[latent[i]],
        reached=reached,
        how=how,
        draw=draw,
        thresholds=site.policy.thresholds[row],
        probabilities=site.policy.probabilities[row],
        after=None if before is None else sites[before].branches[latent[before]],
    )


def _checked(result: Result, taken: Sequence[int]) -> Result:
    found = None if result.path is None else result.path.tolist()
    if found != list(taken):
        raise RuntimeFailure(
            f"explain: expected path {list(taken)} by the laws of the file, got {found}; verify the file"
        )
    return result


def _alternative(site: str, branch: str, result: Result, other: Result) -> Alternative:
    assert other.path is not None
    differences = {name: _largest(result.outputs[name], value) for name, value in other.outputs.items()}
    return Alternative(site, branch, tuple(other.path.tolist()), other.outputs, differences)


def _largest(one: NDArray[Any], other: NDArray[Any]) -> float:
    if one.shape != other.shape:
        return float("inf")
    a, b = one.astype(np.float64), other.astype(np.float64)
    apart = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    return float(np.nan_to_num(np.abs(a[apart] - b[apart]), nan=np.inf).max()) if apart.any() else 0.0


def _numbers(row: Sequence[float]) -> str:
    return " ".join(f"{number:.6g}" for number in row) or "-"
