"""The picture of a front."""

from pathlib import Path

from rr_export.quality.front import Front, PricedPath
from rr_export.quality.front_plot import plot_front


def test_a_front_is_drawn_the_same_every_time(tmp_path: Path) -> None:
    paths = tuple(PricedPath((i,), float(i % 3), None, 1.0 + i, (1.0 + i) / 5) for i in range(5))
    front = Front("f1", "ms", "exact", paths, 5)
    for name in ("a.svg", "b.svg", "a.png"):
        plot_front(front, tmp_path / name, title="out")
    first, second = ((tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second and b"rr-export search" in first
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
