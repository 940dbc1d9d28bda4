"""Designs: the draws of many runs, spread over the law more evenly than independent ones (SPEC.md, section 13)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from rr_runtime.arguments import check_count
from rr_runtime.draws import SEEDS, words
from rr_runtime.routes import Router, later_steps
from rr_runtime.site_law import Site

INDEPENDENT, ANTITHETIC, STRATIFIED, LATIN = "independent", "antithetic", "stratified", "latin"
DESIGNS = (INDEPENDENT, ANTITHETIC, STRATIFIED, LATIN)
BITS = 24
GRID = 2**BITS  # a draw is a whole number below it, times 2^-24
BLOCK = 16  # runs of a block of stratified and latin draws, where nothing else is said
APART = 2  # words after the draws of the sites that frozen targets draw with
TOP, SCALE = np.uint64(64 - BITS), 2.0**-BITS


@dataclass(frozen=True)
class Design:
    """How the draws of many runs hang together: those of a block do, blocks are independent of each other.

    Attributes:
        name: one of `DESIGNS`.
        block: the runs of a block; 1 for independent ones, 2 for antithetic ones.
    """

    name: str
    block: int

    def seed(self, first: int, run: int) -> int:
        """Returns the seed of a run; both runs of an antithetic pair have one."""
        return (first + (run // 2 if self.name == ANTITHETIC else run)) % SEEDS


def check_design(draws: str, block: int | None) -> Design:
    """Returns the design of that name.

    Raises:
        TypeError: an argument is of a wrong type.
        ValueError: there is no such design, or it has no blocks of that size.
    """
    if not isinstance(draws, str):
        raise TypeError(f"draws: expected the name of a design, got {type(draws).__name__} {draws!r}; pass a text")
    if draws not in DESIGNS:
        raise ValueError(f"draws: expected one of {', '.join(DESIGNS)}, got {draws!r}; name one of them")
    if draws in (INDEPENDENT, ANTITHETIC):
        if block is not None:
            raise ValueError(f"block: expected none for {draws} draws, got {block}; leave it away")
        return Design(draws, 1 if draws == INDEPENDENT else 2)
    size = BLOCK if block is None else check_count(block, "block")
    if size < 2:
        raise ValueError(f"block: expected at least 2 runs of a block, got {size}; pass more, or draw independently")
    return Design(draws, size)


def check_whole_blocks(design: Design, runs: int) -> None:
    """Raises a ValueError where a number of runs is not one of whole blocks."""
    if runs % design.block:
        more = -(-runs // design.block) * design.block
        raise ValueError(
            f"runs: expected a multiple of {design.block}, a block of {design.name} draws, got {runs}; pass {more}"
        )


def designed_routes(design: Design, sites: Sequence[Site], first: int) -> Iterator[list[int]]:
    """Yields the latent routes of run 0, 1, 2, ... of a design, S routes each, without end.

    Every run alone has exactly the law of the sites, as far as the words of the generator are uniform: its draws are
    uniform on the multiples of 2^-24 and independent from site to site.

    Args:
        design: not independent.
        sites: the sites of the law, in path order.
        first: the seed of run 0.
    """
    blocks = ([design.seed(first, b * design.block + run) for run in range(design.block)] for b in count())
    if design.name == STRATIFIED:
        code = PathCode(sites)
        for seeds in blocks:
            yield from map(code.routes, stratified_numbers(seeds, len(sites)))
    router, drawn = Router(sites), antithetic_numbers if design.name == ANTITHETIC else latin_numbers
    for seeds in blocks:
        yield from map(router.latent, (drawn(seeds, len(sites)) * SCALE).tolist())


class PathCode:
    """One number for all routes: the numbers below 2^(24 S) are cut into parts, one for each combination of routes.

    A part is as large as the combination is probable, and those that begin with the same routes are neighbours, as in
    arithmetic coding (Rissanen, Generalized Kraft Inequality and Arithmetic Coding, 1976). So numbers that are spread
    evenly are spread evenly over the first routes, over combinations of the first two, and so on.

    Args:
        sites: the sites of the law, in path order.
    """

    def __init__(self, sites: Sequence[Site]) -> None:
        self._cuts = [
            [[math.ceil(t * GRID) for t in np.array(row, np.float32).tolist()] for row in site.policy.thresholds]
            for site in sites
        ]
        before = {site: previous for previous, site in later_steps(sites)}
        order = sorted(range(len(sites)), key=lambda i: sites[i].policy.step or 0)
        self._order = [(i, before.get(i)) for i in order]

    def routes(self, number: int) -> list[int]:
        """Returns the latent routes of a number, 0 <= number < 2^(24 S)."""
        found = [0] * len(self._cuts)
        size = 1 << BITS * len(found)  # of the part that is left, in which the number lies
        for site, before in self._order:
            width = size >> BITS
            cuts = self._cuts[site][0 if before is None else found[before]]
            route = found[site] = bisect_right(cuts, number // width)
            least = cuts[route - 1] if route else 0
            number -= least * width
            size = ((cuts[route] if route < len(cuts) else GRID) - least) * width
        return found


def antithetic_numbers(seeds: Sequence[int], sites: int) -> NDArray[np.int64]:
    """Returns the draws of a pair of runs, n of n * 2^-24, int64 [2, S]: of its seed, and mirrored."""
    numbers = _numbers(seeds[0], sites)
    return np.stack([numbers, GRID - 1 - numbers])


def latin_numbers(seeds: Sequence[int], sites: int) -> NDArray[np.int64]:
    """Returns the draws of a block, n of n * 2^-24, int64 [N, S]: at every site each N-th of [0, 1) has one.

    McKay, Beckman, Conover: A Comparison of Three Methods for Selecting Values of Input Variables, 1979.

    Args:
        seeds: of the runs, N of them.
        sites: how many sites, S.
    """
    runs = len(seeds)
    numbers = np.array([_numbers(seed, sites) for seed in seeds])
    drawn: NDArray[np.int64] = (_ranks(seeds, sites, sites).T * GRID + numbers) // runs
    return drawn


def stratified_numbers(seeds: Sequence[int], sites: int) -> list[int]:
    """Returns a number below 2^(24 S) for each run of a block: each N-th of them has one."""
    (ranks,) = _ranks(seeds, sites, 1).tolist()
    found = []
    for seed, rank in zip(seeds, ranks, strict=True):
        number = rank
        for digit in _numbers(seed, sites).tolist():
            number = number << BITS | digit
        found.append(number // len(seeds))
    return found


def _numbers(seed: int, sites: int) -> NDArray[np.int64]:
    """The draws of a seed as whole numbers below 2^24, int64 [S]."""
    numbers: NDArray[np.int64] = (words(seed, sites) >> TOP).astype(np.int64)
    return numbers


def _ranks(seeds: Sequence[int], sites: int, rows: int) -> NDArray[np.int64]:
    """Random permutations of 0 .. N-1, int64 [rows, N]: the rank of each run's word in its row.

    The words of one seed are all different, so no two runs have one rank; and any order of them is equally probable.
    """
    runs = len(seeds)
    drawn = words(seeds[0], rows * runs, start=sites + APART).reshape(rows, runs)
    return drawn.argsort(axis=1).argsort(axis=1)
