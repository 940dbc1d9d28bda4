"""How a proof is made: what counts as equal, how much is tried, and who is told of it meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rr_export.parity.compare import Comparison

# of a proof against a model
POINTS = ("sites", "weights", "paths", "inputs", "data", "streams", "law", "gates", "laziness", "profiles", "targets")
Progress = Callable[[str, int, int], None]
Tolerance = float | Mapping[str, float]  # of all outputs, or by the name of an output or of a dtype


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
        own: tolerances of single outputs or dtypes, by "rtol" or "atol" and their name, which go before the others.

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
    own: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.max_paths < 1:
            raise ValueError(f"verify: expected max_paths of at least 1, got {self.max_paths}; compare something")
        own = [(f"{kind} of {name}", value) for kind, given in self.own.items() for name, value in given.items()]
        for name, tolerance in (("rtol", self.rtol), ("atol", self.atol), *own):
            if not (math.isfinite(tolerance) and tolerance >= 0):
                raise ValueError(
                    f"verify: expected {name} finite and >= 0, got {tolerance}; the default is a good start"
                )
        if not 0 <= self.share < 1:
            raise ValueError(f"verify: expected a share of at least 0 and below 1, got {self.share}; 0.1 is a tenth")

    @classmethod
    def asked(cls, *, rtol: Tolerance | None, atol: Tolerance | None, **others: Any) -> Terms:
        """Returns terms in which a tolerance that is None, or is given for some outputs only, is still open."""
        asked = {"rtol": rtol, "atol": atol}
        given: dict[str, Any] = {k: v for k, v in asked.items() if v is not None and not isinstance(v, Mapping)}
        own = {kind: dict(value) for kind, value in asked.items() if isinstance(value, Mapping)}
        return cls(**given, **others, open=tuple({"rtol", "atol"} - given.keys()), own=own)

    def check_names(self, outputs: Mapping[str, str]) -> None:
        """Raises a ValueError where a tolerance is for an output or a dtype that is not there.

        Args:
            outputs: the dtype of every output.
        """
        real = {name: dtype for name, dtype in outputs.items() if "float" in dtype}
        known = {*real, *real.values()}
        for kind, given in self.own.items():
            for name in given:
                if name not in known:
                    raise ValueError(
                        f"{kind}: expected an output or a dtype of real numbers ({', '.join(sorted(known))}), "
                        f"got {name!r}; name one of these"
                    )

    def with_default(self, tolerances: Mapping[str, float]) -> Terms:
        """Returns terms with these tolerances where they are still open."""
        chosen: dict[str, Any] = {name: tolerances[name] for name in self.open}
        return replace(self, **chosen, open=(), rounds=len(self.open) == len(tolerances) and not self.own)

    def comparison(self) -> Comparison:
        """Returns a comparison on these terms."""
        return Comparison(self.rtol, self.atol, self.share, own=self.own)
