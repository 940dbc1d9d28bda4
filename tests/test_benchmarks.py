"""The benchmarks give figures of the right form; sizes are held, times are not."""

from __future__ import annotations

import functools
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.table import Table

from benchmarks import budgets, cost, cuda, fusions, latency, overhead, search, sites, size, start, sweeps
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.models import Size
from benchmarks.table import Row, Section
from rr_export.cli import COMMANDS
from rr_runtime.tools.timing import Spread, interleave, paired_ratio, spread_of

TINY = Size(width=32, hidden=64, heads=2, layers=3, tokens=4)


def text_of(table: Table) -> str:
    console = Console(width=200, record=True)
    console.print(table)
    return console.export_text()


def check_form(section: Section, count: int) -> None:
    assert len(section.rows) == count
    assert len({row.what for row in section.rows}) == count
    for row in section.rows:
        assert row.value.low <= row.value.median <= row.value.high
        assert all(math.isfinite(v) for v in (row.value.low, row.value.median, row.value.high))
    json.dumps(section.to_json())
    text = text_of(section.table())
    assert section.caption.split(";")[0] in text and "torch" in text


@pytest.mark.slow
def test_latency_compares_every_path_with_its_peers() -> None:
    told: list[tuple[str, int, int]] = []
    section = latency.measure(runs=2, targets={TINY: 1.05}, progress=lambda *step: told.append(step))
    check_form(section, 3 * 4)
    assert sum(row.target is not None for row in section.rows) == 3
    assert all(row.value.low > 0 for row in section.rows)
    assert told[-1] == ("width 32, 1 of 3 layers", 2, 2)


@pytest.mark.slow
def test_sites_are_measured_in_microseconds() -> None:
    section = sites.measure(runs=2, counts=(2, 4))
    check_form(section, 2 + 3)
    assert all(row.unit == "us" and row.target is not None for row in section.rows)


def test_overhead_is_told_over_the_bare_call_of_every_interface() -> None:
    section = overhead.measure(runs=2)
    check_form(section, 2 * (3 * 5 + 3))
    kinds = {row.what.split(",")[0] for row in section.rows}
    assert kinds == {"explicit", "host", "gates", "plain"}
    assert all(row.value.low > 0 for row in section.rows if row.what.endswith("the bare call"))
    assert {row.what.split(",")[0] for row in section.rows if row.target is not None} == {"explicit", "plain"}


def test_fusions_are_told_as_ratios() -> None:
    section = fusions.measure(runs=2, sizes=[(2, 4), (3, 8)])
    check_form(section, 2)
    assert all(row.value.low > 0 and row.target == 1 for row in section.rows)


@pytest.mark.slow
@pytest.mark.parametrize("side", cost.SIDES)
def test_cost_of_one_export(side: str) -> None:
    for name in cost.TINY:
        found = cost.export_once(side, name)
        assert found.cpu_seconds > 0 and found.peak_bytes > 1e7 and found.file_bytes > 1000


@pytest.mark.slow
def test_cost_is_measured_in_processes() -> None:
    check_form(cost.measure(runs=1, networks=cost.TINY), 2 * 2)


@pytest.mark.slow
def test_files_of_a_few_megabytes_are_their_weights() -> None:
    models = {name: make for name, make in size.MODELS.items() if "sites" in name or "skipped" in name}
    section = size.measure(models=models)
    check_form(section, 2 * 2)
    for row in section.rows:
        assert row.target == 1.02
        assert 0.99 < row.value.median <= 1.02, row.what


@pytest.mark.slow
def test_a_sweep_is_timed_in_one_process_and_in_two() -> None:
    section = sweeps.measure(runs=1, size=TINY, few=1, many=3)
    check_form(section, 4)
    assert [row.unit for row in section.rows] == ["", "ms", "ms", "ms"]


def test_a_pair_costs_what_more_pairs_cost_more() -> None:
    times = [np.array([seconds]) for seconds in (0.5, 2.5, 0.7, 1.9)]  # 40 pairs more: 50 and 30 ms each
    rows = sweeps.rows_of(times, few=4, many=44)
    assert [row.value.median for row in rows] == pytest.approx([0.6, 50, 30, 700 - 4 * 30])


@pytest.mark.slow
def test_budgets_are_told_as_shares() -> None:
    section = budgets.measure(runs=20, layers=3, width=256)
    check_form(section, 4)
    assert [row.target for row in section.rows[:3]] == pytest.approx([0.55, 0.66, 0.88])
    assert all(row.value.low > 0 for row in section.rows[:3])


