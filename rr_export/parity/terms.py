"""How a proof is made: what counts as equal, how much is tried, and who is told of it meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rr_export.parity.compare import Comparison

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Terms:
    """What one verification is asked to hold to.

    Attributes:
        rtol, atol: values agree within ``atol + rtol * |expected|``.
        share: where above 0, in place of both: the root mean square of an output's differences is at most this share of
            its standard deviation.
        max_paths: up to so many paths are all compared.
        open: which of ``rtol`` and ``atol`` were not asked for, and follow from the model's type of numbers.
        rounds: whether differences that are rounding tell nothing: where nobody asked for tolerances.
        progress: called with (stage, done, total).

    Raises:
        ValueError: nothing would be compared, or a bound is not finite.
    """

    rtol: float = 1e-4
    atol: float = 1e-5
    share: float = 0.0
    max_paths: int = 256
    progress: Progress = silent
    open: tuple[str, ...] = ()
    rounds: bool = False

    def __post_init__(self) -> None:
        if self.max_paths < 1:
            raise ValueError(f"verify: expected max_paths of at least 1, got {self.max_paths}; compare something")
        for name, tolerance in (("rtol", self.rtol), ("atol", self.atol)):
            if not (math.isfinite(tolerance) and tolerance >= 0):
                raise ValueError(
                    f"verify: expected {name} finite and >= 0, got {tolerance}; the default is a good start"
                )
        if not 0 <= self.share < 1:
            raise ValueError(f"verify: expected a share of at least 0 and below 1, got {self.share}; 0.1 is a tenth")

    @classmethod
    def asked(cls, *, rtol: float | None, atol: float | None, **others: Any) -> Terms:
        """Returns terms in which a tolerance that is None is still open."""
        given: dict[str, Any] = {name: value for name, value in (("rtol", rtol), ("atol", atol)) if value is not None}
        return cls(**given, **others, open=tuple({"rtol", "atol"} - given.keys()))

    def with_default(self, tolerances: Mapping[str, float]) -> Terms:
        """Returns terms with these tolerances where they are still open."""
        chosen: dict[str, Any] = {name: tolerances[name] for name in self.open}
        return replace(self, **chosen, open=(), rounds=len(self.open) == len(tolerances))

    def comparison(self) -> Comparison:
        """Returns a comparison on these terms."""
        return Comparison(self.rtol, self.atol, self.share)
