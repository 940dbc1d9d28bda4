"""Numbers in words of tables."""

from __future__ import annotations

import pytest

from rr_export.report.short_numbers import short_number
from tests.test_law_sampling import WHOLE_NUMBERS, numbers


@pytest.mark.parametrize(
    ("number", "told", "signed"),
    [
        (0, "0", "+0"),
        (7, "7", "+7"),
        (1234567, "1,234,567", "+1,234,567"),
        (-1234567, "-1,234,567", "-1,234,567"),
        (2**60, "10^18", "+10^18"),
        (-(2**2000), "-10^602", "-10^602"),
        (0.0, "0", "+0"),
        (0.123456, "0.1235", "+0.1235"),
        (9999.4, "9999", "+9999"),
        (12345.6, "12,346", "+12,346"),
        (-0.5, "-0.5", "-0.5"),
        (3e20, "3e+20", "+3e+20"),
    ],
)
def test_numbers_are_as_long_as_they_are_worth(number: float, told: str, signed: str) -> None:
    assert (short_number(number), short_number(number, signed=True)) == (told, signed)


def test_the_law_is_sampled_less_often_where_it_is_not_the_subject() -> None:
    assert [10 * number for number in numbers()] == WHOLE_NUMBERS
