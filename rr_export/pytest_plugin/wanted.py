"""What a test asks for: which points of the proof, which paths one by one, and on which terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

EACH = "each"
TERMS = ("data", "rtol", "atol", "max_paths", "jobs", "results", "progress")  # what rr_export.verify takes

Path_ = tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """The points and paths of one test, checked.

    Attributes:
        points: of the proof, in its order.
        paths: that are tests of their own, in place of the point "paths"; "each": all that this point compares.
        export: options of ``rr_export.export``, where the test returns no bundle.
        terms: options of the proof, such as rtol and max_paths.
    """

    points: tuple[str, ...]
    paths: tuple[Path_, ...] | str
    export: Mapping[str, Any]
    terms: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        where: str,
        *unnamed: object,
        points: Iterable[str] | str | None = None,
        paths: Iterable[Sequence[int]] | str = (),
        export: Mapping[str, Any] | None = None,
        **terms: Any,
    ) -> Wanted:
        """Returns what a mark or a call asks for.

        Raises:
            TypeError: there is no such option.
            ValueError: there is no such point, or paths are no paths.
        """
        from rr_export.parity.terms import POINTS

        options = ", ".join(("points", "paths", "export", *TERMS))
        for wrong in (*map(repr, unnamed), *(f"{name}=" for name in terms if name not in TERMS)):
            raise TypeError(f"{where}: expected options out of {options}, by name, got {wrong}; mend it")
        if points is None:
            points = [name for name in POINTS if name != "data" or name in terms]
        chosen = (points,) if isinstance(points, str) else tuple(points)
        for name in chosen:
            if name not in POINTS:
                raise ValueError(f"{where}: expected points out of {', '.join(POINTS)}, got {name!r}; mend it")
        if not chosen:
            raise ValueError(f"{where}: expected points out of {', '.join(POINTS)}, got none; name one")
        if ("data" in chosen) != ("data" in terms):
            raise ValueError(f"{where}: expected data= and the point 'data' together, got one of them; add the other")
        if paths and "paths" not in chosen:
            raise ValueError(f"{where}: expected the point 'paths' where paths are asked for, got {chosen}; add it")
        if isinstance(paths, str):
            if paths != EACH:
                raise ValueError(f"{where}: expected paths='{EACH}' or a list of paths, got {paths!r}; mend it")
        else:
            paths = tuple(tuple(int(route) for route in path) for path in paths)
        return cls(tuple(p for p in POINTS if p in chosen), paths, export or {}, terms)

    def tests(self, all_paths: Callable[[], Sequence[Path_]]) -> dict[str, str | Path_]:
        """Returns by name what is tested: points, and paths.

        Args:
            all_paths: called for the paths that the point "paths" compares, where each of them is asked for.
        """
        paths = all_paths() if self.paths == EACH else self.paths
        found: list[str | Path_] = []
        for point in self.points:
            found += paths if point == "paths" and paths else [point]
        return {name_of(test): test for test in found}


def name_of(test: str | Path_) -> str:
    """Returns what the test of a point, or of a path, is called."""
    return test if isinstance(test, str) else f"path {','.join(map(str, test))}"
