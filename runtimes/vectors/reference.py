"""SPEC.md sections 3 to 6, 12 and 13 in integers and `fractions.Fraction`: draws, thresholds, routes, paths, designs.

Nothing of rr_export or rr_runtime, no numpy, no arithmetic in floating point. Every step reads like the sentence of
SPEC.md that it stands for.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

# SplitMix64: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
GAMMA, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
WORD = 2**64
SEEDS = 2**63
GRID = 2**24  # a draw is n / GRID
SUM_TOLERANCE = Fraction(1, 10**6)

Call = tuple[tuple[int, int], ...]
Law = Sequence[float]


# The generator: seed -> draws.


def mix64(z: int) -> int:
    """Returns SplitMix64's finaliser of a number, modulo 2^64."""
    z = (z ^ (z >> 30)) * MIX_1 % WORD
    z = (z ^ (z >> 27)) * MIX_2 % WORD
    return z ^ (z >> 31)


def word(seed: int, i: int) -> int:
    """Returns z(i) of a seed."""
    return mix64((mix64(seed) + (i + 1) * GAMMA) % WORD)


def draws(seed: int, sites: int) -> list[int]:
    """Returns the draws of a seed as whole numbers n, 0 <= n < 2^24; the draw is n * 2^-24."""
    return [word(seed, i) >> 40 for i in range(sites)]


# Policies: probabilities -> thresholds -> routes.


def spacing(x: Fraction) -> Fraction:
    """Returns the distance between neighbouring float32 numbers around x, 2^-100 < x <= 1."""
    exponent = 0
    while x * 2**exponent < 1:
        exponent += 1
    return Fraction(1, 2 ** (exponent + 23))


def to_float32(x: Fraction) -> Fraction:
    """Returns the float32 number nearest to x, 0 <= x <= 1; of two the one with an even significand."""
    if x == 0:
        return x
    step = spacing(x)
    return round(x / step) * step  # Fraction rounds half to even


def bits_of(x: Fraction) -> str:
    """Returns the bits of a float32 number as 8 hexadecimal digits."""
    packed = struct.pack(">f", float(x))
    assert Fraction(struct.unpack(">f", packed)[0]) == x, "not a float32 number"
    return packed.hex()


def thresholds(law: Law) -> list[Fraction]:
    """Returns the K - 1 thresholds of K probabilities.

    Raises:
        ValueError: they are no probabilities.
    """
    if not law or not all(math.isfinite(p) and p >= 0 for p in law):
        raise ValueError("negative or not finite")
    exact = [Fraction(p) for p in law]
    total = sum(exact, Fraction(0))
    if abs(total - 1) > SUM_TOLERANCE:
        raise ValueError("no sum of 1")
    if any(0 < p < Fraction(1, GRID) for p in exact):
        raise ValueError("less than 2^-24")
    found = []
    for j in range(1, len(law)):
        cumulative, remaining = sum(exact[:j], Fraction(0)) / total, sum(exact[j:])
        found.append(Fraction(1) if remaining == 0 else to_float32(cumulative))
        assert remaining == 0 or is_settled(exact, total, cumulative), f"{law}: float64 could round either way"
    first_draws = [math.ceil(border * GRID) for border in (Fraction(0), *found, Fraction(1))]
    if any(p > 0 and a == b for p, (a, b) in zip(exact, itertools.pairwise(first_draws), strict=True)):
        raise ValueError("a branch that no draw takes")
    return found


def is_settled(law: Sequence[Fraction], total: Fraction, cumulative: Fraction) -> bool:
    """Tells whether float64 arithmetic, in whatever order it sums, rounds to the same float32 number.

    It does where every sum is exact, or no rounding error can cross the middle of two float32 numbers.
    """
    if total == 1 and all((p * 2**52).denominator == 1 for p in law):
        return True
    in_steps = cumulative / spacing(cumulative) if cumulative else Fraction(0)
    return cumulative == 0 or abs(in_steps - math.floor(in_steps) - Fraction(1, 2)) > Fraction(1, 2**16)


def route_of(row: Sequence[Fraction], draw: int) -> int:
    """Returns the route: the number of thresholds <= draw."""
    return sum(threshold <= Fraction(draw, GRID) for threshold in row)


# Plans: draws and an asked path -> latent routes -> path taken.


@dataclass(frozen=True)
class Site:
    """A site of a plan.

    Attributes:
        table: which of the plan's tables is its policy.
        calls: for each call the enclosing (site, branch) pairs, outermost first.
        chain: its Markov chain, or None.
        step: its step in the chain.
    """

    table: int
    calls: tuple[Call, ...] = ((),)
    chain: int | None = None
    step: int = 0


@dataclass(frozen=True)
class Plan:
    """Sites in site order, `repeat` times over (only where none is nested or in a chain).

    Attributes:
        name: of the plan.
        tables: probabilities, J rows of K.
        pattern: the sites.
        repeat: how often the sites follow each other.
    """

    name: str
    tables: tuple[Sequence[Law], ...]
    pattern: tuple[Site, ...]
    repeat: int = 1

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """All sites."""
        return self.pattern * self.repeat

    @cached_property
    def thresholds(self) -> list[list[list[Fraction]]]:
        """The thresholds of every row of every table."""
        return [[thresholds(law) for law in table] for table in self.tables]

    def branches(self, site: int) -> int:
        """Returns K of a site."""
        return len(self.tables[self.sites[site].table][0])


