"""Finds how a session on the CPU computes a bundle fastest here, by one setting after another.

Two sessions on one file differ in their times by up to a tenth, as their weights lie elsewhere in memory, and machines
drift. So either side of a comparison is several sessions, all are timed in the same interleaved rounds on the same
seeds, and one side is faster where the slowest of its sessions is faster than the fastest of the other's. If both were
alike, that would happen in one of twenty comparisons; what is found at last has to win once more against the default.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rr_runtime.draws import SEEDS
from rr_runtime.errors import RuntimeFailure
from rr_runtime.session import Session
from rr_runtime.tools.timing import Tell, interleave
from rr_runtime.tuning import FUSIONS, Tuning

COPIES = 3  # sessions of each side; 1 of (6 choose 3) = 20 orders has one side before the other


@dataclass(frozen=True)
class Comparison:
    """Two tunings, compared.

    Attributes:
        setting: what differs.
        tried: the second tuning, in words.
        ratio: the median of its runs over that of the first one's; None where it does not run, or not rightly.
        faster: whether it is faster, beyond the noise.
    """

    setting: str
    tried: str
    ratio: float | None
    faster: bool


@dataclass(frozen=True)
class Found:
    """The tuning that is faster than the default beyond the noise, else the default; and how it was found."""

    tuning: Tuning
    steps: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns it as a dictionary."""
        return {"tuning": self.tuning.to_json(), "words": str(self.tuning), "steps": [asdict(s) for s in self.steps]}


Compare = Callable[[str, Tuning, Tuning], Comparison]


def find_tuning(
    default: Tuning, compare: Compare, *, spins: bool, progress: Tell | None = None, cores: int | None = None
) -> Found:
    """Returns the tuning that is found by changing one setting after another, wherever that is faster.

    Args:
        default: what a session takes by itself.
        compare: compares two tunings that differ in a setting.
        spins: whether threads wait actively where a tuning does not say it.
        progress: told (stage, done, total).
        cores: the number of cores; None: this machine's.
    """
    best, steps = default, []
    settings = list(_settings(cores or os.cpu_count() or 1, spins=spins))
    for number, (name, change) in enumerate(settings):
        if progress is not None:
            progress(f"tuning: {name}", number, len(settings) + 1)
        tried = change(best)
        if tried != best:
            steps.append(compare(name, best, tried))
            best = tried if steps[-1].faster else best
    if best != default:
        if progress is not None:
            progress("tuning: all against the default", len(settings), len(settings) + 1)
        steps.append(compare("all against the default", default, best))
        best = best if steps[-1].faster else default
    return Found(best, tuple(steps))


def compare_on(path: Path, feeds: dict[str, Any], *, first: int, rounds: int) -> Compare:
    """Returns what compares two tunings by runs of a bundle on the CPU, on fresh paths of the same seeds.

    A tuning under which a session does not open, or whose golden cases do not hold, is not faster.

    Args:
        path: the bundle folder.
        feeds: the inputs.
        first: the first seed.
        rounds: how often each session runs.
    """

    def compare(setting: str, best: Tuning, tried: Tuning) -> Comparison:
        try:
            sides = [[Session(path, provider="cpu", tuning=side) for _ in range(COPIES)] for side in (best, tried)]
            sides[1][0].check()
        except RuntimeFailure:
            return Comparison(setting, str(tried), None, faster=False)
        cases = {f"{side} {copy}": _runs(sides[side][copy], feeds, first) for side in (0, 1) for copy in range(COPIES)}
        times = interleave(cases, runs=rounds, single=set(cases))
        before, after = ([float(np.median(times[f"{side} {copy}"])) for copy in range(COPIES)] for side in (0, 1))
        return Comparison(setting, str(tried), float(np.median(after) / np.median(before)), max(after) < min(before))

    return compare


def _settings(cores: int, *, spins: bool) -> Iterator[tuple[str, Callable[[Tuning], Tuning]]]:
    """Yields what may be changed, and how; a change that is none is left out."""
    for name in FUSIONS:
        yield name, lambda best, name=name: replace(best, left_out=_toggled(best.left_out, name))  # type: ignore[misc]
    counts = sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})
    for count in counts:
        yield f"threads {count}", lambda best, count=count: replace(best, threads=count)  # type: ignore[misc]
    waiting = "no active waiting" if spins else "active waiting"
    yield waiting, lambda best: best if best.threads == 1 else replace(best, spinning=not spins)
    yield "memory is not kept", lambda best: replace(best, arena=False)


def _toggled(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name) if name in names else (*names, name)


def _runs(session: Session, feeds: dict[str, Any], first: int) -> Callable[[], object]:
    """Returns a run on the next seed, where the file takes one."""
    if not session.engine.routed:
        return lambda: session.run(feeds)
    count = iter(range(2**62))
    return lambda: session.run(feeds, seed=(first + next(count)) % SEEDS)
