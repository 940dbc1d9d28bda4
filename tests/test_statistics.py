"""A statistics battery on the draws as they are used here: many short runs, not one long one.

Design. A batch of runs is a table [runs, sites]; a good generator makes it independent and uniform along both axes, in
whatever way its rows were asked for: by consecutive, near, adversarial or random seeds, by fresh sessions whose random
node decides, by one long session. Every sample (:mod:`tests.samples`) goes through every test that makes sense on it
(:mod:`tests.randomness`, which names its sources).

Rates. A test looks at many figures (sites, bits, pairs), each with a p-value; the test's own is the smallest times
their number, and a row is rejected below ``LEVEL = FALSE_ALARM / number of rows`` (Bonferroni twice: no independence is
assumed). All seeds are fixed, so the outcome is too: ``FALSE_ALARM`` is the probability with which a perfect generator
would have been rejected when they were chosen, as far as the laws of the figures are exact. Where they are asymptotic,
PCG64 shows that they do not alarm too often; and every sabotaged twin lies far beyond the level.

``python -m tests.test_statistics`` prints every row.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rr_runtime.draws import draws
from tests import randomness, samples
from tests.randomness import Figures
from tests.samples import FAR, KEEPS, LCG_PERIOD, NEAR, RUNS, SEED_SETS, SESSIONS, Sample, from_numbers, stream
from tests.test_architecture import EXPORTER, imports_in

FALSE_ALARM = 1e-6  # of the whole battery
Test = Callable[[Sample], Figures]

ON_ROUTES: dict[str, Test] = {
    "marginals": randomness.marginals,
    "pairs of routes": randomness.route_pairs,
    "kept counts": randomness.kept_counts,
}
ON_NUMBERS: dict[str, Test] = {
    "uniform": randomness.uniform,
    "Kolmogorov-Smirnov": randomness.kolmogorov,
    "bits": randomness.bits,
    "pairs of sites": randomness.pairs,
    "correlation": randomness.correlation,
    "serial": randomness.serial,
    "diagonal": randomness.diagonal,
    "patterns": randomness.patterns,
    "runs": randomness.runs_of_equals,
    "longest run": randomness.longest_run,
    "collisions": randomness.collisions,
    "birthday spacings": randomness.birthdays,
    "distinct rows": randomness.distinct,
}
AVALANCHE = {"avalanche": randomness.avalanche}
TESTS = ON_ROUTES | ON_NUMBERS | AVALANCHE

NODE_SEEDS = np.random.default_rng(samples.OPERATING_SYSTEM + 2).integers(0, 2**31, SESSIONS)
GRAPH_SEEDS: dict[str, Callable[[], NDArray[np.uint64]]] = {
    "graph, seeds 10^6, 10^6 + 1, ...": lambda: samples.consecutive() + np.uint64(10**6),
    "graph, seeds of the system": lambda: samples.operating_system(stream_of=samples.OPERATING_SYSTEM + 3),
}
SAMPLES: dict[str, Callable[[], Sample]] = {
    **{name: lambda seeds=seeds: from_numbers(stream(seeds())) for name, seeds in SEED_SETS.items()},
    **{name: lambda seeds=seeds: samples.graph_on(seeds()) for name, seeds in GRAPH_SEEDS.items()},
    "ensemble across 2^63": samples.ensemble,
    "sessions 1, 2, 3, ...": lambda: samples.first_runs("explicit", range(1, SESSIONS + 1)),
    "sessions 2^30, 2^30 + 1, ...": lambda: samples.first_runs("explicit", range(2**30, 2**30 + SESSIONS)),
    "sessions, seeds of the system": lambda: samples.first_runs("explicit", NODE_SEEDS, LCG_PERIOD),
    "standalone sessions 1, 2, 3, ...": lambda: samples.first_runs("standalone", range(1, SESSIONS + 1)),
    "standalone, seeds of the system": lambda: samples.first_runs("standalone", NODE_SEEDS, LCG_PERIOD),
    "one long session": lambda: samples.long_run("explicit", 1),
    "one long standalone session": lambda: samples.long_run("standalone", 1),
}
sample = cache(lambda name: SAMPLES[name]())


def applicable(name: str) -> list[str]:
    """What makes sense on a sample."""
    if name.startswith("ensemble"):
        return list(ON_ROUTES)
    return [*ON_ROUTES, *ON_NUMBERS, *(AVALANCHE if name == "seeds one bit apart" else ())]


SLOW = (  # thousands of sessions each
    "sessions 2^30, 2^30 + 1, ...",
    "standalone sessions 1, 2, 3, ...",
    "standalone, seeds of the system",
)
ROWS = [(name, test) for name in SAMPLES for test in applicable(name)]
LEVEL = FALSE_ALARM / len(ROWS)


@dataclass(frozen=True)
class Row:
    """One test on one sample: its most extreme figure, how many there are, and the p-value of all together."""

    sample: str
    test: str
    statistic: float
    figures: int
    p: float


def measure(name: str, runs: Sample, test: str) -> Row:
    """One row of the battery."""
    values, p = (np.ravel(part) for part in TESTS[test](runs))
    assert not np.isnan(p).any()
    worst = int(np.argmin(p))
    return Row(name, test, float(values[worst]), len(p), min(1.0, float(p[worst]) * len(p)))


def battery() -> list[Row]:
    """All rows."""
    return [measure(name, sample(name), test) for name, test in ROWS]


@pytest.mark.parametrize(
    ("name", "test"),
    [
        pytest.param(name, test, id=f"{name} | {test}", marks=pytest.mark.slow if name in SLOW else ())
        for name, test in ROWS
    ],
)
def test_the_generator_passes(name: str, test: str) -> None:
    row = measure(name, sample(name), test)
    assert row.p >= LEVEL, f"{row}: a perfect generator gets there with probability {row.p:.1g}"


@pytest.mark.parametrize("name", SEED_SETS)
def test_the_samples_are_what_the_runtime_draws(name: str) -> None:
    seeds = SEED_SETS[name]()
    numbers = sample(name).numbers
    for row in [0, 1, *range(7, len(seeds), len(seeds) // 256), -1]:
        assert np.array_equal(draws(int(seeds[row]), 1000)[FAR] * 2.0**24, numbers[row])


@pytest.mark.parametrize("name", GRAPH_SEEDS)
def test_the_graph_draws_what_the_runtime_draws(name: str) -> None:
    runs = sample(name)
    assert np.array_equal(runs.numbers, stream(GRAPH_SEEDS[name](), NEAR))
    assert np.array_equal(runs.routes, samples.keep_by(runs.numbers, KEEPS))


@pytest.mark.parametrize("name", SEED_SETS)
def test_the_graph_draws_the_same_on_adversarial_seeds(name: str) -> None:
    seeds = SEED_SETS[name]()[:: RUNS // 512]
    assert np.array_equal(samples.graph_on(seeds).numbers, stream(seeds, NEAR))


libstdcpp = pytest.mark.skipif(sys.platform != "linux", reason="onnxruntime's generator is the C++ library's")


@libstdcpp
@pytest.mark.parametrize("interface", ["explicit", "standalone"])
def test_the_random_node_has_as_many_streams_as_its_period(interface: str) -> None:
    """Why a runtime feeds seeds of its own: onnxruntime's nodes have 2^31 - 2 states."""
    first, same = samples.first_runs(interface, [5, 5 + LCG_PERIOD]).numbers
    assert np.array_equal(first, same)


