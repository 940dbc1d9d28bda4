"""Tests of randomness: each takes a sample and returns the figures it looks at, with their p-values.

A p-value is two-sided where a figure can be too good as well as too bad. Counts of bits, runs and routes have exact
laws. Chi-square (at least 16 expected in every cell), Kolmogorov-Smirnov and correlations are asymptotic; the counts of
collisions and equal spacings are Poisson in the limit.

Sources: Knuth, The Art of Computer Programming 2, 3.3.2 (frequency, serial, collision and runs tests); L'Ecuyer and
Simard, TestU01, 2007 (two-sided p-values, tests on bits); Marsaglia and Tsang, Some difficult-to-pass tests of
randomness, 2002 (birthday spacings); Wald and Wolfowitz, 1940 (runs); Webster and Tavares, 1985 (avalanche).
"""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tests.samples import DRAW_BITS, KEEPS, RUNS, Numbers, Sample

Figures = tuple[NDArray, NDArray]  # the statistics that a test looks at, and their p-values


def two_sided(below: NDArray, above: NDArray) -> NDArray:
    """P-values from P(T <= t) and P(T >= t)."""
    return np.minimum(1.0, 2 * np.minimum(below, above))


def exact_binomial(counts: NDArray, runs: NDArray | int, p: NDArray | float) -> Figures:
    law = stats.binom(runs, p)
    return (counts - law.mean()) / law.std(), two_sided(law.cdf(counts), law.sf(counts - 1))


def poisson(count: NDArray, mean: float) -> Figures:
    return count / mean, two_sided(stats.poisson.cdf(count, mean), stats.poisson.sf(count - 1, mean))


def normal(z: NDArray) -> Figures:
    return z, 2 * stats.norm.sf(np.abs(z))


def chi_square(seen: NDArray, expected: NDArray | float) -> Figures:
    """Of counts [tests, cells]; the statistic is divided by its degrees of freedom."""
    degrees = seen.shape[-1] - 1
    value = ((seen - expected) ** 2 / expected).sum(axis=-1)
    return value / degrees, two_sided(stats.chi2.cdf(value, degrees), stats.chi2.sf(value, degrees))


def joined(parts: list[Figures]) -> Figures:
    return np.concatenate([np.ravel(p[0]) for p in parts]), np.concatenate([np.ravel(p[1]) for p in parts])


def cells(columns: list[Numbers], bits: int) -> Figures:
    """Chi-square of the upper bits of each column of numbers."""
    seen = np.stack([np.bincount(c >> (DRAW_BITS - bits), minlength=2**bits) for c in columns])
    return chi_square(seen, len(columns[0]) / 2**bits)


def squares(pairs: list[tuple[Numbers, Numbers]]) -> Figures:
    """Chi-square of pairs of numbers in a grid of 16 x 16 cells, 8 x 8 where there are few."""
    side = 4 if len(pairs[0][0]) >= 4096 else 3
    upper = DRAW_BITS - side
    return cells([((a >> upper) << upper) | (b >> side) for a, b in pairs], 2 * side)


def centred(numbers: Numbers) -> NDArray[np.float64]:
    """Mean 0 and variance 1, if uniform."""
    return ((numbers + 0.5) * 2.0**-DRAW_BITS - 0.5) * 12**0.5


def uniform(s: Sample) -> Figures:
    """256 bins of each site."""
    return cells(list(s.numbers.T), 8)


def kolmogorov(s: Sample) -> Figures:
    """The largest distance between each site's distribution and the uniform one."""
    runs = len(s.numbers)
    u = (np.sort(s.numbers, axis=0) + 0.5) * 2.0**-DRAW_BITS
    rank = np.arange(runs)[:, None]
    distance = np.maximum((rank + 1) / runs - u, u - rank / runs).max(axis=0)
    law = stats.kstwo(runs)
    return distance * runs**0.5, two_sided(law.cdf(distance), law.sf(distance))


def bits(s: Sample) -> Figures:
    """Each of the 24 bits of each site is set in half of the runs."""
    counts = np.stack([((s.numbers >> b) & 1).sum(axis=0) for b in range(DRAW_BITS)])
    return exact_binomial(counts, len(s.numbers), 0.5)


def pairs(s: Sample) -> Figures:
    """All pairs of sites, in a grid."""
    return squares([(s.numbers[:, i], s.numbers[:, j]) for i, j in combinations(range(12), 2)])


def correlation(s: Sample) -> Figures:
    """Pairs of sites in one run; one site in runs that are 1, 2 and 64 apart."""
    u = centred(s.numbers)
    runs = len(u)
    between = (u.T @ u)[np.triu_indices(12, 1)] / runs**0.5
    along = [(u[lag:] * u[:-lag]).sum(axis=0) / (runs - lag) ** 0.5 for lag in (1, 2, 64)]
    return normal(np.concatenate([between, *along]))


def serial(s: Sample) -> Figures:
    """One site in neighbouring runs, pairs that do not overlap, in a grid."""
    even = len(s.numbers) // 2 * 2
    return squares([(s.numbers[0:even:2, i], s.numbers[1:even:2, i]) for i in range(12)])


def diagonal(s: Sample) -> Figures:
    """A site and its neighbour in the next run, in a grid, both ways."""
    now, later = s.numbers[:-1], s.numbers[1:]
    ways = [(now[:, i + 1], later[:, i]) for i in range(7)] + [(now[:, i], later[:, i + 1]) for i in range(7)]
    return squares(ways)


def patterns(s: Sample) -> Figures:
    """Which of twelve sites (eight where there are few runs) are kept at probability .5, all at once."""
    kept = s.numbers >> (DRAW_BITS - 1)
    sets = [np.arange(12)] if len(kept) >= RUNS else [np.arange(8), np.arange(4, 12)]
    seen = [np.bincount(kept[:, c] @ (1 << np.arange(len(c))), minlength=2 ** len(c)) for c in sets]
    return chi_square(np.stack(seen), len(kept) / 2 ** len(sets[0]))


