"""How often the tests have the law of a model sampled: less often where they prove something else, else in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import NOT_OF_THE_LAW, SAMPLES

ROOT = Path(__file__).parents[1]
WHOLE_NUMBERS = [10_000, 10_000, 5_000, 1_000]


def numbers() -> list[int]:
    return [getattr(module, name) for module, name in SAMPLES]


def test_a_test_of_the_law_has_the_whole_number() -> None:
    assert numbers() == WHOLE_NUMBERS


@pytest.mark.parametrize("start", NOT_OF_THE_LAW)
def test_what_samples_less_often_is_there(start: str) -> None:
    assert list(ROOT.glob(f"{start}*"))