@libstdcpp
def test_two_seeds_of_the_random_node_are_one() -> None:
    """Why the samples of sessions begin with 1: a node that stands first is seeded with 0 and 1, and takes 0 for 1."""
    zero, one, two = samples.first_runs("explicit", [0, 1, 2]).numbers
    assert np.array_equal(zero, one)
    assert not np.array_equal(one, two)


def test_scipy_judges_nothing_that_is_shipped() -> None:
    """Only weights of frozen paths, budgets and intervals of a metric need it; the runtime is held elsewhere."""
    users = {name for name, targets in imports_in(EXPORTER).items() if any(t.split(".")[0] == "scipy" for t in targets)}
    budgets = {"rr_export.laws.budget", "rr_export.laws.nearest_policies"}
    intervals = "rr_export.quality.intervals"  # Student's quantiles
    assert users == {*budgets, intervals, "rr_export.targets.frozen_paths"}


def test_good_numbers_are_rejected_as_often_as_stated() -> None:
    """P(p <= u) <= u for every test on 200 samples of PCG64, of the size of the sessions; false-alarm rate 1e-6."""
    generator = np.random.default_rng(samples.OPERATING_SYSTEM + 4)
    goods = [from_numbers(generator.integers(0, 2**24, (SESSIONS, 12))) for _ in range(200)]
    levels = np.array([0.001, 0.01, 0.05, 0.2])
    for name in TESTS:
        p = np.array([measure("PCG64", good, name).p for good in goods])
        alarms = (p[:, None] <= levels).sum(axis=0)
        chance = stats.binom.sf(alarms - 1, len(goods), levels)
        assert chance.min() > 1e-6 / len(TESTS) / len(levels), (name, alarms)


# --- sabotaged twins: each is a mistake that one could make, with the tests that reject it ---


def first_number_is_the_draw() -> Sample:
    """The random node's numbers used as they are: nearby seeds of onnxruntime give nearby first numbers."""
    return from_numbers(samples.node_numbers(1, 12, range(SESSIONS)))


