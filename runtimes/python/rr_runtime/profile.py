"""Profiles: other laws over the same file, and the menu of those whose quality and cost were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.site_law import Site


@dataclass(frozen=True)
class Measured:
    """What was measured of a profile.

    Attributes:
        cost: its expected cost, as a share of that of the most expensive path.
        quality: the mean of a metric over its paths; more is better.
        spread: the standard deviation of the metric over its paths.
        metric: what the quality is, in words.
    """

    cost: float
    quality: float
    spread: float
    metric: str


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