def test_starts_are_measured_of_what_ends_as_told() -> None:
    section = start.measure(runs=1, names=["--help", "lint --rules"])
    check_form(section, 2)
    assert all(0.01 < row.value.median < 10 for row in section.rows)


def test_a_command_that_ends_otherwise_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(start.STARTS, "--help", (["--hlep"], None, 0))
    with pytest.raises(RuntimeError, match="expected exit code 0, got 2"):
        start.measure(runs=1, names=["--help"])


def test_every_command_has_its_start_measured() -> None:
    assert {name.split()[0] for name in start.STARTS} >= set(COMMANDS) - {"demo"}


def test_command_writes_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*, runs: int, progress: object) -> Section:
        return Section("title", [Row("missed", Spread(1.0, 2.0, 3.0), 1.5)], f"{runs} rounds")

    monkeypatch.setitem(BENCHMARKS, "size", (measure, 7))
    result = CliRunner().invoke(main, ["size", "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 0 and "missed" in result.output
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["size"]["caption"] == "7 rounds"
    assert written["size"]["rows"][0]["met"] is False


def test_rounds_call_every_case_and_ratios_are_paired() -> None:
    ticks = itertools.count()
    calls: list[str] = []
    cases = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = interleave(cases, runs=5, clock=lambda: float(next(ticks)))
    assert {name: len(t) for name, t in times.items()} == {"a": 5, "b": 5}
    assert calls.count("a") == calls.count("b")
    assert paired_ratio(times, "a", "b") == Spread(1.0, 1.0, 1.0)
    assert spread_of(np.array([4.0, 1.0, 2.0, 3.0, 5.0])) == Spread(2.0, 3.0, 4.0)


def test_a_device_is_measured_without_torch(tmp_path: Path) -> None:
    """On the CPU: the same program that runs where CUDA is."""
    folder = cuda.make_bundle(tmp_path / "bundle", TINY, batch=2, kept=(3, 1))
    source = Path(__file__).parents[1]
    script = str(source / "benchmarks" / "on_device.py")
    code = (
        f"import runpy, sys; sys.modules['torch'] = None; sys.argv = {[script, str(folder), 'cpu', '3']!r}; "
        f"runpy.run_path({script!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    section = cuda.section_of(found, "cpu")
    assert [row.target for row in section.rows] == [1.03, None, 1.03, None, 0.0]
    assert {row.what.split(" layers")[0] for row in section.rows[:-1]} == {"3 of 3", "1 of 3"}
    assert section.rows[-1].value.median == 0
    assert all(row.value.low > 0 for row in section.rows[:-1])


def test_what_is_carried_makes_its_weights_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "make_bundle", functools.partial(cuda.make_bundle, size=TINY, batch=2, kept=(3, 1)))
    folder = cuda.carry(tmp_path / "carried")
    assert not (folder / "bundle" / "model.onnx.data").exists()
    command = [sys.executable, str(folder / "on_device.py"), str(folder / "bundle"), "cpu", "2"]
    done = subprocess.run(command, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout.splitlines()[-1])["ratios"]) == 2
    assert (folder / "bundle" / "model.onnx.data").stat().st_size > 0


def test_without_a_device_nothing_is_claimed(tmp_path: Path) -> None:
    done = CliRunner().invoke(cuda.main, ["--python", str(tmp_path / "absent")])
    assert done.exit_code == 0 and "not measured" in done.output and "setup-cuda" in done.output


def test_searches_are_measured_on_fronts_that_are_known() -> None:
    section = search.measure(runs=1, sizes=((5, 2), (3, 3)), evaluations=12)
    check_form(section, 2 * len(search.METHODS))
    assert all(0 <= row.value.median <= 1 for row in section.rows)


@pytest.mark.parametrize("nested", [False, True])
def test_the_true_front_is_that_of_every_path(nested: bool) -> None:
    problem = search.make_problem(4, 3, nested=nested, strength=1.0, rng=np.random.default_rng(3))
    points = {path: (problem.costs.of(path), quality) for path, quality in problem.quality.items()}
    best = {
        path
        for path, (cost, quality) in points.items()
        if not any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in points.values())
    }
    assert {path.path for path in problem.front} == best and len(best) > 2
    assert len(points) == problem.plan.path_count()
