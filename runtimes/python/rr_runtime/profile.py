"""Profiles: other laws over the same file, and the menu of those whose quality and cost were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.site_law import Site

# Least and largest of what is measured, as a manifest may say it.
RANGES = {"cost": (0.0, 1e9), "quality": (-1e300, 1e300), "spread": (0.0, 1e300)}
Law = tuple[tuple[tuple[float, ...], ...], str | None]  # rows of probabilities, and the name of the step before


@dataclass(frozen=True)
class Measured:
    """What was measured of a profile.

    Attributes:
        cost: its expected cost, as a share of that of the most expensive path.
        quality: the mean of a metric over its paths; more is better.
        spread: the standard deviation of the metric over its paths.
        metric: what the quality is, in words.

    Raises:
        TypeError: a number or the metric is of another type.
        ValueError: a number is out of range: cost and spread are >= 0, all are finite.
    """

    cost: float
    quality: float
    spread: float
    metric: str

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str):
            raise TypeError(
                f"measured: expected the metric in words, got {type(self.metric).__name__}; pass a text such as 'f1'"
            )
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"measured: expected a number as {name}, got {type(value).__name__}; pass float(...)")
            if not least <= value <= most:
                raise ValueError(f"measured: expected a {name} from {least:g} to {most:g}, got {value}; mend it")

    def __repr__(self) -> str:
        spread = f" +- {self.spread:.3g}" if self.spread else ""
        return cut_to_line(f"Measured(cost {self.cost:.3g}, quality {self.quality:.4g}{spread}, {self.metric})")


@dataclass(frozen=True)
class Profile:
    """A law over the sites of a file, from which a runtime draws the routes that it feeds as the path.

    Attributes:
        name: what it is called.
        sites: the sites of the file with the policies of the profile; empty where it is one path.
        path: the one path that it is, S routes (-1: not reached), or None.
        measured: what was measured of it, or None.
    """

    name: str
    sites: tuple[Site, ...]
    path: tuple[int, ...] | None
    measured: Measured | None

    def __repr__(self) -> str:
        law = f"path {list(self.path)}" if self.path is not None else list_few(s.policy for s in self.sites)
        cost = "" if self.measured is None else f"cost {self.measured.cost:.3g}, quality {self.measured.quality:.4g}, "
        return cut_to_line(f"Profile({self.name!r}, {cost}{law})")


def law_in_short(profile: Profile, sites: Sequence[Site]) -> str:
    """Returns what a profile is in a few words: its path, or its laws where they are not the file's own.

    Args:
        profile: the profile.
        sites: the sites of the file, with the policies of their own.
    """
    if profile.path is not None:
        return f"path {','.join(map(str, profile.path))}"
    laws, own = laws_of(profile.sites), laws_of(sites)
    places: dict[Law, list[str]] = {}
    for name, law in laws.items():
        if law != own[name]:
            places.setdefault(law, []).append(name)
    several = len(laws) > 1
    texts = [
        f"{shown_law(law)} at {'all sites' if several and names == [*laws] else list_few(names)}"
        for law, names in places.items()
    ]
    return list_few(texts) or "the file's own law"


def figures(measured: Measured | None) -> tuple[str, str, str, str]:
    """Returns cost, quality, spread and metric as a table has them."""
    if measured is None:
        return "-", "-", "-", "-"
    return f"{measured.cost:.1%}", f"{measured.quality:.4g}", f"{measured.spread:.4g}", measured.metric


def laws_of(sites: Sequence[Site]) -> dict[str, Law]:
    """Returns the law of every site by name: its rows of probabilities, and the site that it follows, or None.

    A gate, where the input decides, has no rows, and how it decides in place of the site.
    """
    steps = {(site.policy.chain, site.policy.step): site.name for site in sites if site.policy.step is not None}
    return {
        site.name: (
            site.policy.probabilities,
            site.policy.decision or steps.get((site.policy.chain, (site.policy.step or 0) - 1)),
        )
        for site in sites
    }


def shown_law(law: Law) -> str:
    """Returns a site's law in words."""
    rows, before = law
    if not rows:
        return f"by the input ({before})"
    shown = "; ".join(" ".join(f"{number:.6g}" for number in row) for row in rows)
    return f"[{shown}]" + (f" after {before}" if before is not None else "")


def best_within(profiles: Mapping[str, Profile], budget: float) -> Profile:
    """Returns the measured profile of the best quality of those that cost at most a share; of equals the cheaper one.

    Args:
        profiles: by name.
        budget: a share of the cost of the most expensive path, > 0.

    Raises:
        TypeError: the budget is no number.
        ValueError: it is not above 0, nothing was measured, or every measured profile costs more.
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float):
        raise TypeError(f"budget: expected a number, got {type(budget).__name__}; pass a share such as 0.6")
    if not budget > 0:
        raise ValueError(f"budget: expected a share above 0, got {budget}; pass one such as 0.6")
    menu = [(profile.measured, profile) for profile in profiles.values() if profile.measured is not None]
    if not menu:
        raise ValueError("budget: expected a bundle with a menu, got one without; name a profile, or make a menu")
    meets = [(m.quality, -m.cost, profile) for m, profile in menu if m.cost <= budget]
    if not meets:
        least = min(m.cost for m, _ in menu)
        raise ValueError(
            f"budget: expected at least {least:.4g}, the cheapest of the menu, got {budget}; pass a larger share"
        )
    return max(meets, key=lambda row: row[:2])[2]
