"""Values on the inputs that users have: all paths on some of them, and paths that take every branch on all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np

from rr_export.bundle.atomic_write import scratch_folder
from rr_export.content_digest import content_digest
from rr_export.laws.plan import Plan
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.compare import Arrays
from rr_export.parity.input_result import Agreement, InputResult, compare_on_input, largest
from rr_export.parity.paths import paths_to_compare, told_nothing
from rr_export.parity.subject import Answering, Reference
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_export.sweep import Task, sweep, workers

PARTS = ("rr-export", "rr-runtime", "onnxruntime", "numpy")  # whose versions decide on what is found
WHOLE = 2  # inputs on which all paths are compared


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
class InputTask:
    """One input to compare on.

    Attributes:
        number: of the input, which is the seed too.
        given: what the model is given: the reference itself, or what another process makes it of.
        paths: the paths to compare.
    """

    number: int
    given: Any
    paths: list[Path_]


@dataclass(frozen=True)
class Here:
    """Compares in this process."""

    file: Answering
    terms: Terms

    def __call__(self, task: InputTask) -> dict[str, Any]:
        """Returns the result on an input, JSON-ready; what the task is given is the reference."""
        return asdict(compare_on_input(task.number, task.given, self.file, task.paths, self.terms))


@dataclass(frozen=True)
class Spread:
    """How a comparison on many inputs is spread over workers.

    Attributes:
        jobs: how many workers; -1: one for each core; None: as joblib's active configuration says.
        results: the file that keeps results as they come, None: none does.
        of: what they are results of: what tells this model and this file from others.
        told: what tells a reference from others: all that its model is given.
        elsewhere: what makes the work for other processes, in a folder that they see, and what turns a reference into
            what such work is given; None: all is done in this process.
    """

    jobs: int | None = None
    results: Path | None = None
    of: str = ""
    told: Callable[[Any], Any] = lambda reference: reference.inputs
    elsewhere: Callable[[Path], tuple[Callable[[InputTask], Any], Callable[[Any], Any]]] | None = None


def check_data(
    references: Iterable[Reference],
    file: Answering,
    terms: Terms,
    *,
    paths: Sequence[Path_] = (),
    total: int | None = None,
    spread: Spread | None = None,
) -> Check:
    """Compares a file with what is right on the inputs that users have.

    Args:
        references: what is right, with each input.
        file: what is compared with it.
        terms: what counts as equal, and how much is tried.
        paths: those that the file has; none: as many as are tried of all.
        total: how many there are, where that is known.
        spread: over which workers; None: in this process.
    """
    design = PathDesign(tuple(paths or paths_to_compare(file.plan, terms.max_paths)[0]))
    spread = spread or Spread()
    waiting: dict[int, Reference] = {}
    results: list[InputResult] = []
    case: tuple[int, Reference, Path_] | None = None
    worst: tuple[float, Arrays] = (0.0, {})
    with ExitStack() as stack:
        work: Callable[[InputTask], Any] = Here(file, terms)
        given: Callable[[Any], Any] = lambda reference: reference  # noqa: E731
        if spread.elsewhere is not None and workers(spread.jobs) > 1:
            beside = Path(gettempdir()) / "rr-work" if spread.results is None else spread.results
            work, given = spread.elsewhere(stack.enter_context(scratch_folder(beside)))

        def tasks() -> Iterator[Task]:
            for number, reference in enumerate(references):
                waiting[number] = reference
                key = f"{number} {content_digest(spread.told(reference))}"
                yield Task(key, InputTask(number, given(reference), design.on(number)))

        for _, told in sweep(
            work,
            tasks(),
            jobs=spread.jobs if spread.elsewhere is not None else 1,
            results=spread.results,
            of=_of(spread, terms, design),
            progress=lambda done: terms.progress("data", done, total or done),
        ):
            result = InputResult.read(told)
            reference = waiting.pop(result.number)
            if result.failing is not None and (case is None or result.number < case[0]):
                case = (result.number, reference, result.failing)
            if result.differences and result.differences[0].difference >= worst[0]:
                worst = (result.differences[0].difference, reference.inputs)
            results.append(result)
    check = summed_up(file.plan, design, results)
    return replace(check, case=None if case is None else case[1:], worst=worst[1])


def _of(spread: Spread, terms: Terms, design: PathDesign) -> str:
    """What results on inputs are of: everything but the inputs that decides on them."""
    if spread.results is None:
        return ""
    versions = ", ".join(f"{part} {version(part)}" for part in PARTS)
    equal = f"rtol {terms.rtol:g}, atol {terms.atol:g}, share {terms.share:g}, {terms.own}, rounds {terms.rounds}"
    return f"{spread.of}; {equal}; {len(design.paths)} paths {content_digest(design.paths, design.whole)}; {versions}"


def summed_up(plan: Plan, design: PathDesign, results: Sequence[InputResult]) -> Check:
    """Returns the check that the results on all inputs make."""
    results = sorted(results, key=lambda r: r.number)
    failures = [text for result in results for text in result.failures]
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
    return Check("data", not failures, summary + told_nothing(rounded), tuple(failures), figures)