def a_random_node_per_site() -> Sample:
    """All sites agree on the first run, as the nodes are seeded by their neighbouring indices."""
    return from_numbers(samples.node_numbers(12, 1, NODE_SEEDS))


def sessions_that_begin_alike() -> Sample:
    """onnxruntime's seed is never set, or an attribute sets the node's."""
    return samples.first_runs("explicit", [11] * 1024)


def no_finaliser() -> Sample:
    """A step per site is added to the key, and its upper bits are the draw."""
    return from_numbers(stream(samples.operating_system(), mix=lambda z: z))


def seed_is_the_key() -> Sample:
    """The seed is not mixed: a seed that is a golden gamma further on (modulo 2^64) has the same draws, one site on."""
    return from_numbers(stream(samples.golden_multiples(), key=lambda z: z))


def half_a_mixer(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)


def half_mixed() -> Sample:
    """The seed is not mixed, and one of the two multiplications is forgotten."""
    return from_numbers(stream(samples.one_bit(), key=lambda z: z, mix=half_a_mixer))


def one_draw_for_two_sites() -> Sample:
    numbers = stream(samples.operating_system()).copy()
    numbers[:, 11] = numbers[:, 2]
    return from_numbers(numbers)


def sixteen_bits() -> Sample:
    return from_numbers(stream(samples.operating_system()) >> 8 << 8)


def a_counter() -> Sample:
    """Numbers in turn instead of at random."""
    return from_numbers((np.arange(RUNS * 12).reshape(RUNS, 12) * (2**24 // 12 // RUNS + 1)) % 2**24)


def too_even() -> Sample:
    """A shuffled grid: every bin is hit equally often, as no random numbers do."""
    generator = np.random.default_rng(samples.OPERATING_SYSTEM + 5)
    return from_numbers(np.stack([generator.permutation(RUNS) * 256 + 128 for _ in range(12)], axis=1))


def thresholds_off() -> Sample:
    """Every site is kept .01 too often."""
    numbers = stream(samples.operating_system())
    return Sample(samples.keep_by(numbers, [p + 0.01 for p in KEEPS]))


def one_threshold_off() -> Sample:
    """Only the site of keep probability .95 is kept .01 too often."""
    numbers = stream(samples.operating_system())
    return Sample(samples.keep_by(numbers, [p + 0.01 * (p == 0.95) for p in KEEPS]))


TWINS: dict[Callable[[], Sample], list[str]] = {
    first_number_is_the_draw: ["uniform", "correlation", "serial", "diagonal", "runs"],
    a_random_node_per_site: ["pairs of sites", "correlation", "patterns", "kept counts", "pairs of routes"],
    sessions_that_begin_alike: ["uniform", "distinct rows", "longest run"],
    no_finaliser: ["pairs of sites", "patterns", "kept counts"],
    seed_is_the_key: ["diagonal"],
    half_mixed: ["avalanche", "serial", "birthday spacings"],
    one_draw_for_two_sites: ["pairs of sites", "correlation", "patterns", "kept counts", "pairs of routes"],
    sixteen_bits: ["bits", "collisions", "birthday spacings"],
    a_counter: ["correlation", "serial", "runs", "patterns"],
    too_even: ["uniform", "Kolmogorov-Smirnov", "collisions"],
    thresholds_off: ["marginals", "kept counts"],
    one_threshold_off: ["marginals"],
}


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
def test_sabotage_is_rejected(twin: Callable[[], Sample]) -> None:
    runs = twin()
    found = {test: measure(twin.__name__, runs, test).p for test in TWINS[twin]}
    assert max(found.values()) < LEVEL, found


def test_sabotage_a_seed_that_is_the_key_overlaps() -> None:
    """What the mixing of the seed prevents, exactly: draw(seed + 2 * gamma, site) == draw(seed, site + 2)."""
    seeds = [7, 7 + 2 * samples.GAMMA % 2**64]
    twin, good = stream(seeds, NEAR, key=lambda z: z), stream(seeds, NEAR)
    assert np.array_equal(twin[1, :-2], twin[0, 2:])
    assert not np.isin(good[1], good[0]).any()


def main() -> None:
    """Prints every row of the battery, and of the twins what rejects them."""
    from rich.console import Console
    from rich.table import Table

    table = Table("sample", "test", "figures", "statistic", "p", title=f"rejected below {LEVEL:.1e}")
    rows = battery()
    twins = [measure(twin.__name__, twin(), test) for twin, tests in TWINS.items() for test in tests]
    for row in (*rows, *twins):
        table.add_row(row.sample, row.test, str(row.figures), f"{row.statistic:.4g}", f"{row.p:.2g}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
