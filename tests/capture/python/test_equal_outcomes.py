"""Which outcomes are one."""

from __future__ import annotations

import numpy as np
import pytest

from rr_export.capture.python.equal_outcomes import key_of, merged


def test_outcomes_that_nobody_can_tell_apart_are_one() -> None:
    one, other = [1], [1]
    values = [1, 2, 1.0, 1, True, one, other, one, float("1.5"), 1.5, np.float64(1.5)]
    shares, kept = merged([1 / len(values)] * len(values), values)
    assert [values.index(v) if isinstance(v, int) else v for v in kept[:2]] == [0, 1]
    assert [type(v) for v in kept] == [int, int, float, bool, list, list, float, np.float64]
    assert kept[4] is one and kept[5] is other
    np.testing.assert_allclose(np.array(shares) * len(values), [2, 1, 1, 1, 2, 1, 2, 1])


@pytest.mark.parametrize(("a", "b"), [(0.0, -0.0), (1, True), ((1, 2), (1, 2.0)), (np.float32(1), np.float64(1))])
def test_outcomes_that_code_can_tell_apart_stay(a: object, b: object) -> None:
    assert key_of(a) != key_of(b)
    assert key_of((a, "x")) == key_of((a, "x"))