def runs_of_equals(s: Sample) -> Figures:
    """How often each site's route at probability .5 changes from one run to the next: fair coins, too."""
    kept = s.numbers >> (DRAW_BITS - 1)
    return exact_binomial((kept[1:] != kept[:-1]).sum(axis=0), len(kept) - 1, 0.5)


def longest_run(s: Sample) -> Figures:
    """For how long each site is kept, or skipped, without a break, at probability .5."""
    kept = s.numbers >> (DRAW_BITS - 1)
    longest = np.array([_longest(column == side) for column in kept.T for side in (0, 1)])
    below = np.array([_no_longer_than(int(n), len(kept)) for n in longest])
    above = 1 - np.array([_no_longer_than(int(n) - 1, len(kept)) for n in longest])
    return longest, two_sided(below, above)


def _longest(flags: NDArray[np.bool_]) -> int:
    breaks = np.flatnonzero(np.concatenate([[True], ~flags, [True]]))
    return int(np.diff(breaks).max()) - 1


@cache
def _no_longer_than(longest: int, tosses: int) -> float:
    """P(no run of heads longer than this): the first such run ends at toss t with a tail before it."""
    width = longest + 1
    none = np.ones(tosses + 1)
    if width <= tosses:
        none[width] = 1 - 0.5**width
        for n in range(width + 1, tosses + 1):
            none[n] = none[n - 1] - 0.5 ** (width + 1) * none[n - width - 1]
    return float(none[tosses])


def collisions(s: Sample) -> Figures:
    """How many runs repeat an earlier number of the same site: balls into 2^24 urns."""
    runs, days = len(s.numbers), 2.0**DRAW_BITS
    repeated = (np.diff(np.sort(s.numbers, axis=0), axis=0) == 0).sum()
    expected = runs - days * -np.expm1(runs * np.log1p(-1 / days))
    return poisson(np.array([repeated]), 12 * expected)


def birthdays(s: Sample) -> Figures:
    """Equal spacings among m = 512 birthdays in a year of n = 2^24 days, 2 on average.

    The m - 1 spacings between sorted uniform days are equal pair by pair with probability m / 2n (two of the parts of
    a stick broken at random, at a resolution of 1 / n).
    """
    m, n = 512, 2.0**DRAW_BITS
    groups = len(s.numbers) // m
    days = np.sort(s.numbers[: groups * m].reshape(groups, m, 12), axis=1)
    spacings = np.sort(np.diff(days, axis=1), axis=1)
    return poisson((np.diff(spacings, axis=1) == 0).sum(axis=(0, 1)), groups * (m - 1) * (m - 2) / 2 * m / (2 * n))


def distinct(s: Sample) -> Figures:
    """How many whole rows repeat an earlier one; one-sided, as none is what is expected."""
    repeated = len(s.numbers) - len(np.unique(s.numbers, axis=0))
    mean = len(s.numbers) ** 2 / 2 / s.streams if s.streams else 0.0
    return np.array([repeated]), np.array([stats.poisson.sf(repeated - 1, mean) if mean else float(repeated == 0)])


def avalanche(s: Sample) -> Figures:
    """Rows in blocks of a seed and its 63 neighbours: each bit of each draw differs in half of them."""
    blocks = s.numbers.reshape(-1, 64, 12)
    changed = blocks[:, 1:] ^ blocks[:, :1]
    counts = np.stack([((changed >> b) & 1).sum(axis=0) for b in range(DRAW_BITS)])
    whole = exact_binomial(counts.sum(axis=(0, 2)), len(blocks) * 12 * DRAW_BITS, 0.5)
    return joined([exact_binomial(counts, len(blocks), 0.5), whole])


def kept_counts(s: Sample) -> Figures:
    """How many sites are kept: Poisson-binomial for the file's probabilities, binomial at .5."""
    parts = [kept_law(s.routes, KEEPS)]
    if s.numbers is not None:
        parts.append(kept_law(s.numbers >> (DRAW_BITS - 1), [0.5] * 12))
    return joined(parts)


def kept_law(routes: Numbers, keeps: list[float] | tuple[float, ...]) -> Figures:
    """Chi-square of the kept counts, the rare ones put together."""
    law = np.ones(1)
    for keep in keeps:
        law = np.convolve(law, [1 - keep, keep])
    seen, expected = np.bincount(routes.sum(axis=1), minlength=13), law * len(routes)
    while expected[0] < 16:
        seen, expected = _fold(seen), _fold(expected)
    while expected[-1] < 16:
        seen, expected = _fold(seen[::-1])[::-1], _fold(expected[::-1])[::-1]
    return chi_square(seen[None], expected)


def _fold(array: NDArray) -> NDArray:
    return np.concatenate([[array[0] + array[1]], array[2:]])


def marginals(s: Sample) -> Figures:
    """How often each site is kept."""
    return exact_binomial(s.routes.sum(axis=0), len(s.routes), np.array(KEEPS))


def route_pairs(s: Sample) -> Figures:
    """How often both of two sites are kept; how often one is, in two neighbouring runs."""
    keeps, runs = np.array(KEEPS), len(s.routes)
    upper = np.triu_indices(12, 1)
    both = exact_binomial((s.routes.T @ s.routes)[upper], runs, np.outer(keeps, keeps)[upper])
    even = runs // 2 * 2
    twice = (s.routes[0:even:2] & s.routes[1:even:2]).sum(axis=0)
    return joined([both, exact_binomial(twice, runs // 2, keeps**2)])
