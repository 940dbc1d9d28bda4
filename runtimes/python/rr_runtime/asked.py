"""What a run is asked for, its seed, its routes and its law: checked, or refused where the file decides by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.arguments import PathCheck
from rr_runtime.draws import check_seed, draws_as_floats, fresh_seed
from rr_runtime.profile import Profile, best_within
from rr_runtime.routes import Router
from rr_runtime.site_law import Site

Path = Sequence[int] | NDArray[np.integer[Any]]
Asked = tuple[int | None, NDArray[np.int64] | None]


class AskedCheck:
    """Checks what the runs of one session are asked for; threads may share one.

    Args:
        sites: the sites, in path order.
        profiles: other laws over them, by name.
        routed: whether the engine takes seeds and paths.
        where: the file, and its interface, for what is refused.
    """

    def __init__(
        self, sites: Sequence[Site], profiles: Mapping[str, Profile], *, routed: bool, where: tuple[str, str]
    ) -> None:
        self._sites, self._profiles, self._routed, self._where = sites, profiles, routed, where
        self._check_path = PathCheck(sites).check
        self._routers = {name: Router(profile.sites) for name, profile in profiles.items() if profile.path is None}

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
        routes = None if path is None else self._check_path(path)
        number = fresh_seed() if seed is None else check_seed(seed)
        if profile is None and budget is None:
            return number, routes
        return number, self._routed_by(self.find(profile, budget), number, routes)

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

    def _routed_by(self, profile: Profile, seed: int, asked: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The routes that are fed: those of the profile's law, or of its one path, with the asked ones forced."""
        if profile.path is not None:
            fixed = np.array(profile.path, np.int64)
            return fixed if asked is None else np.where(asked >= 0, asked, fixed)
        numbers = draws_as_floats(seed, len(self._sites))
        routes = self._routers[profile.name].latent(numbers, None if asked is None else asked.tolist())
        return np.array(routes, np.int64)
