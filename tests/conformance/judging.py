"""Whether one run of a session is what its case expects. Needs numpy and rr_runtime only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime import RuntimeFailure
from tests.conformance.arrays import all_from_json
from tests.conformance.places import Opened

Run = Mapping[str, Any]


@dataclass(frozen=True)
class Tolerance:
    """Floats agree where |found - expected| <= atol + rtol * |expected|, or where their differences are a small share.

    Attributes:
        rtol: relative.
        atol: absolute.
        share: where above 0, instead: the root mean square of an output's differences is at most this share of the
            standard deviation of what is expected.
    """

    rtol: float
    atol: float
    share: float = 0.0

    def widened(self, other: Tolerance | None) -> Tolerance:
        """Returns the tolerance that allows what either of them allows, as far as three numbers can say it."""
        if other is None:
            return self
        return Tolerance(max(self.rtol, other.rtol), max(self.atol, other.atol), max(self.share, other.share))


@dataclass(frozen=True)
class Verdict:
    """What came of one run.

    Attributes:
        name: of the run.
        error: the largest difference of its floats from what is expected; 0 where there are none.
        message: what is wrong; empty where the run is as expected.
    """

    name: str
    error: float
    message: str = ""


class Judge:
    """Runs the runs of one case on a session.

    Args:
        session: on the case's file.
        runs: of the case.
        tolerance: of floats.
        only_paths: the paths that a frozen target packages; its seeded runs may take any of them. None: every path.
    """

    def __init__(
        self,
        session: Opened,
        runs: Sequence[Run],
        tolerance: Tolerance,
        *,
        only_paths: Sequence[tuple[int, ...]] | None = None,
    ) -> None:
        self._session, self._tolerance = session, tolerance
        self._only = None if only_paths is None else set(only_paths)
        self._known: dict[str, list[Any]] = {}
        for run in runs:
            if run["kind"] in ("run", "fresh"):
                self._known.setdefault(str(run["inputs"]), []).extend(run["expected"])

    def verdict(self, run: Run) -> Verdict:
        """Returns what comes of a run; whatever it raises is a message."""
        kinds = {
            "run": self._run,
            "stream": self._stream,
            "fresh": self._fresh,
            "ensemble": self._ensemble,
            "refused": self._refused,
        }
        try:
            error, message = kinds[run["kind"]](run)
        except Exception as problem:  # whatever an engine raises: the run failed
            return Verdict(run["name"], 0.0, f"{type(problem).__name__}: {problem}")
        return Verdict(run["name"], error, message)

    def _call(self, run: Run) -> Any:
        seed = None if run["seed"] is None else int(run["seed"])
        return self._session.run(all_from_json(run["inputs"]), seed=seed, path=run["path"])

    def _run(self, run: Run) -> tuple[float, str]:
        expected = run["expected"]
        if self._only is None:
            result = self._call(run)
            error, message = self._matches(result, expected)
            return error, message or self._nearer_to_another(run, result)
        path = expected[0]["path"]
        try:
            result = self._call(run)
        except ValueError as error:
            packaged = path is not None and tuple(path) in self._only
            return 0.0, f"expected path {path}, got {error}" if packaged or run["path"] is None else ""
        if run["path"] is None:  # it may take another path than the routed file, but a packaged one
            return self._matches(result, self._packaged(run))
        return self._matches(result, [a for a in self._packaged(run) if _obeys(a["path"], run["path"])])

    def _stream(self, run: Run) -> tuple[float, str]:
        inputs = all_from_json(run["inputs"])
        for seed, expected in zip(run["seeds"], run["expected"], strict=True):
            path = self._session.run(inputs, seed=int(seed)).path
            found = None if path is None else path.tolist()
            if self._only is not None and (found is None or tuple(found) not in self._only):
                return 0.0, f"seed {seed}: expected a packaged path, got {found}"
            if self._only is None and found != expected:
                return 0.0, f"seed {seed}: expected path {expected}, got {found}"
        return 0.0, ""

    def _fresh(self, run: Run) -> tuple[float, str]:
        worst, seen = 0.0, set()
        expected = run["expected"] if self._only is None else self._packaged(run)
        for _ in range(run["repeat"]):
            result = self._session.run(all_from_json(run["inputs"]))
            error, message = self._matches(result, expected)
            if message:
                return error, message
            worst = max(worst, error)
            seen.add(b"".join(np.asarray(a).tobytes() for a in result.outputs.values()))
        if len(seen) < 2 and (self._only is None or len(self._only) > 1):
            return worst, f"expected several paths in {run['repeat']} runs without a seed, got one"
        return worst, ""

    def _ensemble(self, run: Run) -> tuple[float, str]:
        found = self._session.ensemble(all_from_json(run["inputs"]), runs=run["runs"], seed=int(run["seed"]))
        expected = run["expected"][0]
        seeds = None if found.seeds is None else [str(seed) for seed in found.seeds.tolist()]
        if seeds != expected["seeds"]:
            return 0.0, f"expected seeds {expected['seeds']}, got {seeds}"
        paths = None if found.paths is None else found.paths.tolist()
        if self._only is not None:
            return 0.0, "" if {tuple(p) for p in paths or ()} <= self._only else f"expected packaged paths, got {paths}"
        if paths != expected["paths"]:
            return 0.0, f"expected paths {expected['paths']}, got {paths}"
        worst = 0.0
        for what, arrays in (("mean", found.mean), ("std", found.std)):
            error, message = compare(all_from_json(expected[what]), arrays, self._tolerance)
            if message:
                return error, f"{what}: {message}"
            worst = max(worst, error)
        return worst, ""

    def _refused(self, run: Run) -> tuple[float, str]:
        try:
            self._call(run)
        except (TypeError, ValueError, RuntimeFailure) as error:
            found = type(error).__name__
            return 0.0, "" if found == run["error"] else f"expected {run['error']}, got {found}: {error}"
        return 0.0, f"expected {run['error']}, got a result"

    def _nearer_to_another(self, run: Run, result: Any) -> str:
        """What is wrong where a wide tolerance allows outputs that are another path's rather."""
        if not self._tolerance.share or result.path is None:
            return ""
        right = run["expected"][0]
        own = _distance(right, result.outputs)
        for answer in self._known[str(run["inputs"])]:
            if answer["path"] != right["path"] and _distance(answer, result.outputs) < own:
                return f"expected outputs of path {right['path']}, got some that are nearer to {answer['path']}"
        return ""

    def _packaged(self, run: Run) -> list[Any]:
        """Answers to the same inputs on the paths that a frozen target has."""
        assert self._only is not None
        return [a for a in self._known[str(run["inputs"])] if a["path"] is not None and tuple(a["path"]) in self._only]

    def _matches(self, result: Any, expected: Sequence[Any]) -> tuple[float, str]:
        """Compares with the answers of the path that the result reports; with all, where it reports none."""
        path = None if result.path is None else result.path.tolist()
        answers = [a for a in expected if a["path"] == path] if path is not None else list(expected)
        if not answers:
            told = [answer["path"] for answer in expected]
            return 0.0, f"expected path {told[0] if len(told) == 1 else f'one of {told}'}, got {path}"
        outcomes = [compare(all_from_json(a["outputs"]), result.outputs, self._tolerance) for a in answers]
        return min(outcomes, key=lambda outcome: (outcome[1] != "", outcome[0]))


