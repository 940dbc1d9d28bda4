"""The front in the picture of quality against cost."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.axes import Axes

from rr_export.overview.path_quality import PathPoint, QualityPoints
from rr_export.overview.pictures import draw_quality


def test_bug_the_front_goes_from_cheap_to_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths come in the order in which they were evaluated."""
    drawn: list[list[float]] = []
    step = Axes.step

    def noted(axes: Axes, x: Any, y: Any, **how: Any) -> Any:
        drawn.append(list(x))
        return step(axes, x, y, **how)

    monkeypatch.setattr(Axes, "step", noted)
    paths = tuple(PathPoint(share, share, front=True) for share in (0.06, 0.42, 0.53, 0.3, 0.65))
    draw_quality(QualityPoints("worth", "ms", 32, (*paths, PathPoint(0.5, 0.1, front=False)), ()), "key")
    (shares,) = drawn
    assert len(shares) == 6 and shares == sorted(shares)
