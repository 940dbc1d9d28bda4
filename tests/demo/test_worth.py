"""When routing pays, on figures that were made up: shares, front, menu, picture and sentence."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from rr_export.demo.measure import Figures, PathFigures, Quality
from rr_export.demo.picture import plot_worth
from rr_export.demo.search import Corpus, mrr, name_queries
from rr_export.demo.worth import (
    RIVALS,
    PathWorth,
    Rivals,
    front_of,
    menu_shares,
    read_rivals,
    shares_of_time,
    verdict,
    worth_table,
)

PATHS = tuple(itertools.product((0, 1), repeat=6))
FULL = (1,) * 6


def made_figures() -> Figures:
    """Every layer takes a tenth, the rest four; names are found the better, the more of the first layers run."""
    paths = tuple(
        PathFigures(
            p, Quality(1, 1, 1, sum(p) / 10), np.dot(p, [6, 5, 4, 3, 2, 1]) / 50, 0.2 - sum(p) / 50, 0.4 + sum(p) / 10
        )
        for p in PATHS
    )
    return Figures(paths[-1].quality, 0.004, paths, (), {}, np.zeros((1, 1), np.float32))


def test_time_is_that_of_as_many_layers() -> None:
    assert shares_of_time(made_figures()) == pytest.approx({k: 0.4 + k / 10 for k in range(7)})


def test_front_and_menu_hold_the_best_path_of_every_time() -> None:
    front = front_of(made_figures())
    assert [p.path for p in front.paths] == [(1,) * k + (0,) * (6 - k) for k in range(7)]
    assert front.paths[3].cost == pytest.approx(0.7 * 4)  # ms
    assert menu_shares(front) == (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    table = worth_table(front, made_figures())
    assert list(table.columns[3].cells) == [f"{0.2 - k / 50:.3f}" for k in range(7)]
    assert list(table.columns[4].cells) == [f"{k / 10:.3f}" for k in range(7)]


def test_sentence_says_what_one_path_keeps() -> None:
    path, other = (1, 0, 0, 1, 0, 1), (1, 1, 0, 1, 0, 1)  # in the file: 10/50 and 15/50
    rivals = Rivals(
        {FULL: PathWorth(0.4, 0), path: PathWorth(0.1, 0.3)},
        {path: PathWorth(0.25, 0.2), other: PathWorth(0.29, 0)},
        "3.11",
        2,
    )
    text = verdict(front_of(made_figures()), made_figures(), rivals)
    assert "3 of 6 layers, in 70% of the time, this one file keeps 50% of" in text
    assert "untrained 25%, a model trained for them alone 62%" in text
    assert "is as sure as it is right within 0.140 (0.300, 0.200)" in text
    assert "stands in for 2 such models, from which it is -0.050 to +0.010 apart" in text


def test_picture_is_a_png_of_its_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "demo.png"
    plot_worth(front_of(made_figures()), made_figures(), read_rivals(), file, name="this file")
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", content[16:24]) == (1575, 780)
    assert b"rr-export demo" in content


def test_rivals_say_how_they_were_made() -> None:
    told, rivals = json.loads(RIVALS.read_text(encoding="utf-8")), read_rivals()
    assert "--static 1,0,0,1,0,1" in told["static_is"]
    assert rivals.static.keys() == rivals.untrained.keys() - {FULL}
    for worth in (*rivals.static.values(), *rivals.untrained.values()):
        assert 0.3 < worth.quality < 0.5 and 0 < (worth.calibration or 0.1) < 0.2
    assert all(worth.calibration for worth in rivals.untrained.values())
    assert repr(rivals) == "Rivals(5 untrained, 4 static)"


def test_names_become_queries_of_their_own_documents() -> None:
    corpus = Corpus(("m.gcd", "m.copy_file", "os.path.basename"), ("a", "b", "c"), ("q",), np.array([0]))
    named = name_queries(corpus)
    assert named.queries == ("copy file", "basename")  # gcd says too little
    assert named.answers.tolist() == [1, 2]
    assert named.documents == corpus.documents


def test_mrr_is_the_mean_of_reciprocal_ranks() -> None:
    queries = np.array([[0.9, 0.4, 0.1], [0.9, 0.4, 0.1]], dtype=np.float32)
    assert mrr(queries, np.eye(3, dtype=np.float32), np.array([0, 2])) == pytest.approx((1 + 1 / 3) / 2)
