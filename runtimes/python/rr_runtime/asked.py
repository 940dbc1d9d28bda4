"""What a run is asked for, its seed, its routes and its law: checked, or refused where the file decides by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.arguments import PathCheck
from rr_runtime.designs import INDEPENDENT, Design, designed_routes
from rr_runtime.draws import check_seed, draws_as_floats, fresh_seed
from rr_runtime.most_probable import most_probable_of
from rr_runtime.profile import Profile, best_within
from rr_runtime.routes import Router
from rr_runtime.site_law import Site

Path = Sequence[int] | NDArray[np.integer[Any]]
Asked = tuple[int | None, NDArray[np.int64] | None]

MOST_PROBABLE = "most_probable"


class AskedCheck:
    """Checks what the runs of one session are asked for; threads may share one.

    Args:
        sites: the sites, in path order.
        profiles: other laws over them, by name.
        routed: whether the engine takes seeds and paths.
        where: the file, and its interface, for what is refused.
        pruned: whether branches that the sites had are gone, for what is refused.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        profiles: Mapping[str, Profile],
        *,
        routed: bool,
        where: tuple[str, str],
        pruned: bool = False,
    ) -> None:
        self._sites, self._profiles, self._routed, self._where = sites, profiles, routed, where
        self._path_check, self._pruned = PathCheck(sites), pruned
        self._routers = {name: Router(profile.sites) for name, profile in profiles.items() if profile.path is None}
        self._decided: dict[str | None, NDArray[np.int64]] = {}  # by profile: the most probable paths

    def check(
        self, seed: int | None, path: Path | None, profile: str | None = None, budget: float | None = None
    ) -> Asked:
        """Returns the seed, fresh where none is given, and the path; both None where the file takes none.

        With a profile the path is what the seed's draws give by its law, with the routes of ``path`` forced.

        Raises:
            TypeError: one is of a wrong type.
            ValueError: one is out of range, or given to a file that takes none; the bundle has no such profile, or
                none within the budget.
        """
        if not self._routed:
            if seed is not None or path is not None or profile is not None or budget is not None:
                self.refuse(seed=seed, path=path, profile=profile, budget=budget)
            return None, None
        routes = None if path is None else self._checked_path(path)
        number = fresh_seed() if seed is None else check_seed(seed)
        if profile is None and budget is None:
            return number, routes
        return number, self._routed_by(self.find(profile, budget), number, routes)

    def many(self, first: int, design: Design, profile: str | None, budget: float | None) -> Iterator[Asked]:
        """Yields seed and path of run 0, 1, 2, ... of an ensemble, as ``check`` returns them, without end.

        Args:
            first: the seed of run 0, which is right.
            design: how their draws hang together.
            profile: as for ``check``.
            budget: as for ``check``.

        Raises:
            TypeError: as ``check``.
            ValueError: as ``check``.
        """
        seeds = (design.seed(first, run) for run in count())
        if design.name == INDEPENDENT:
            for seed in seeds:
                yield self.check(seed if self._routed else None, None, profile, budget)
        law = None if profile is None and budget is None else self.find(profile, budget)
        sites = self._sites if law is None else law.sites
        fixed = None if law is None else law.path
        if fixed is None:
            _refuse_gates("draws", sites)
        routes = designed_routes(design, sites, first) if fixed is None else repeat(fixed)
        for seed, latent in zip(seeds, routes, strict=False):
            yield seed, np.array(latent, np.int64)

    def decide(self, decision: object, profile: str | None, budget: float | None, **drawn: object) -> NDArray[np.int64]:
        """Returns the path of a run that draws nothing: the most probable one, of the sites or of a profile.

        Raises:
            TypeError: an argument is of a wrong type.
            ValueError: there is no such decision, something else decides too (``drawn``: seed and path), the file
                takes no path, or the bundle has no such profile.
        """
        if not isinstance(decision, str):
            raise TypeError(f"decision: expected {MOST_PROBABLE!r}, got {type(decision).__name__}; pass a text")
        if decision != MOST_PROBABLE:
            raise ValueError(f"decision: expected {MOST_PROBABLE!r}, got {decision!r}; pass it, or none to draw")
        self.refuse(decision=decision)
        for name, value in drawn.items():
            if value is not None:
                raise ValueError(f"decision: expected no {name} beside it, got one; nothing is drawn: pass one of them")
        law = None if profile is None and budget is None else self.find(profile, budget)
        key = None if law is None else law.name
        if key not in self._decided:
            if law is None or law.path is None:
                _refuse_gates("decision", self._sites if law is None else law.sites)
            path = most_probable_of(self._sites) if law is None else law.path or most_probable_of(law.sites)
            self._decided[key] = np.array(path, np.int64)
        decided: NDArray[np.int64] = self._decided[key].copy()
        return decided

    def find(self, profile: str | None, budget: float | None) -> Profile:
        """Returns the profile of that name, or the best within the budget.

        Raises:
            TypeError: one is of a wrong type.
            ValueError: both are given, or there is no such profile.
        """
        if profile is not None and budget is not None:
            raise ValueError("budget: expected no budget beside a profile, got both; pass one of them")
        if budget is not None:
            return best_within(self._profiles, budget)
        if not isinstance(profile, str):
            raise TypeError(f"profile: expected a name, got {type(profile).__name__} {profile!r}; pass a text")
        if not self._profiles:
            raise ValueError(
                f"profile: expected a bundle with profiles, got {self._where[0]} without; open the folder that has "
                "them, as a single file has no room for any, or make one"
            )
        if profile not in self._profiles:
            known = ", ".join(self._profiles)
            raise ValueError(f"profile: expected one of {known} of {self._where[0]}, got {profile!r}; name one of them")
        return self._profiles[profile]

    def refuse(self, **given: object) -> None:
        """Raises a ValueError where something is given to a file that takes neither seed nor path."""
        names = [] if self._routed else [name for name, value in given.items() if value is not None]
        if names:
            file, interface = self._where
            why = (
                "draws by itself; export it with interface='explicit'" if self._sites else "has no sites; leave it away"
            )
            raise ValueError(f"{names[0]}: expected none for {file}, got one; a file of interface {interface!r} {why}")

    def _checked_path(self, path: Path) -> NDArray[np.int64]:
        try:
            return self._path_check.check(path)
        except ValueError as error:
            if not self._pruned:
                raise
            raise ValueError(
                f"{error}; branches of this file were pruned: session.manifest.pruned.path(...) has a path of its "
                "source as it is called here"
            ) from error

    def _routed_by(self, profile: Profile, seed: int, asked: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The routes that are fed: those of the profile's law, or of its one path, with the asked ones forced."""
        if profile.path is not None:
            fixed = np.array(profile.path, np.int64)
            return fixed if asked is None else np.where(asked >= 0, asked, fixed)
        numbers = draws_as_floats(seed, len(self._sites))
        routes = self._routers[profile.name].latent(numbers, None if asked is None else asked.tolist())
        return np.array(routes, np.int64)


def _refuse_gates(what: str, sites: Sequence[Site]) -> None:
    """Raises a ValueError where a law of routes is wanted that no input decides."""
    gate = next((site.name for site in sites if site.policy.type == "gate"), None)
    if gate is not None:
        raise ValueError(
            f"{what}: expected sites whose law does not depend on the input, got a gate at {gate!r}; leave it away, or "
            "name a profile with another law there"
        )
