"""Why a run took its path, and what it would have given on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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

REPORTED = ".probabilities"  # ends the name of the output that has the probabilities of a gate, after its site
FORCED, FIXED, DRAWN, DECIDED = "forced", "fixed by the profile", "drawn", "decided by the input"
Run = Callable[[int, Sequence[int] | None], Result]  # from the seed and the path


@dataclass(frozen=True)
class SiteChoice:
    """Why one site has its route.

    Attributes:
        site: its name.
        route: its latent route, whether it is reached or not; -1 of a gate that is not reached, which has none.
        branch: the branch of that route, "" where it has none.
        reached: whether it is reached in this run.
        how: "forced" by the path that was asked for, "fixed by the profile" that is one path, "drawn", or "decided
            by the input" where the graph computes the probabilities.
        draw: its number in [0, 1) of this seed.
        thresholds: K - 1 numbers; a drawn route is the number of thresholds <= the draw. () of a gate.
        probabilities: K numbers; of a gate those that the run reports, () where it reports none.
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

    def to_json(self) -> dict[str, Any]:
        """Returns all of it but the outputs, JSON-ready."""
        others = [
            {"site": o.site, "branch": o.branch, "path": list(o.path), "differences": dict(o.differences)}
            for o in self.alternatives
        ]
        return {"sites": [asdict(site) for site in self.sites], "alternatives": others}

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
                site.branch if site.reached else f"not reached ({site.branch or '-'})",
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
    result = run(seed, path)
    latent = _followed(result, law, router, numbers, forced)
    reached = router.reached(latent)
    before = {site: place for place, site in later_steps(law)}
    choices = tuple(
        _with_reported(
            _choice(site, i, latent, reached[i], _how(asked[i], fixed[i], site), numbers[i], before.get(i), sites),
            result,
        )
        for i, site in enumerate(law)
    )
    alternatives = []
    for i, site in enumerate(sites):
        for route in range(len(site.branches)) if reached[i] else ():
            if route != latent[i]:
                other = [*latent[:i], route, *latent[i + 1 :]]
                found = run(seed, other)
                _followed(found, law, router, numbers, other)
                alternatives.append(_alternative(site.name, site.branches[route], result, found))
    return Explanation(result, None if profile is None else profile.name, choices, tuple(alternatives))


def _followed(
    result: Result, law: Sequence[Site], router: Router, numbers: Sequence[float], forced: Sequence[int]
) -> list[int]:
    """The latent routes of a run, those that the input decides as the run tells them.

    Raises:
        RuntimeFailure: it takes another path than that.
    """
    path = None if result.path is None else result.path.tolist()
    told = [
        path[i] if path is not None and site.policy.type == "gate" and forced[i] < 0 else forced[i]
        for i, site in enumerate(law)
    ]
    latent = router.latent(numbers, told)
    if path != router.taken(latent):
        raise RuntimeFailure(
            f"explain: expected path {router.taken(latent)} by the laws of the file, got {path}; verify the file"
        )
    return latent


def _how(asked: int, fixed: int, site: Site) -> str:
    if asked >= 0 or fixed >= 0:
        return FORCED if asked >= 0 else FIXED
    return DECIDED if site.policy.type == "gate" else DRAWN


def _choice(
    site: Site, i: int, latent: Sequence[int], reached: bool, how: str, draw: float, before: int | None,
    sites: Sequence[Site],
) -> SiteChoice:  # fmt: skip
    row = 0 if before is None else latent[before]
    told = bool(site.policy.probabilities)
    return SiteChoice(
        site=site.name,
        route=latent[i],
        branch=site.branches[latent[i]] if latent[i] >= 0 else "",
        reached=reached,
        how=how,
        draw=draw,
        thresholds=site.policy.thresholds[row] if told else (),
        probabilities=site.policy.probabilities[row] if told else (),
        after=None if before is None else sites[before].branches[latent[before]],
    )


def _with_reported(choice: SiteChoice, result: Result) -> SiteChoice:
    """The choice with the probabilities that the graph computed, where the run reports them."""
    reported = result.outputs.get(f"{choice.site}{REPORTED}")
    if choice.how != DECIDED or not choice.reached or reported is None:
        return choice
    return replace(choice, probabilities=tuple(map(float, reported.ravel())))


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
