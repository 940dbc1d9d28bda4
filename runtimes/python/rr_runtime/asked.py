"""What a run is asked for, its seed and its routes: checked, or refused where the file decides by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.arguments import PathCheck
from rr_runtime.draws import check_seed, fresh_seed
from rr_runtime.manifest import Site

Path = Sequence[int] | NDArray[np.integer[Any]]
Asked = tuple[int | None, NDArray[np.int64] | None]


class AskedCheck:
    """Checks seeds and paths of the runs of one session; threads may share one.

    Args:
        sites: the sites, in path order.
        routed: whether the engine takes seeds and paths.
        where: the file, and its interface, for what is refused.
    """

    def __init__(self, sites: Sequence[Site], *, routed: bool, where: tuple[str, str]) -> None:
        self._sites, self._routed, self._where = sites, routed, where
        self._check_path = PathCheck(sites).check

    def check(self, seed: int | None, path: Path | None) -> Asked:
        """Returns the seed, fresh where none is given, and the path; both None where the file takes none.

        Raises:
            TypeError: one is of a wrong type.
            ValueError: one is out of range, or given to a file that takes none.
        """
        if not self._routed:
            if seed is not None or path is not None:
                self.refuse(seed=seed, path=path)
            return None, None
        routes = None if path is None else self._check_path(path)
        return fresh_seed() if seed is None else check_seed(seed), routes

    def refuse(self, **given: object) -> None:
        """Raises a ValueError where something is given to a file that takes neither seed nor path."""
        names = [] if self._routed else [name for name, value in given.items() if value is not None]
        if names:
            file, interface = self._where
            why = (
                "draws by itself; export it with interface='explicit'" if self._sites else "has no sites; leave it away"
            )
            raise ValueError(f"{names[0]}: expected none for {file}, got one; a file of interface {interface!r} {why}")
