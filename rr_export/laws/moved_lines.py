"""Sites of a model's own code whose lines stand elsewhere now: their names, which say the line, are others."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rr_export.laws.site import Site

_LINE = re.compile(r":\d+(?=(\[\d+\])*$)")  # such as model.py:17[0], which is named by its line


def moved_sites(before: Sequence[Site], after: Sequence[Site]) -> dict[str, str]:
    """Returns the new names, by the old ones, of sites that have another line alone; none where other names differ too.

    The order of sites is that of their draws and routes: which site is which is told by it.
    """
    if [_without_line(site) for site in before] != [_without_line(site) for site in after]:
        return {}
    return {a.name: b.name for a, b in zip(before, after, strict=True) if a.name != b.name}


def told_moved(moved: dict[str, str]) -> str:
    """Returns in words how many sites have moved, and the first of them."""
    if not moved:
        return ""
    first = next(iter(moved))
    return f"{len(moved)} of them on other lines of the code now, such as {first} on {moved[first]}"


def _without_line(site: Site) -> tuple[str, str]:
    return site.kind, _LINE.sub("", site.name) if site.kind == "python" else site.name
