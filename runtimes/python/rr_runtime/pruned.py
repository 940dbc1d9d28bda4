"""What a pruned file says of the one that it was made from: which branches stay, and how paths are called in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rr_runtime.json_node import Node
from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.site_law import Site


@dataclass(frozen=True)
class PrunedSite:
    """What stays of a site.

    Attributes:
        name: of the site.
        branches: the names of all branches that it had.
        kept: the numbers of those that stay, rising; branch k of the pruned file was branch ``kept[k]``.
    """

    name: str
    branches: tuple[str, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Pruned:
    """What a pruned file was made from.

    Attributes:
        source: the SHA-256 of the model file that it was made from.
        profiles: the names of the profiles that are kept, each with all of its paths.
        law: the profile whose law is that of runs without a profile; None where it is the law of the source.
        sites: what stays of every site, in site order.
    """

    source: str
    profiles: tuple[str, ...]
    law: str | None
    sites: tuple[PrunedSite, ...]

    def path(self, source: Sequence[int]) -> tuple[int, ...]:
        """Returns a path of the source, S routes, as the pruned file calls it; -1 stays -1.

        Raises:
            ValueError: it has another length, a route that the site never had, or one that was pruned.
        """
        if len(source) != len(self.sites):
            raise ValueError(
                f"path: expected {len(self.sites)} routes, one per site, got {len(source)}; the sites are those of the "
                "source"
            )
        for site, route in zip(self.sites, source, strict=True):
            if route not in (-1, *site.kept):
                kept = list_few(f"{k} ({site.branches[k]})" for k in site.kept)
                gone = f", which was pruned: {site.branches[route]!r}" if 0 <= route < len(site.branches) else ""
                raise ValueError(
                    f"path: expected -1 or a branch of site {site.name!r} that stays, {kept}, got {route}{gone}; run "
                    f"the file with the SHA-256 {self.source[:12]}... that it was made from"
                )
        return tuple(site.kept.index(r) if r >= 0 else -1 for site, r in zip(self.sites, source, strict=True))

    def source_path(self, path: Sequence[int]) -> tuple[int, ...]:
        """Returns a path of the pruned file, S routes, as the source calls it; -1 stays -1.

        Raises:
            ValueError: it has another length, or a route that the site has not.
        """
        if len(path) != len(self.sites) or any(
            not -1 <= r < len(site.kept) for site, r in zip(self.sites, path, strict=True)
        ):
            limits = list_few(len(site.kept) - 1 for site in self.sites)
            raise ValueError(f"path: expected {len(self.sites)} routes from -1 to {limits}, got {list(path)}; mend it")
        return tuple(site.kept[r] if r >= 0 else -1 for site, r in zip(self.sites, path, strict=True))

    def summary(self) -> str:
        """Returns what was pruned, and what for, in words."""
        lost = [(s.name, [name for k, name in enumerate(s.branches) if k not in s.kept]) for s in self.sites]
        gone = list_few(f"{name}: {list_few(names)}" for name, names in lost if names)
        law = "as before" if self.law is None else f"that of {self.law}"
        return f"of {self.source[:12]}, for {list_few(self.profiles)}; without {gone}; own law {law}"

    def __repr__(self) -> str:
        return cut_to_line(f"Pruned({self.summary()})")


def read_pruned(node: Node, sites: Sequence[Site]) -> Pruned:
    """Returns what a manifest says under ``pruned``, which must be of its sites."""
    source, law = node.key("source").key("sha256"), node.key("law")
    if len(source.text()) != 64 or set(source.text()) - set("0123456789abcdef"):
        source.fail("64 hexadecimal digits, lower case")
    rows = node.key("sites").each(lambda row: row)
    if len(rows) != len(sites):
        node.key("sites").fail(f"{len(sites)} rows, one per site")
    return Pruned(
        source=source.text(),
        profiles=node.key("profiles").each(Node.text),
        law=None if law.value is None else law.text(),
        sites=tuple(_read_site(row, site) for row, site in zip(rows, sites, strict=True)),
    )


def _read_site(row: Node, site: Site) -> PrunedSite:
    branches = row.key("branches").each(Node.text)
    kept = row.key("kept").each(lambda route: route.integer(0, len(branches) - 1))
    if list(kept) != sorted(set(kept)) or tuple(branches[k] for k in kept) != site.branches:
        row.key("kept").fail(f"rising numbers of the branches {list_few(site.branches)}")
    return PrunedSite(site.name, branches, kept)
