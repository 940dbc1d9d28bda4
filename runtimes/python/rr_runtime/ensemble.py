"""An ensemble: what is asked of many runs on the same inputs, and what is gathered from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.arguments import check_count
from rr_runtime.designs import Design, check_design, check_whole_blocks
from rr_runtime.errors import RuntimeFailure
from rr_runtime.manifest import Tensor
from rr_runtime.moments import BlockMoments, Moments
from rr_runtime.results import EnsembleResult, Result, Vote

Arrays = Mapping[str, NDArray[Any]]
Score = Callable[[Arrays], float]

LEAST_RUNS, LEAST_BLOCKS = 32, 8  # before `until` may end an ensemble
MOST_KEPT = 2**30  # bytes of outputs that are kept for quantiles


@dataclass(frozen=True)
class Wanted:
    """What is asked of an ensemble; all of it is right.

    Attributes:
        runs: how many runs, at most where `until` is given.
        design: how their draws hang together.
        floats: the names of the floating outputs.
        until: the largest standard error at which no more runs are made, or None.
        quantiles: shares of the runs.
        vote: names of outputs.
        score: of one run's outputs, or None.
    """

    runs: int
    design: Design
    floats: tuple[str, ...]
    until: float | None
    quantiles: tuple[float, ...]
    vote: tuple[str, ...]
    score: Score | None


def check_wanted(
    outputs: Sequence[Tensor],
    *,
    runs: int,
    draws: str,
    block: int | None,
    until: float | None,
    quantiles: float | Sequence[float] | None,
    vote: str | Sequence[str] | None,
    score: Score | None,
) -> Wanted:
    """Returns what is asked of an ensemble.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: one is out of range, or the model has no such output.
    """
    runs = check_count(runs, "runs")
    design = check_design(draws, block)
    check_whole_blocks(design, runs)
    floats = tuple(tensor.name for tensor in outputs if tensor.dtype.startswith("float"))
    if until is not None:
        _check_until(until, runs, design, floats)
    if score is not None and not callable(score):
        raise TypeError(f"score: expected a function of the outputs, got {type(score).__name__}; pass one")
    shares = () if quantiles is None else _check_quantiles(quantiles)
    names = () if vote is None else _check_vote(_several(vote), outputs)
    return Wanted(runs, design, floats, until, shares, names, score)


def least_runs(design: Design) -> int:
    """Returns how many runs are made before `until` is looked at: at least 32, and at least 8 blocks.

    The error is an estimate that varies itself: from 8 independent means by a quarter, from 32 by an eighth
    (1 / sqrt(2 (n - 1)), for normal ones).
    """
    return max(LEAST_RUNS, LEAST_BLOCKS * design.block)


def gather(results: Iterator[Result], wanted: Wanted, *, where: str) -> EnsembleResult:
    """Returns what is asked of the runs; they are made as long as they are wanted.

    Args:
        results: the runs, without end.
        wanted: what is asked.
        where: the file, for what is wrong.

    Raises:
        ValueError: what would be kept for quantiles is too large, or a score is no number.
        RuntimeFailure: an output's shape depends on the path, or there is no greatest number to vote for.
    """
    moments: dict[str, Moments | BlockMoments] = {}
    kept: list[dict[str, NDArray[Any]]] = []
    counts: dict[str, NDArray[np.int64]] = {}
    paths, seeds, scores = [], [], []
    least, block = least_runs(wanted.design), wanted.design.block
    for made in range(1, wanted.runs + 1):
        result = next(results)
        for name, value in result.outputs.items():
            if name not in moments:
                moments[name] = Moments(value) if block == 1 else BlockMoments(value, block)
            elif moments[name].mean.shape != value.shape:
                raise RuntimeFailure(
                    f"{where}: output {name!r}: expected shape {moments[name].mean.shape} in every "
                    f"run, got {value.shape}; take the outputs of single runs"
                )
            else:
                moments[name].add(value)
        if wanted.quantiles:
            _check_room(result.outputs, wanted.runs)
            kept.append(result.outputs)
        for name in wanted.vote:
            _count_vote(counts, name, result.outputs[name], where)
        if wanted.score is not None:
            scores.append(_number(wanted.score(result.outputs)))
        paths.append(result.path)
        seeds.append(result.seed)
        if wanted.until is not None and made >= least and made % block == 0:
            largest = _largest_error(moments, wanted.floats)
            if largest is not None and largest <= wanted.until:
                break
    errors = {name: moment.error for name, moment in moments.items()}
    told = {name: error for name, error in errors.items() if error is not None}
    return EnsembleResult(
        runs=made,
        mean={name: moment.mean for name, moment in moments.items()},
        std={name: moment.std for name, moment in moments.items()},
        error=told if len(told) == len(errors) else None,
        largest_error=_largest_error(moments, wanted.floats),
        paths=None if paths[0] is None else np.array(paths, np.int64),
        seeds=None if seeds[0] is None else np.array(seeds, np.int64),
        quantiles=_quantiles(kept, wanted.quantiles) if wanted.quantiles else None,
        votes={name: _vote(counts[name], made) for name in wanted.vote} if wanted.vote else None,
        scores=None if wanted.score is None else np.array(scores, np.float64),
    )


def _several(given: Any) -> tuple[Any, ...]:
    """One thing, or several ones, as several."""
    return (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)


def _check_until(until: object, runs: int, design: Design, floats: Sequence[str]) -> None:
    if isinstance(until, bool) or not isinstance(until, int | float):
        raise TypeError(f"until: expected a number, got {type(until).__name__}; pass a standard error such as 0.01")
    if not 0 < until < math.inf:
        raise ValueError(f"until: expected a standard error above 0, got {until}; pass one such as 0.01")
    if not floats:
        raise ValueError("until: expected a model with a floating output, got one without; leave it away")
    if runs < least_runs(design):
        raise ValueError(
            f"until: expected at least {least_runs(design)} runs of {design.name} draws, got {runs}; below that the "
            "error itself is not known well enough"
        )


def _check_quantiles(quantiles: Any) -> tuple[float, ...]:
    given = _several(quantiles)
    if any(isinstance(share, bool | str) or not isinstance(share, int | float | np.floating) for share in given):
        raise TypeError(f"quantiles: expected numbers, got {quantiles!r}; pass shares such as (0.05, 0.5, 0.95)")
    if not given or not all(0 <= share <= 1 for share in given):
        raise ValueError(f"quantiles: expected shares from 0 to 1, got {quantiles!r}; pass some such as (0.05, 0.95)")
    return tuple(map(float, given))


def _check_vote(names: tuple[Any, ...], outputs: Sequence[Tensor]) -> tuple[str, ...]:
    known = {tensor.name: tensor for tensor in outputs}
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"vote: expected names of outputs, got {type(name).__name__} {name!r}; pass texts")
        if name not in known:
            raise ValueError(f"vote: expected an output of {', '.join(known)}, got {name!r}; name one of them")
        if known[name].dtype == "bool" or not known[name].shape:
            raise ValueError(f"vote: expected an output with numbers for each class, got {known[name]}; name another")
    return names


def _check_room(outputs: Arrays, runs: int) -> None:
    needed = runs * sum(value.nbytes for value in outputs.values())
    if needed > MOST_KEPT:
        raise ValueError(
            f"quantiles: expected outputs of at most {MOST_KEPT} bytes in all runs, which are kept for them, got "
            f"{needed}; ask for fewer runs, or for smaller inputs"
        )


def _number(score: Any) -> float:
    try:
        found = float(score)
    except (TypeError, ValueError):
        raise TypeError(f"score: expected a number, got {type(score).__name__}; return a float") from None
    if math.isnan(found):
        raise ValueError("score: expected a number, got NaN; return one that can be compared")
    return found


def _count_vote(counts: dict[str, NDArray[np.int64]], name: str, value: NDArray[Any], where: str) -> None:
    """The greatest number along the last axis has one vote more."""
    if value.shape[-1] == 0 or np.isnan(value).any():
        got = "NaN" if value.shape[-1] else "no classes"
        raise RuntimeFailure(f"{where}: output {name!r}: expected numbers to vote with, got {got}; vote with another")
    if name not in counts:
        counts[name] = np.zeros(value.shape, np.int64)
    counts[name] += np.arange(value.shape[-1]) == value.argmax(axis=-1)[..., None]


def _vote(counts: NDArray[np.int64], runs: int) -> Vote:
    winner: NDArray[np.int64] = np.asarray(counts.argmax(axis=-1), np.int64)
    return Vote(winner, np.asarray(counts.max(axis=-1) / runs, np.float64), counts)


def _quantiles(kept: Sequence[Arrays], shares: Sequence[float]) -> dict[str, NDArray[Any]]:
    """Order statistics: the inverse of the empirical law (Hyndman, Fan: Sample Quantiles, 1996, definition 1)."""
    ranks = [max(0, math.ceil(round(share * len(kept), 9)) - 1) for share in shares]
    found = {}
    for name in kept[0]:
        ordered = np.sort(np.stack([outputs[name] for outputs in kept]), axis=0)  # NaN is last
        unordered = ordered[-1] != ordered[-1]
        found[name] = np.where(unordered, ordered[-1], ordered[ranks])
    return found


def _largest_error(moments: Mapping[str, Moments | BlockMoments], floats: Sequence[str]) -> float | None:
    """The largest error of any element of these outputs, NaN where one is; None where no error is known."""
    errors = [moments[name].error for name in floats]
    largest = [np.max(error, initial=0.0) for error in errors if error is not None]
    return float(np.max(largest)) if largest else None