def compare(
    expected: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]], tolerance: Tolerance
) -> tuple[float, str]:
    """Returns the largest difference of floats, and what is wrong, empty where nothing is.

    Names, dtypes and shapes are equal, and so are whole numbers and bools.
    """
    if list(expected) != list(found):
        return 0.0, f"expected outputs {list(expected)}, got {list(found)}"
    worst = 0.0
    for name, right in expected.items():
        got = np.asarray(found[name])
        if got.dtype != right.dtype or got.shape != right.shape:
            wanted = f"{right.dtype} {list(right.shape)}"
            return worst, f"output {name!r}: expected {wanted}, got {got.dtype} {list(got.shape)}"
        if right.dtype.kind != "f":
            if not np.array_equal(right, got):
                return worst, f"output {name!r}: expected {right.ravel()[:8]}, got {got.ravel()[:8]}"
            continue
        error, message = _compare_floats(right.astype(np.float64), got.astype(np.float64), tolerance)
        worst = max(worst, error)
        if message:
            return worst, f"output {name!r}: {message}"
    return worst, ""


def _compare_floats(right: NDArray[np.float64], got: NDArray[np.float64], tolerance: Tolerance) -> tuple[float, str]:
    if not np.isfinite(got).all():
        return 0.0, f"expected finite numbers, got {got[~np.isfinite(got)][0]}"
    difference = np.abs(got - right)
    worst = float(difference.max(initial=0.0))
    if tolerance.share and right.size > 1:
        error, scale = float(np.sqrt(np.mean(difference**2))), float(right.std())
        if error > tolerance.share * scale:
            return worst, f"expected differences of at most {tolerance.share:.0%} of {scale:.3g}, got {error:.3g}"
        return worst, ""
    allowed = tolerance.atol + tolerance.rtol * np.abs(right)
    if (difference <= allowed).all():
        return worst, ""
    at = np.unravel_index(int((difference - allowed).argmax()), right.shape)
    where = [int(i) for i in at]
    return worst, f"expected {right[at]:.7g} at {where}, got {got[at]:.7g} (allowed {allowed[at]:.2g})"


def _distance(answer: Mapping[str, Any], found: Mapping[str, NDArray[Any]]) -> float:
    """The root mean square of the differences of all outputs."""
    right = all_from_json(answer["outputs"])
    parts = [(np.asarray(found[name], float) - array.astype(float)).ravel() for name, array in right.items()]
    return float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))


def _obeys(path: Sequence[int] | None, asked: Sequence[int]) -> bool:
    return path is not None and all(-1 in (a, p) or a == p for a, p in zip(asked, path, strict=True))
