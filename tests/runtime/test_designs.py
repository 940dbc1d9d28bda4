"""Designs of draws: the vectors, the exact law of each run by enumeration, how even blocks are, and what is refused."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rr_runtime import designs
from rr_runtime.designs import Design, PathCode, check_design, check_whole_blocks, designed_routes
from rr_runtime.draws import SEEDS, words
from rr_runtime.manifest import Manifest
from rr_runtime.site_law import Site

from . import handmade
from .test_vectors import DIGITS, X, echo, read, sites_of

Row = dict[str, Any]
PLANS = {plan["name"]: plan for plan in read("designs")["plans"]}
HANDMADE = Manifest.parse(handmade.manifest()).sites
# P of the latent routes of the handmade sites: the first one alone, the other two a chain.
LAW = {
    (a, b, c): (0.25, 0.25, 0.5)[a] * 0.5 * ((0.75, 0.25), (0.125, 0.875))[b][c]
    for a, b, c in itertools.product(range(3), range(2), range(2))
}


# Known answers


@pytest.mark.parametrize("row", read("designs")["cases"], ids=lambda row: f"{row['design']} {row['block']}")
def test_draws_are_those_of_the_vectors(row: Row) -> None:
    sites, design = read("designs")["sites"], Design(row["design"], row["block"])
    seeds = [design.seed(int(row["seed"]), row["number"] * design.block + run) for run in range(design.block)]
    if row["design"] == "stratified":
        assert designs.stratified_numbers(seeds, sites) == [int(v, 16) for v in row["numbers"]]
    else:
        draw = {"latin": designs.latin_numbers, "antithetic": designs.antithetic_numbers}[row["design"]]
        assert draw(seeds, sites).tolist() == row["draws"]


@pytest.mark.parametrize("name", PLANS)
def test_routes_are_those_of_the_vectors(name: str, tmp_path: Path) -> None:
    """A graph that gives back the asked path shows what it is fed, in every run of an ensemble."""
    session = echo(tmp_path / "echo.onnx", "host", sites_of(PLANS[name]))
    cases = [row for row in read("designs")["runs"] if row["plan"] == name]
    assert {row["design"] for row in cases} == {"antithetic", "latin", "stratified"}
    for row in cases:
        block, seed = row["block"], int(row["seed"])
        asked = {"draws": row["design"], "block": None if row["design"] == "antithetic" else block}
        found = session.ensemble({"x": X}, runs=block * (row["number"] + 1), seed=seed, **asked)
        assert found.paths is not None and found.seeds is not None
        assert found.paths[-block:].tolist() == [[DIGITS.index(c) for c in text] for text in row["routes"]]
        assert found.seeds[-block:].tolist() == [int(one) for one in row["seeds"]]


# Each run alone has the law: every word that a generator of few bits can give, and every order of words


def permuted(orders: Sequence[Sequence[int]], jitters: Sequence[Sequence[int]]) -> Callable[..., NDArray[np.uint64]]:
    """Words of a made-up generator: the top bits of seed r are its jitters, words from S + 2 on have these orders."""

    def give(seed: int, count: int, *, start: int = 0) -> NDArray[np.uint64]:
        if start:
            return np.array([word for order in orders for word in order], np.uint64)
        return np.array(jitters[seed], np.uint64) << designs.TOP

    return give


def small_grid(patch: pytest.MonkeyPatch, bits: int) -> None:
    """Draws have a few bits, so that all of them can be tried."""
    patch.setattr(designs, "BITS", bits)
    patch.setattr(designs, "GRID", 2**bits)
    patch.setattr(designs, "TOP", np.uint64(64 - bits))


def all_draws(
    make: Callable[[Sequence[int], int], Any], patch: pytest.MonkeyPatch, *, runs: int, sites: int, rows: int, run: int
) -> Iterator[Any]:
    """Yields what a run of a block is given, for every order of words and every jitter of its own."""
    orders = list(itertools.permutations(range(runs)))
    jitters = list(itertools.product(range(designs.GRID), repeat=sites))
    for order, own in itertools.product(itertools.product(orders, repeat=rows), jitters):
        others = [own if r == run else (0,) * sites for r in range(runs)]
        patch.setattr(designs, "words", permuted(order, others))
        yield make(range(runs), sites)[run]


def latin(seeds: Sequence[int], sites: int) -> list[tuple[int, ...]]:
    return [tuple(row) for row in designs.latin_numbers(seeds, sites).tolist()]


def antithetic(seeds: Sequence[int], sites: int) -> list[tuple[int, ...]]:
    return [tuple(row) for row in designs.antithetic_numbers([seeds[0]], sites).tolist()]


def is_uniform(counts: Counter[Any], many: int) -> bool:
    """Whether each of ``many`` things occurs, and all equally often."""
    return len(counts) == many and len(set(counts.values())) == 1


@pytest.mark.parametrize("run", [0, 1])
@pytest.mark.parametrize(("runs", "sites", "bits"), [(3, 1, 2), (3, 2, 2), (2, 2, 3), (4, 1, 3)])
def test_draws_of_a_latin_run_are_exactly_uniform(runs: int, sites: int, bits: int, run: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small_grid(patch, bits)
        counts = Counter(all_draws(latin, patch, runs=runs, sites=sites, rows=sites, run=run))
    assert is_uniform(counts, 2 ** (bits * sites))


@pytest.mark.parametrize("run", [0, 1])
@pytest.mark.parametrize(("runs", "sites", "bits"), [(3, 2, 2), (5, 1, 2), (2, 2, 3), (3, 3, 1)])
def test_numbers_of_a_stratified_run_are_exactly_uniform(runs: int, sites: int, bits: int, run: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small_grid(patch, bits)
        make = designs.stratified_numbers
        counts = Counter(all_draws(make, patch, runs=runs, sites=sites, rows=1, run=run))
    assert is_uniform(counts, 2 ** (bits * sites))


@pytest.mark.parametrize("run", [0, 1])
def test_draws_of_an_antithetic_run_are_exactly_uniform(run: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small_grid(patch, 3)
        jitters = itertools.product(range(8), repeat=2)
        counts: Counter[Any] = Counter()
        for own in jitters:
            patch.setattr(designs, "words", permuted((), [own]))
            counts[antithetic([0], 2)[run]] += 1
    assert is_uniform(counts, 64)


def test_sabotage_strata_that_are_not_shuffled_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of a block stays right, but run 0 has the lowest stratum only."""
    small_grid(monkeypatch, 2)
    monkeypatch.setattr(designs, "_ranks", lambda seeds, sites, rows: np.array([range(len(seeds))] * rows))
    for make, rows in ((latin, 1), (designs.stratified_numbers, 1)):
        counts = Counter(all_draws(make, monkeypatch, runs=3, sites=1, rows=rows, run=0))
        assert not is_uniform(counts, 4)