def routes_of(plan: Plan, drawn: Sequence[int], asked: Sequence[int]) -> list[int]:
    """Returns the latent routes of all sites; asked routes < 0 are drawn, routes >= K are K - 1."""
    latent = [0] * len(plan.sites)
    before: dict[int | None, int] = {}
    for i in sorted(range(len(plan.sites)), key=lambda i: plan.sites[i].step):  # a chain's steps in their order
        site = plan.sites[i]
        row = before[site.chain] if site.step > 0 else 0
        drawn_route = route_of(plan.thresholds[site.table][row], drawn[i])
        latent[i] = drawn_route if asked[i] < 0 else min(asked[i], plan.branches(i) - 1)
        if site.chain is not None:
            before[site.chain] = latent[i]
    return latent


def taken_of(plan: Plan, latent: Sequence[int]) -> list[int]:
    """Returns the path taken: the latent routes, -1 where no call of a site is reached."""

    def is_reached(site: Site) -> bool:
        return any(all(latent[outer] == branch for outer, branch in call) for call in site.calls)

    return [route if is_reached(site) else -1 for route, site in zip(latent, plan.sites, strict=True)]


# Profiles: another law over the sites of a plan, or one of its paths -> what is fed; and the menu.


@dataclass(frozen=True)
class Profile:
    """A profile of a plan.

    Attributes:
        name: of the profile.
        plan: whose sites it is for.
        law: the plan with the profile's policies, or None.
        path: the path that it is, where it is no law.
    """

    name: str
    plan: Plan
    law: Plan | None = None
    path: tuple[int, ...] = ()


def fed_by(profile: Profile, drawn: Sequence[int], asked: Sequence[int]) -> list[int]:
    """Returns the routes that a runtime feeds as the asked path."""
    if profile.law is not None:
        return routes_of(profile.law, drawn, asked)
    return [own if route < 0 else route for own, route in zip(profile.path, asked, strict=True)]


def best_within(menu: Sequence[tuple[str, float, float] | None], budget: float) -> str | None:
    """Returns the name of the profile that a budget takes, None where there is none.

    Args:
        menu: name, cost and quality of every profile in order; None for one that was not measured.
        budget: a share of the cost of the most expensive path, > 0.
    """
    within = [row for row in menu if row is not None and Fraction(row[1]) <= Fraction(budget)]
    best = [row for row in within if all(Fraction(row[2]) >= Fraction(other[2]) for other in within)]
    cheapest = [row for row in best if all(Fraction(row[1]) <= Fraction(other[1]) for other in best)]
    return cheapest[0][0] if cheapest else None


# Designs: the draws of a block of runs that hang together.


def seed_of(first: int, run: int, *, design: str) -> int:
    """Returns the seed of a run of a design."""
    return (first + (run // 2 if design == "antithetic" else run)) % SEEDS


def rank(numbers: Sequence[int], run: int) -> int:
    """Returns how many of the numbers, which are all different, are less than that of a run."""
    assert len(set(numbers)) == len(numbers)
    return sum(number < numbers[run] for number in numbers)


def antithetic_draws(first: int, sites: int, number: int) -> list[list[int]]:
    """Returns the draws of both runs of a pair."""
    drawn = draws(seed_of(first, 2 * number, design="antithetic"), sites)
    return [drawn, [GRID - 1 - n for n in drawn]]


def latin_draws(first: int, sites: int, number: int, *, block: int) -> list[list[int]]:
    """Returns the draws of the runs of a block."""
    seeds = [seed_of(first, number * block + run, design="latin") for run in range(block)]
    found = []
    for run, seed in enumerate(seeds):
        drawn = draws(seed, sites)
        row = []
        for i in range(sites):
            words = [word(seeds[0], sites + 2 + i * block + other) for other in range(block)]
            row.append((rank(words, run) * GRID + drawn[i]) // block)
        found.append(row)
    return found


def stratified_numbers(first: int, sites: int, number: int, *, block: int) -> list[int]:
    """Returns a number v, 0 <= v < 2^(24 S), for each run of a block."""
    seeds = [seed_of(first, number * block + run, design="stratified") for run in range(block)]
    words = [word(seeds[0], sites + 2 + run) for run in range(block)]
    found = []
    for run, seed in enumerate(seeds):
        digits = sum(n * GRID ** (sites - 1 - i) for i, n in enumerate(draws(seed, sites)))
        found.append((rank(words, run) * GRID**sites + digits) // block)
    return found


def coded_routes(plan: Plan, v: int) -> list[int]:
    """Returns the latent routes that a number stands for."""
    latent = [0] * len(plan.sites)
    before: dict[int | None, int] = {}
    size = GRID ** len(plan.sites)
    for i in sorted(range(len(plan.sites)), key=lambda i: plan.sites[i].step):
        site = plan.sites[i]
        row = plan.thresholds[site.table][before[site.chain] if site.step > 0 else 0]
        width = size // GRID
        assert width * GRID == size
        latent[i] = route_of(row, v // width)
        borders = [0, *(math.ceil(t * GRID) for t in row), GRID]
        v -= borders[latent[i]] * width
        size = (borders[latent[i] + 1] - borders[latent[i]]) * width
        assert 0 <= v < size
        if site.chain is not None:
            before[site.chain] = latent[i]
    return latent


def designed_routes(plan: Plan, first: int, number: int, *, design: str, block: int) -> list[list[int]]:
    """Returns the latent routes of the runs of a block."""
    sites = len(plan.sites)
    if design == "stratified":
        return [coded_routes(plan, v) for v in stratified_numbers(first, sites, number, block=block)]
    if design == "latin":
        drawn = latin_draws(first, sites, number, block=block)
    else:
        drawn = antithetic_draws(first, sites, number)
    return [routes_of(plan, row, [-1] * sites) for row in drawn]
