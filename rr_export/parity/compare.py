"""Two sets of named arrays: the same, or in which way not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass
class Comparison:
    """Running total of many comparisons.

    Attributes:
        rtol, atol: values agree within ``atol + rtol * |expected|``; integers and booleans exactly.
        share: where above 0, instead, the root mean square of an array's differences is at most this share of the
            standard deviation of what is expected (of a single number: of its size).
        compared: how many arrays were compared.
        worst: largest absolute difference of finite values seen.
        failures: one sentence per mismatch.
        rounded: how many sets of arrays differ by what tells nothing.
        own: other tolerances than ``rtol`` and ``atol``, by the name of an array or of its dtype: a name goes before a
            dtype.
        case: what was handed in with the first mismatch, None where there is none.
    """

    rtol: float
    atol: float
    share: float = 0.0
    compared: int = 0
    worst: float = 0.0
    failures: list[str] = field(default_factory=list)
    rounded: int = 0
    own: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    case: Any = None

    def add(
        self,
        where: str,
        expected: Arrays,
        got: Arrays,
        *,
        unless: Callable[[], bool] | None = None,
        case: Any = None,
    ) -> bool:
        """Compares names, dtypes, shapes and values; returns whether all agree, or what differs tells nothing.

        Args:
            where: begins the sentences.
            expected: what is right.
            got: what is compared with it.
            unless: asked where they differ: whether that tells nothing.
            case: what is compared, for who looks for the cause.
        """
        before = len(self.failures)
        if list(expected) != list(got):
            self.failures.append(f"{where}: expected outputs {list(expected)}, got {list(got)}")
        for name in [n for n in expected if n in got]:
            problem = self._array(name, expected[name], got[name])
            if problem is not None:
                self.failures.append(f"{where}, output {name!r}: {problem}")
        if len(self.failures) > before and unless is not None and unless():
            del self.failures[before:]
            self.rounded += 1
        same = len(self.failures) == before
        if not same and self.case is None:
            self.case = case
        return same

    def _tolerance(self, kind: str, name: str, dtype: np.dtype[Any]) -> float:
        own, common = self.own.get(kind, {}), self.rtol if kind == "rtol" else self.atol
        return own.get(name, own.get(dtype.name, common))

    def _array(self, name: str, expected: NDArray[Any], got: NDArray[Any]) -> str | None:
        self.compared += 1
        if expected.dtype != got.dtype:
            return f"expected dtype {expected.dtype}, got {got.dtype}"
        if expected.shape != got.shape:
            return f"expected shape {expected.shape}, got {got.shape}"
        if expected.dtype.kind in "biu" or expected.dtype.kind in "OSU":
            wrong = int((expected != got).sum())
            return f"expected equal values, got {wrong} different ones" if wrong else None
        a, b = expected.astype(np.float64), got.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return "expected NaN and infinities at the same places, got them elsewhere"
        difference = np.abs(a[finite] - b[finite])
        if difference.size == 0:
            return None
        self.worst = max(self.worst, float(difference.max()))
        if self.share:
            error = float(np.sqrt(np.mean(difference**2)))
            scale = float(a[finite].std()) if difference.size > 1 else float(np.abs(a[finite]).max())
            if error <= self.share * scale:
                return None
            return f"expected differences of at most {self.share:.0%} of the deviation {scale:.3g}, got {error:.3g}"
        rtol, atol = (self._tolerance(kind, name, expected.dtype) for kind in ("rtol", "atol"))
        allowed = atol + rtol * np.abs(a[finite])
        over = int((difference > allowed).sum())
        if over:
            return (
                f"expected values within rtol {rtol:g}, atol {atol:g}, got {over} of {difference.size} "
                f"further apart, at most {difference.max():.3g}"
            )
        return None
