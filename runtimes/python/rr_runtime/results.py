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
            asked), it gives the same path. None where the file takes no seed.
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
class EnsembleResult:
    """Many runs on the same inputs.

    Attributes:
        mean: float64, the mean of each output over the runs, by name. Integers are averaged as numbers; for a bool
            output it is the share of runs in which it was true.
        std: float64, the standard deviation of each output over the runs, by name: of the runs that were made (divided
            by their number, not by one less), 0 for a single run, in the unit of the output.
        paths: int64 [runs, S], the path of each run as in `Result.path`, or None where the file does not tell it.
        seeds: int64 [runs], the seed of each run: `(seeds[0] + i) % 2**63`. `ensemble(..., seed=seeds[0])` repeats
            everything, `run(..., seed=seeds[i])` one run. None where the file takes no seed.
    """

    mean: dict[str, NDArray[np.float64]]
    std: dict[str, NDArray[np.float64]]
    paths: NDArray[np.int64] | None
    seeds: NDArray[np.int64] | None

    def __repr__(self) -> str:
        """Shows how many runs there were, and names and sizes of the means."""
        runs = "" if self.seeds is None else f"{len(self.seeds)} runs from seed {self.seeds[0]}, "
        return cut_to_line(f"EnsembleResult({runs}mean and std of {describe_arrays(self.mean)})")
