"""How file and model agree on one input: on some paths, and on the path that a seed takes on both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.compare import Arrays
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Answer, Answering, Reference
from rr_export.parity.terms import Terms

KEPT = 5  # largest differences that are kept with their input
FAILURES = 20  # kept for each input


@dataclass(frozen=True)
class Difference:
    """How far apart an output was."""

    difference: float
    input: int
    path: Path_
    output: str


@dataclass
class Agreement:
    """How far an output says the same, over its last axis: as a classifier, and as a vector.

    Attributes:
        rows: how many vectors were compared.
        same_top: how many of them have their largest number at the same place.
        cosine: sum of their cosines.
        least_cosine: the least of these.
    """

    rows: int = 0
    same_top: int = 0
    cosine: float = 0.0
    least_cosine: float = 1.0

    def add(self, other: Agreement) -> None:
        """The rows of another one count too."""
        self.rows += other.rows
        self.same_top += other.same_top
        self.cosine += other.cosine
        self.least_cosine = min(self.least_cosine, other.least_cosine)

    def to_json(self) -> dict[str, float]:
        """Returns shares and cosines, in [0, 1] and [-1, 1]."""
        rows = max(self.rows, 1)
        return {
            "top1": self.same_top / rows,
            "cosine_mean": self.cosine / rows,
            "cosine_least": self.least_cosine,
            "rows": self.rows,
        }


@dataclass
class InputResult:
    """What the comparison on one input found.

    Attributes:
        number: of the input.
        paths: how many paths were compared.
        failures: one sentence per mismatch.
        failing: the path of the first mismatch of values, None where there is none.
        rounded: how many answers differ by rounding alone.
        differences: the largest ones.
        agreement: by output.
    """

    number: int
    paths: int = 0
    failures: list[str] = field(default_factory=list)
    failing: Path_ | None = None
    rounded: int = 0
    differences: list[Difference] = field(default_factory=list)
    agreement: dict[str, Agreement] = field(default_factory=dict)

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """Returns the result that ``dataclasses.asdict`` told, also by way of JSON."""
        differences = [Difference(**{**row, "path": tuple(row["path"])}) for row in told["differences"]]
        agreement = {name: Agreement(**row) for name, row in told["agreement"].items()}
        failing = None if told["failing"] is None else tuple(told["failing"])
        return cls(**{**told, "failing": failing, "differences": differences, "agreement": agreement})


def compare_on_input(
    number: int, reference: Reference, file: Answering, paths: Sequence[Path_], terms: Terms
) -> InputResult:
    """Returns how file and model agree on one input: on some paths, and on the path that a seed takes on both.

    Args:
        number: of the input, which is the seed too.
        reference: what is right, with this input.
        file: what is compared with it.
        paths: the paths.
        terms: what counts as equal.
    """
    comparison, result = terms.comparison(), InputResult(number, len(paths))
    for where, expected, got in _answers(number, reference, file, paths):
        where = f"input {number}, {where}"
        if not isinstance(got, Answer):
            comparison.failures.append(f"{where}: expected outputs, got {type(got).__name__}: {got}")
            continue
        path = tuple(expected.path.tolist())
        comparison.add(
            where,
            expected.outputs,
            got.outputs,
            unless=rounding(reference, expected, got, path) if terms.rounds else None,
            case=path,
        )
        if not np.array_equal(expected.path, got.path):
            comparison.failures.append(f"{where}: expected path taken {list(path)}, got {got.path.tolist()}")
        _measure(result, path, expected.outputs, got.outputs)
    result.failures, result.failing, result.rounded = (
        comparison.failures[:FAILURES],
        comparison.case,
        comparison.rounded,
    )
    result.differences = largest(result.differences)
    return result


def largest(differences: Iterable[Difference]) -> list[Difference]:
    """Returns the largest differences, the largest first."""
    return sorted(differences, key=lambda d: -d.difference)[:KEPT]


def _answers(
    number: int, reference: Reference, file: Answering, paths: Sequence[Path_]
) -> Iterator[tuple[str, Answer, Answer | Exception]]:
    """What both give on each path, and with a seed; a file that fails where the model does not is another model."""
    for path in paths:
        with _named(number):
            expected = reference.on_path(path)
        try:
            yield f"path {list(path)}", expected, file.on_path(reference.inputs, path)
        except Exception as error:  # onnxruntime's own exceptions have no common base
            yield f"path {list(path)}", expected, error
    if file.interface in ("explicit", "host"):
        with _named(number):
            expected = reference.on_seed(number)
        try:
            yield f"seed {number}", expected, file.on_seed(reference.inputs, number)
        except Exception as error:
            yield f"seed {number}", expected, error


@contextmanager
def _named(number: int) -> Iterator[None]:
    """What the model raises says on which input."""
    try:
        yield
    except Exception as error:
        error.add_note(f"on input {number} of the data")
        raise


def _measure(result: InputResult, path: Path_, expected: Arrays, got: Arrays) -> None:
    for name, one in expected.items():
        other = got.get(name)
        if other is None or other.shape != one.shape or one.dtype.kind != "f":
            continue
        a, b = one.astype(np.float64), other.astype(np.float64)
        if a.size:
            result.differences.append(Difference(_largest_apart(a, b), result.number, path, name))
        if a.ndim and a.shape[-1] > 1 and (found := _agreement(a, b)).rows:
            result.agreement.setdefault(name, Agreement()).add(found)


def _largest_apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The largest difference; infinite where a number is NaN or infinite on one side only."""
    with np.errstate(invalid="ignore"):
        apart = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max())


def _agreement(a: NDArray[np.float64], b: NDArray[np.float64]) -> Agreement:
    """How rows agree; one that should have NaN tells nothing, one that has it where it should not agrees in nothing.

    Infinities at the same places have no say in the cosine; elsewhere they are no agreement.
    """
    rows, others = (x.reshape(-1, x.shape[-1]) for x in (a, b))
    telling = ~np.isnan(rows).any(axis=1)
    rows, others = rows[telling], others[telling]
    if not len(rows):
        return Agreement()
    odd = (~np.isfinite(others) & (rows != others)).any(axis=1) | (np.isinf(rows) & (rows != others)).any(axis=1)
    same = (rows.argmax(axis=1) == others.argmax(axis=1)) & ~np.isnan(others).any(axis=1)
    finite = np.isfinite(rows) & np.isfinite(others)
    rows, others = np.where(finite, rows, 0.0), np.where(finite, others, 0.0)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    products = (rows * others).sum(axis=1)
    both_zero = ~rows.any(axis=1) & ~others.any(axis=1)
    cosines = np.where(both_zero, 1.0, products / np.where(lengths > 0, lengths, np.inf))
    cosines = np.where(odd, -1.0, cosines)
    return Agreement(len(rows), int(same.sum()), float(cosines.sum()), float(cosines.min()))
