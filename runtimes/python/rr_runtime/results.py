"""What a run and an ensemble return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.one_line import cut_to_line, describe_arrays


@dataclass(frozen=True, eq=False, init=False, slots=True)
class Result:
    """One run.

    Attributes:
        outputs: the model's outputs by name, in the order and with the dtypes of the manifest.
        path: int64 [S], the route of every site that was reached, -1 where not reached. None where the file does not
            tell it (interfaces standalone and plain). Passed back as `path=`, it gives the same outputs.
        seed: the seed of this run's draws, asked or fresh. Passed back as `seed=` (with the same `path=`, if one was
            asked), it gives the same path. None where the file takes no seed, and where nothing was drawn.
    """

    outputs: dict[str, NDArray[Any]]
    path: NDArray[np.int64] | None
    seed: int | None

    def __init__(self, outputs: dict[str, NDArray[Any]], path: NDArray[np.int64] | None, seed: int | None) -> None:
        _SET_OUTPUTS(self, outputs)  # half the time of what a frozen dataclass writes for itself
        _SET_PATH(self, path)
        _SET_SEED(self, seed)

    def __repr__(self) -> str:
        """Shows what decided, and names and sizes of the outputs."""
        path = "" if self.path is None else f"path {self.path.tolist()}, "
        seed = "" if self.seed is None else f"seed {self.seed}, "
        return cut_to_line(f"Result({seed}{path}{describe_arrays(self.outputs)})")


_SET_OUTPUTS, _SET_PATH, _SET_SEED = (vars(Result)[name].__set__ for name in ("outputs", "path", "seed"))


@dataclass(frozen=True, eq=False)
class Vote:
    """What the runs of an ensemble vote for: each has one vote for the greatest number along the last axis.

    Attributes:
        winner: int64, the class with the most votes, of equal ones the first; of the output's shape without the last
            axis.
        share: float64, the share of runs that voted for it, of the same shape.
        counts: int64, the votes of every class; of the output's shape.
    """

    winner: NDArray[np.int64]
    share: NDArray[np.float64]
    counts: NDArray[np.int64]

    def __repr__(self) -> str:
        least = f", share {self.share.min():.3g} and more" if self.share.size else ""
        return cut_to_line(f"Vote(winner {list(self.winner.shape)} of {self.counts.shape[-1]} classes{least})")


@dataclass(frozen=True)
class ScoredRun:
    """One run of an ensemble, and what the user's score is for it.

    Attributes:
        score: the score.
        run: which run it was, counted from 0.
        path: its path, or None where the file does not tell it.
    """

    score: float
    run: int
    path: tuple[int, ...] | None

    def __repr__(self) -> str:
        path = "" if self.path is None else f", path {list(self.path)}"
        return cut_to_line(f"ScoredRun({self.score:.6g} in run {self.run}{path})")


@dataclass(frozen=True, eq=False)
class EnsembleResult:
    """Many runs on the same inputs.

    Attributes:
        runs: how many were made.
        mean: float64, the mean of each output over the runs, by name. Integers are averaged as numbers; for a bool
            output it is the share of runs in which it was true.
        std: float64, the standard deviation of each output over the runs, by name: of the runs that were made (divided
            by their number, not by one less), 0 for a single run, in the unit of the output.
        error: float64, the standard error of each mean, by name, in the unit of the output: the standard deviation of
            the means of independent blocks of runs (of single runs where draws are independent), divided by one less
            than their number, over the root of their number. None where there are less than two blocks. It is an
            estimate: 0 where all blocks agree, also where a rare route was not seen yet.
        largest_error: the largest error of any element of a floating output, or None where there is none.
        paths: int64 [runs, S], the path of each run as in `Result.path`, or None where the file does not tell it.
        seeds: int64 [runs], the seed of each run. `ensemble(..., seed=seeds[0])`, asked for the same, repeats
            everything; `run(..., path=paths[i])` repeats one run, where draws are independent also
            `run(..., seed=seeds[i])`. None where the file takes no seed.
        quantiles: of each output by name, [Q, ...] in its dtype: the least number that at least such a share of the
            runs do not exceed, NaN where a run gave NaN. None where none were asked for.
        votes: what the runs vote for, by the name of the output; None where none were asked for.
        scores: float64 [runs], the user's score of each run; None where none was given.
    """

    runs: int
    mean: dict[str, NDArray[np.float64]]
    std: dict[str, NDArray[np.float64]]
    error: dict[str, NDArray[np.float64]] | None
    largest_error: float | None
    paths: NDArray[np.int64] | None
    seeds: NDArray[np.int64] | None
    quantiles: dict[str, NDArray[Any]] | None = None
    votes: dict[str, Vote] | None = None
    scores: NDArray[np.float64] | None = None

    @property
    def best(self) -> ScoredRun | None:
        """The first run of the highest score; None where no score was given."""
        return None if self.scores is None else self._scored(int(self.scores.argmax()))

    @property
    def worst(self) -> ScoredRun | None:
        """The first run of the lowest score; None where no score was given."""
        return None if self.scores is None else self._scored(int(self.scores.argmin()))

    def __repr__(self) -> str:
        """Shows how many runs there were, and names and sizes of the means."""
        seeds = "" if self.seeds is None else f" from seed {self.seeds[0]}"
        error = "" if self.largest_error is None else f", errors up to {self.largest_error:.2g}"
        return cut_to_line(
            f"EnsembleResult({self.runs} runs{seeds}{error}, mean and std of {describe_arrays(self.mean)})"
        )

    def _scored(self, run: int) -> ScoredRun:
        assert self.scores is not None
        path = None if self.paths is None else tuple(self.paths[run].tolist())
        return ScoredRun(float(self.scores[run]), run, path)