def test_sabotage_a_quotient_before_the_jitter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(seeds: Sequence[int], sites: int) -> Any:
        ranks = designs._ranks(seeds, sites, sites).T
        return [tuple(row) for row in (ranks * designs.GRID // len(seeds) + designs._numbers(seeds[0], sites)).tolist()]

    small_grid(monkeypatch, 2)
    assert not is_uniform(Counter(all_draws(wrong, monkeypatch, runs=3, sites=1, rows=1, run=0)), 4)


def small_sites() -> list[Site]:
    """The handmade sites with cuts at multiples of 1/16."""
    content = handmade.manifest()
    tables = [[[0.25, 0.3125, 0.4375]], [[0.625, 0.375]], [[0.75, 0.25], [0.1875, 0.8125]]]
    for site, table in zip(content["sites"], tables, strict=True):
        thresholds = [list(itertools.accumulate(row))[:-1] for row in table]
        site["policy"] |= {"probabilities": table, "thresholds": thresholds}
    return list(Manifest.parse(content).sites)


def exact_law(sites: Sequence[Site]) -> dict[tuple[int, ...], float]:
    """P of the latent routes of three sites of which the last two are a chain."""
    first, second, third = (site.policy.probabilities for site in sites)
    found = {}
    for a, b, c in itertools.product(range(3), range(2), range(2)):
        found[a, b, c] = first[0][a] * second[0][b] * third[b][c]
    return found


def test_a_number_for_every_combination_of_routes_in_proportion_to_its_probability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sites = small_sites()
    small_grid(monkeypatch, 4)
    code = PathCode(sites)
    found = [tuple(code.routes(number)) for number in range(16**3)]
    counts = Counter(found)
    assert {path: n / 16**3 for path, n in counts.items()} == exact_law(sites)
    assert [path for path, _ in itertools.groupby(found)] == sorted(counts)  # each part is one piece, in order


@pytest.mark.parametrize("steps", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_chain_is_cut_in_the_order_of_its_steps(monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...]) -> None:
    later: list[list[float]] = [[0.25, 0.75], [0.5, 0.5]]
    content = handmade.manifest()
    for site, step in zip(content["sites"], steps, strict=True):
        table = [[0.125, 0.875]] if step == 0 else later
        policy = {"probabilities": table, "thresholds": [row[:1] for row in table], "step": step}
        site |= {"branches": ["a", "b"], "calls": [[]], "policy": {"type": "markov", "chain": 0, **policy}}
    sites = Manifest.parse(content).sites
    small_grid(monkeypatch, 3)
    counts = Counter(tuple(PathCode(sites).routes(number)) for number in range(8**3))
    for path, n in counts.items():
        a, b, c = (path[steps.index(step)] for step in range(3))
        assert n / 8**3 == (0.125, 0.875)[a] * later[a][b] * later[b][c]
    assert sum(counts.values()) == 8**3


# With the real generator


@pytest.mark.parametrize("design", [Design("antithetic", 2), Design("latin", 16), Design("stratified", 16)])
@pytest.mark.parametrize("run", [0, 1])
def test_each_run_of_a_block_has_the_law(design: Design, run: int) -> None:
    """Hoeffding: one of 12 shares of 2500 runs is off by .05 with a probability below 1e-4; the seed is fixed."""
    blocks = 2500
    found = itertools.islice(designed_routes(design, HANDMADE, 10**6), run, blocks * design.block, design.block)
    counts = Counter(map(tuple, found))
    assert sum(counts.values()) == blocks
    assert all(abs(counts[path] / blocks - p) < 0.05 for path, p in LAW.items())


@pytest.mark.parametrize("first", [0, 7, SEEDS - 5])
@pytest.mark.parametrize("block", [2, 16, 37])
def test_a_stratified_block_has_every_combination_as_often_as_it_is_probable(first: int, block: int) -> None:
    found = list(itertools.islice(designed_routes(Design("stratified", block), HANDMADE, first), block))
    for length in (1, 2, 3):
        counts = Counter(tuple(routes[:length]) for routes in found)
        for begin in {path[:length] for path in LAW}:
            p = math.fsum(q for path, q in LAW.items() if path[:length] == begin)
            assert abs(counts[begin] - block * p) < 2


@pytest.mark.parametrize("block", [2, 16, 37])
def test_a_latin_block_has_every_draw_of_every_site_once(block: int) -> None:
    drawn = designs.latin_numbers(range(100, 100 + block), 5)
    for site in range(5):
        assert sorted((drawn[:, site] * block // 2**24).tolist()) == list(range(block))
    assert len({tuple(drawn[:, site].argsort().tolist()) for site in range(5)}) == (5 if block > 2 else 2)


def test_blocks_are_another_sample_each() -> None:
    for name in ("latin", "stratified"):
        found = list(itertools.islice(designed_routes(Design(name, 8), HANDMADE, 3), 32))
        assert len({str(found[i : i + 8]) for i in range(0, 32, 8)}) == 4


def test_words_go_on_where_others_end() -> None:
    assert words(7, 6).tolist()[2:] == words(7, 4, start=2).tolist()
    assert len(set(words(7, 10**4).tolist())) == 10**4


# What is asked


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        (
            ("sobol", None),
            ValueError,
            r"^draws: expected one of independent, antithetic, stratified, latin, got 'sobol'",
        ),
        ((3, None), TypeError, r"^draws: expected the name of a design, got int 3; pass"),
        (("independent", 4), ValueError, r"^block: expected none for independent draws, got 4; leave"),
        (("antithetic", 2), ValueError, r"^block: expected none for antithetic draws, got 2; leave"),
        (("latin", 1), ValueError, r"^block: expected at least 2 runs of a block, got 1; pass more"),
        (("latin", 0), ValueError, r"^block: expected an integer >= 1, got 0"),
        (("stratified", 2.0), TypeError, r"^block: expected an integer >= 1, got float 2.0"),
    ],
)
def test_other_designs_are_refused(asked: tuple[Any, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        check_design(*asked)


def test_runs_are_of_whole_blocks() -> None:
    check_whole_blocks(check_design("latin", None), 32)
    check_whole_blocks(check_design("independent", None), 7)
    with pytest.raises(ValueError, match=r"^runs: expected a multiple of 16, a block of latin draws, got 20; pass 32$"):
        check_whole_blocks(check_design("latin", None), 20)
    with pytest.raises(
        ValueError, match=r"^runs: expected a multiple of 2, a block of antithetic draws, got 3; pass 4"
    ):
        check_whole_blocks(check_design("antithetic", None), 3)
