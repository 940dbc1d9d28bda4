"""What a profile is in a few words, and what is measured of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rr_runtime.manifest import Manifest
from rr_runtime.profile import Measured, Profile, law_in_short
from rr_runtime.site_law import Site

from . import handmade


def sites(*rows: tuple[str, list[list[float]], int | None]) -> tuple[Site, ...]:
    """Sites of two branches: name, rows of probabilities, and the step of the one chain that there is, or None."""
    made = [
        {
            **{"name": name, "kind": "layer", "branches": ["skip", "run"], "calls": [[]]},
            "policy": {
                **{"type": "categorical", "probabilities": table, "thresholds": [[row[0]] for row in table]},
                **({} if step is None else {"type": "markov", "chain": 0, "step": step}),
            },
        }
        for name, table, step in rows
    ]
    return Manifest.parse({**handmade.manifest(), "sites": made}).sites


HALF, TENTH, CHAINED = [[0.5, 0.5]], [[0.1, 0.9]], [[0.5, 0.5], [0.1, 0.9]]
OWN = sites(("a", HALF, None), ("b", TENTH, None), ("c", HALF, None))


@pytest.mark.parametrize(
    ("law", "text"),
    [
        (OWN, "the file's own law"),
        (sites(("a", TENTH, None), ("b", TENTH, None), ("c", HALF, None)), "[0.1 0.9] at a"),
        (sites(*((name, [[0.25, 0.75]], None) for name in "abc")), "[0.25 0.75] at all sites"),
        (sites(("a", TENTH, None), ("b", HALF, None), ("c", TENTH, None)), "[0.1 0.9] at a, c, [0.5 0.5] at b"),
        (sites(("a", HALF, 0), ("b", TENTH, None), ("c", CHAINED, 1)), "[0.5 0.5; 0.1 0.9] after a at c"),
        (sites(("a", CHAINED, 1), ("b", TENTH, None), ("c", HALF, 0)), "[0.5 0.5; 0.1 0.9] after c at a"),
    ],
)
def test_a_law_in_short(law: tuple[Site, ...], text: str) -> None:
    assert law_in_short(Profile("p", law, None, None), OWN) == text


def test_a_chain_of_the_same_rows_in_another_order_is_another_law() -> None:
    own = sites(("a", HALF, 0), ("b", CHAINED, 1), ("c", CHAINED, 2))
    other = sites(("a", HALF, 0), ("b", CHAINED, 2), ("c", CHAINED, 1))
    assert law_in_short(Profile("p", own, None, None), own) == "the file's own law"
    text = "[0.5 0.5; 0.1 0.9] after c at b, [0.5 0.5; 0.1 0.9] after a at c"
    assert law_in_short(Profile("p", other, None, None), own) == text


def test_a_path_in_short() -> None:
    assert law_in_short(Profile("p", (), (1, -1, 0), None), OWN) == "path 1,-1,0"


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"cost": -0.1}, ValueError, "measured: expected a cost from 0 to 1e[+]09, got -0.1; mend it"),
        ({"cost": float("inf")}, ValueError, "measured: expected a cost"),
        ({"quality": float("nan")}, ValueError, "measured: expected a quality .*, got nan"),
        ({"spread": -1}, ValueError, "measured: expected a spread"),
        ({"cost": "0.5"}, TypeError, r"measured: expected a number as cost, got str; pass float\(...\)"),
        ({"cost": True}, TypeError, "measured: expected a number as cost, got bool"),
        ({"quality": np.float32(1)}, TypeError, "measured: expected a number as quality, got float32"),
        ({"metric": None}, TypeError, "measured: expected the metric in words, got NoneType"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(given: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Measured(**{"cost": 0.5, "quality": 0.8, "spread": 0.0, "metric": "f1"} | given)
