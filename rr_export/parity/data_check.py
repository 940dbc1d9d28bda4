"""Values on the inputs that users have: all paths on some of them, and paths that take every branch on all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.parity.compare import Arrays
from rr_export.parity.paths import paths_to_compare, told_nothing
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Answer, Candidate, Reference
from rr_export.parity.terms import Terms
from rr_export.report.report import Check

WHOLE = 2  # inputs on which all paths are compared
KEPT = 5  # largest differences that are kept with their input
FAILURES = 20  # kept for each input

Path_ = tuple[int, ...]


@dataclass(frozen=True)
class PathDesign:
    """Which paths are compared on which input.

    The first inputs see all paths. Every other input sees some that together take every branch of every site; they
    are other ones from input to input, so that every pair of a path and a kind of input is met sooner or later.

    Attributes:
        paths: all that are compared.
        whole: how many inputs see all of them.
    """

    paths: tuple[Path_, ...]
    whole: int = WHOLE

    def on(self, number: int) -> list[Path_]:
        """Returns the paths for an input, by its number."""
        if number < self.whole:
            return list(self.paths)
        start = (number - self.whole) * _stride(len(self.paths)) % len(self.paths)
        turned = np.array(self.paths[start:] + self.paths[:start])
        untaken = {(site, route) for path in self.paths for site, route in enumerate(path) if route >= 0}
        chosen: list[Path_] = []
        while untaken or not chosen:
            gains = [sum((s, r) in untaken for s, r in enumerate(path)) for path in turned.tolist()]
            best = tuple(turned[int(np.argmax(gains))].tolist())
            chosen.append(best)
            untaken -= set(enumerate(best))
        return chosen


def _stride(count: int) -> int:
    """A step by which all places of a list are met, neighbours far apart from each other."""
    return next(step for step in range(max(1, round(0.618 * count)), 2 * count + 1) if math.gcd(step, count) == 1)


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
        rounded: how many answers differ by rounding alone.
        differences: the largest ones.
        agreement: by output.
        case: what is right, with the input, and the path of the first mismatch; None where there is none.
    """

    number: int
    paths: int = 0
    failures: list[str] = field(default_factory=list)
    rounded: int = 0
    differences: list[Difference] = field(default_factory=list)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    case: tuple[Reference, Path_] | None = None


def compare_on_input(
    number: int, reference: Reference, file: Candidate, paths: Sequence[Path_], terms: Terms
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
            case=(reference, path),
        )
        if not np.array_equal(expected.path, got.path):
            comparison.failures.append(f"{where}: expected path taken {list(path)}, got {got.path.tolist()}")
        _measure(result, path, expected.outputs, got.outputs)
    result.failures, result.rounded, result.case = comparison.failures[:FAILURES], comparison.rounded, comparison.case
    result.differences = largest(result.differences)
    return result


def check_data(references: Iterable[Reference], file: Candidate, terms: Terms, *, total: int | None = None) -> Check:
    """Compares a file with what is right on the inputs that users have.

    Args:
        references: what is right, with each input.
        file: what is compared with it.
        terms: what counts as equal, and how much is tried.
        total: how many there are, where that is known.
    """
    design = PathDesign(tuple(paths_to_compare(file.plan, terms.max_paths)[0]))
    results: list[InputResult] = []
    for number, reference in enumerate(references):
        terms.progress("data", number, total or number + 1)
        results.append(compare_on_input(number, reference, file, design.on(number), terms))
    return summed_up(file.plan, design, results)


def summed_up(plan: Plan, design: PathDesign, results: Sequence[InputResult]) -> Check:
    """Returns the check that the results on all inputs make."""
    results = sorted(results, key=lambda r: r.number)
    failures = [text for result in results for text in result.failures]
    case = next((result.case for result in results if result.case is not None), None)
    if not results:
        failures.append("expected inputs, got none")
    worst = largest([d for result in results for d in result.differences])
    agreement: dict[str, Agreement] = {}
    for result in results:
        for name, found in result.agreement.items():
            agreement.setdefault(name, Agreement()).add(found)
    compared, rounded = sum(r.paths for r in results), sum(r.rounded for r in results)
    whole = min(design.whole, len(results))
    some = f" on {whole} of them, on the others paths that take every branch" if len(results) > whole else ""
    summary = f"{len(results)} inputs: all of {len(design.paths)} paths{some}; {compared} pairs of path and input"
    if not plan.sites:
        summary = f"{len(results)} inputs"
    if worst:
        far = worst[0]
        summary += f"; largest difference {far.difference:.2g} (input {far.input}, output {far.output!r})"
    summary += "".join(
        f"; {name}: top-1 agreement {100 * a.same_top / a.rows:.4g} %, cosine at least {a.least_cosine:.6f}"
        for name, a in agreement.items()
        if a.rows
    )
    figures = {
        "inputs": len(results),
        "pairs": compared,
        "rounded": rounded,
        "largest_differences": [
            {"difference": d.difference, "input": d.input, "path": list(d.path), "output": d.output} for d in worst
        ],
        "agreement": {name: a.to_json() for name, a in agreement.items()},
    }
    return Check("data", not failures, summary + told_nothing(rounded), tuple(failures), figures, case)


def largest(differences: Iterable[Difference]) -> list[Difference]:
    """Returns the largest differences, the largest first."""
    return sorted(differences, key=lambda d: -d.difference)[:KEPT]


def _answers(
    number: int, reference: Reference, file: Candidate, paths: Sequence[Path_]
) -> Iterator[tuple[str, Answer, Answer | Exception]]:
    """What both give on each path, and with a seed; a file that fails where the model does not is another model."""
    for path in paths:
        expected = reference.on_path(path)
        try:
            yield f"path {list(path)}", expected, file.on_path(reference.inputs, path)
        except Exception as error:  # onnxruntime's own exceptions have no common base
            yield f"path {list(path)}", expected, error
    if file.interface in ("explicit", "host"):
        expected = reference.on_seed(number)
        try:
            yield f"seed {number}", expected, file.on_seed(reference.inputs, number)
        except Exception as error:
            yield f"seed {number}", expected, error


def _measure(result: InputResult, path: Path_, expected: Arrays, got: Arrays) -> None:
    for name, one in expected.items():
        other = got.get(name)
        if other is None or other.shape != one.shape or one.dtype.kind != "f":
            continue
        a, b = one.astype(np.float64), other.astype(np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.abs(a - b)
        apart = apart[np.isfinite(apart)]
        if apart.size:
            result.differences.append(Difference(float(apart.max()), result.number, path, name))
        if a.ndim and a.shape[-1] > 1 and a.size:
            result.agreement.setdefault(name, Agreement()).add(_agreement(a, b))


def _agreement(a: NDArray[np.float64], b: NDArray[np.float64]) -> Agreement:
    rows, others = (np.nan_to_num(x).reshape(-1, x.shape[-1]) for x in (a, b))
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    products = (rows * others).sum(axis=1)
    both_zero = ~rows.any(axis=1) & ~others.any(axis=1)
    cosines = np.where(both_zero, 1.0, products / np.where(lengths > 0, lengths, np.inf))
    same = int((rows.argmax(axis=1) == others.argmax(axis=1)).sum())
    return Agreement(len(rows), same, float(cosines.sum()), float(cosines.min()))
