"""Every runner on every case, and sabotage that the suite must reject."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from rr_runtime import Result
from tests.conformance import __main__ as command
from tests.conformance import runner as runner_module
from tests.conformance import worker
from tests.conformance.arrays import all_from_json
from tests.conformance.judging import Judge, Tolerance
from tests.conformance.mobile import MOBILE, check_column, mobile_cells
from tests.conformance.page import COLUMNS, write_page
from tests.conformance.places import Here
from tests.conformance.record import Record
from tests.conformance.runner import (
    CASES,
    CHECKED,
    EXCEPTION,
    FAILS,
    HOLDS,
    NO_NODE,
    NOT_RUN,
    REFUSED,
    Cell,
    Column,
    Excepted,
    Runner,
    cells_of,
    read_lines,
    run_column,
    settle,
)
from tests.conformance.runners import RUNNERS

CPU = RUNNERS["cpu"]
ELSEWHERE = [name for name, runner in RUNNERS.items() if name != "cpu"]


@pytest.fixture(scope="session")
def recorded() -> Record:
    return Record.from_json(json.loads(command.DATA.read_text()))


def failures(column: Column) -> list[str]:
    return [f"{name}: {cell.reason}" for name, cell in column.cells.items() if cell.outcome == FAILS]


def test_cpu_holds_everywhere() -> None:
    column = run_column(CPU, cells_of(CPU))
    assert failures(column) == []
    assert {cell.outcome for cell in column.cells.values()} == {HOLDS}
    assert len(column.cells) > 100


@pytest.mark.providers
@pytest.mark.parametrize("name", ELSEWHERE)
def test_provider_is_as_expected(name: str) -> None:
    runner = RUNNERS[name]
    if runner.missing():
        pytest.skip(runner.missing())
    column = run_column(runner, cells_of(runner))
    assert failures(column) == []
    assert any(cell.outcome == HOLDS for cell in column.cells.values())
    refused = [cell for cell in column.cells.values() if cell.outcome == REFUSED]
    for reason in {cell.reason for cell in refused}:  # a refusal is worth its words: somewhere the provider is wrong
        assert any(cell.anyway for cell in refused if cell.reason == reason), reason


def test_mobile_files_are_checked() -> None:
    for checked in MOBILE.values():
        cells = [c for c in mobile_cells(checked) if c.split(":")[0] in ("layer", "images", "int8", "static")]
        column = check_column(checked, cells)
        assert failures(column) == []
        assert {cell.outcome for cell in column.cells.values()} == {CHECKED}
        own, default = column.cells[f"images:{checked.name}"], column.cells["images:default"]
        assert own.nodes_on / own.nodes > 0.7 > default.nodes_on / default.nodes


def test_page_is_the_record(recorded: Record) -> None:
    assert write_page(recorded) == command.PAGE.read_text()


def test_record_is_of_these_cases_and_nothing_in_it_fails(recorded: Record) -> None:
    assert tuple(recorded.columns) == COLUMNS
    assert recorded.summaries == command.summaries()
    for name, column in recorded.columns.items():
        assert set(column.cells) == set(mobile_cells(MOBILE[name]) if name in MOBILE else cells_of(RUNNERS[name])), name
        assert failures(column) == []


def test_every_exception_is_one_of_a_recorded_cell(recorded: Record) -> None:
    for name, runner in RUNNERS.items():
        cells = recorded.columns[name].cells
        if any(cell.outcome == NOT_RUN for cell in cells.values()):
            continue
        for exception in runner.exceptions:
            named = [cell for cell in cells if exception.names(cell)]
            assert named and any(cells[cell].outcome == EXCEPTION for cell in named), (name, exception)


def test_record_comes_back_as_it_was_written(recorded: Record) -> None:
    assert Record.from_json(recorded.to_json()) == recorded


# Sabotage: of a copy of a case, whose hashes are mended so that the runtime opens it.
def mend(folder: Path) -> None:
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    for name, row in manifest["files"].items():
        content = (folder / name).read_bytes()
        row |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    file.write_text(json.dumps(manifest))


def change_runs(folder: Path, change: Callable[[Any], None]) -> None:
    data = json.loads((folder / "runs.json").read_text())
    change(data)
    (folder / "runs.json").write_text(json.dumps(data))


def swap_branches(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    node = next(node for node in model.graph.node if node.op_type == "If")
    one, other = node.attribute
    one.name, other.name = other.name, one.name
    onnx.save(model, folder / "model.onnx")


def perturb_weight(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.01, tensor.name))
    onnx.save(model, folder / "model.onnx")


def move_threshold(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    tensor = next(t for t in model.graph.initializer if t.name == "rr/thresholds")
    moved = onnx.numpy_helper.to_array(tensor) * 3 // 4
    tensor.CopyFrom(onnx.numpy_helper.from_array(moved, tensor.name))
    onnx.save(model, folder / "model.onnx")


def expect_other_path(folder: Path) -> None:
    def change(data: Any) -> None:
        data["runs"][0]["expected"][0]["path"][0] ^= 1

    change_runs(folder, change)


def expect_other_stream(folder: Path) -> None:
    def change(data: Any) -> None:
        next(run for run in data["runs"] if run["kind"] == "stream")["expected"][-1][0] ^= 1

    change_runs(folder, change)


def expect_other_mean(folder: Path) -> None:
    def change(data: Any) -> None:
        next(run for run in data["runs"] if run["kind"] == "ensemble")["expected"][0]["mean"]["output"]["data"][0] += (
            0.1
        )

    change_runs(folder, change)


def expect_other_error(folder: Path) -> None:
    def change(data: Any) -> None:
        next(run for run in data["runs"] if run["kind"] == "refused")["error"] = "TypeError"

    change_runs(folder, change)


def expect_refusal_of_good_run(folder: Path) -> None:
    def change(data: Any) -> None:
        data["runs"][0] |= {"kind": "refused", "error": "ValueError"}

    change_runs(folder, change)


def force_all_fresh_runs(folder: Path) -> None:
    """A random node that gives one path for ever: in the place of the draws, those of one run."""
    model = onnx.load(folder / "model.onnx")
    node = next(node for node in model.graph.node if node.op_type == "RandomUniformLike")
    node.op_type = "ConstantOfShape"
    shape = onnx.helper.make_node("Shape", [node.input[0]], ["rr/shape"])
    value = onnx.helper.make_tensor("value", onnx.TensorProto.DOUBLE, [1], [12345.0])
    del node.attribute[:]
    node.attribute.append(onnx.helper.make_attribute("value", value))
    node.input[0] = "rr/shape"
    index = list(model.graph.node).index(node)
    model.graph.node.insert(index, shape)
    onnx.save(model, folder / "model.onnx")


@pytest.mark.parametrize(
    ("case", "sabotage", "expected"),
    [
        ("layer", swap_branches, "output 'output'"),
        ("layer", perturb_weight, "output 'output'"),
        ("layer", move_threshold, "expected path"),
        ("layer", expect_other_path, "expected path"),
        ("layer", expect_other_stream, "seed .*: expected path"),
        ("layer", expect_other_mean, "mean: output"),
        ("layer", expect_other_error, "expected TypeError, got ValueError"),
        ("layer", expect_refusal_of_good_run, "expected ValueError, got a result"),
        ("standalone", force_all_fresh_runs, "expected several paths"),
    ],
)
def test_sabotaged_case_is_rejected(
    case: str, sabotage: Callable[[Path], None], expected: str, copied: Callable[[str], Path]
) -> None:
    folder = copied(case)
    sabotage(folder / case)
    mend(folder / case)
    (cell,) = run_column(CPU, [f"{case}:default"], folder).cells.values()
    assert cell.outcome == FAILS
    assert re.search(expected, cell.reason), cell.reason


def row(message: str = "", *, provider: str = "CPUExecutionProvider", **more: Any) -> dict[str, Any]:
    """A worker's line of one run."""
    return {
        "error": None,
        "refused": "",
        "runs": [{"name": "a", "error": 0.0, "message": message}],
        "skipped": 0,
        "nodes": {provider: 3},
        **more,
    }


EXCEPTED = replace(CPU, exceptions=(Excepted("layer:*", "it is slow on Mondays", "too slow"),))


def test_exception_that_fails_as_it_says_is_one() -> None:
    cell = settle(EXCEPTED, "layer:default", row("far too slow"))
    assert (cell.outcome, cell.reason) == (EXCEPTION, "it is slow on Mondays")


def test_exception_that_holds_is_rejected() -> None:
    cell = settle(EXCEPTED, "layer:default", row())
    assert cell.outcome == FAILS and "holds; remove the exception" in cell.reason


def test_exception_that_fails_otherwise_is_rejected() -> None:
    cell = settle(EXCEPTED, "layer:default", row("expected path [1], got [0]"))
    assert cell.outcome == FAILS and "expected a failure that matches 'too slow'" in cell.reason


def test_exception_that_the_runtime_refuses_is_rejected() -> None:
    cell = settle(EXCEPTED, "layer:default", row("far too slow", refused="x is wrong"))
    assert cell.outcome == FAILS and "remove the exception" in cell.reason


def test_exception_of_one_case_is_none_of_another() -> None:
    assert settle(EXCEPTED, "tree:default", row("far too slow")).outcome == FAILS


def test_refusal_says_what_would_be_wrong() -> None:
    cell = settle(CPU, "layer:default", row("wrong", refused="folder: expected a form that cpu computes rightly, got "
                                            "'explicit'; it adds wrongly: make the form for it (x)"))  # fmt: skip
    assert (cell.outcome, cell.reason) == (REFUSED, "it adds wrongly")
    assert cell.anyway.endswith("wrong")


@pytest.mark.parametrize("nodes", [{}, {"CPUExecutionProvider": 9}, {"OtherExecutionProvider": 9}])
def test_provider_on_which_no_node_ran_is_not_counted(nodes: dict[str, int]) -> None:
    cell = settle(replace(CPU, provider="openvino"), "layer:default", row(nodes=nodes))
    assert (cell.outcome, cell.reason) == (FAILS, NO_NODE)


def test_outputs_of_another_path_are_rejected_by_a_wide_tolerance_too() -> None:
    runs = json.loads((CASES / "layer" / "runs.json").read_text())["runs"]
    forced = [run for run in runs if run["name"].startswith("path")]
    one, other = forced[0]["expected"][0], forced[1]["expected"][0]

    class Swapped:
        def run(self, inputs: Any, *, seed: int | None, path: Any) -> Result:
            return Result(all_from_json(other["outputs"]), np.array(one["path"]), seed)

    judge = Judge(Swapped(), forced, Tolerance(0.0, 0.0, share=100.0))
    assert "nearer to [0, 0, 1]" in judge.verdict(forced[0]).message
    right = [{**forced[0], "expected": [{**other, "path": one["path"]}]}]
    assert Judge(Swapped(), right, Tolerance(0.0, 0.0, share=100.0)).verdict(right[0]).message == ""


def test_case_without_runs_is_not_counted() -> None:
    assert settle(CPU, "layer:default", row(runs=[])).reason == "no run fits the target"


def test_crash_takes_only_its_own_cell_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(runner: Runner, cells: list[str], folder: Path, limit: float) -> Any:
        told = {}
        for cell in cells:
            if cell == "tree:default":
                return {"onnxruntime": "1"}, told, "the process died (SIGSEGV)"
            told[cell] = row()
        return {"onnxruntime": "1"}, told, "the process ended with 0: "

    monkeypatch.setattr(runner_module, "_work", work)
    column = run_column(CPU, ["layer:default", "tree:default", "words:default"])
    assert [cell.outcome for cell in column.cells.values()] == [HOLDS, FAILS, HOLDS]
    assert column.cells["tree:default"].reason == "the process died (SIGSEGV)"


def test_process_that_really_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".providers" / "dying"
    folder.mkdir(parents=True)
    (folder / "run").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (folder / "run").chmod(0o755)
    monkeypatch.setattr(runner_module, "ENVIRONMENTS", tmp_path / ".providers")
    dying = replace(CPU, environment="dying")
    assert dying.missing() == ""
    column = run_column(dying, ["layer:default", "tree:default"])
    assert {cell.reason for cell in column.cells.values()} == {"the process died (SIGSEGV)"}


def test_runner_that_is_not_set_up_says_how() -> None:
    assert "run: make setup-x" in replace(CPU, environment="nothing", setup="setup-x").missing()
    assert "no nothing provider; install it" in replace(CPU, provider="nothing", setup="install it").missing()


def test_file_that_does_not_load_fails(copied: Callable[[str], Path]) -> None:
    folder = copied("layer")
    (folder / "layer" / "model.onnx").write_bytes(b"nothing")
    (cell,) = run_column(CPU, ["layer:default"], folder).cells.values()
    assert cell.outcome == FAILS and "BundleError" in cell.reason


def test_lines_of_another_machine_become_a_column() -> None:
    cells = cells_of(CPU)
    lines = [{"versions": {"onnxruntime": "1"}}, *({"cell": cell, **row()} for cell in cells[:-1])]
    column = read_lines(CPU, "\n".join(map(json.dumps, lines)) + '\n{"cell": "cut o')
    assert column.versions == {"onnxruntime": "1"}
    assert [cell.outcome for cell in column.cells.values()] == [HOLDS] * (len(cells) - 1) + [FAILS]


def test_nodes_are_counted_with_those_of_branches() -> None:
    found = worker.run_cell(Here("cpu"), CASES / "nested3", "default")
    inside = sum(len(graph.node) for graph in graphs_of(onnx.load(CASES / "nested3" / "model.onnx").graph))
    assert found["nodes"] == {"CPUExecutionProvider": inside}


def graphs_of(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [graph, *(g for body in inner for g in graphs_of(body))]


def test_worker_needs_neither_torch_nor_onnx() -> None:
    script = "import sys\n"
    script += "sys.modules.update(dict.fromkeys(('torch', 'onnx', 'onnx_ir', 'onnxscript', 'rr_export')))\n"
    script += "import runpy\nsys.argv = ['worker', sys.argv[1], 'cpu', 'layer:cuda']\n"
    script += "runpy.run_module('tests.conformance.worker', run_name='__main__')\n"
    path = os.pathsep.join([str(runner_module.ROOT), str(runner_module.ROOT / "runtimes" / "python")])
    done = subprocess.run(
        [sys.executable, "-c", script, str(CASES)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    versions, cell = map(json.loads, done.stdout.splitlines())
    assert set(versions["versions"]) == {"onnxruntime", "numpy", "python", "machine", "system"}
    assert cell["cell"] == "layer:cuda" and not any(run["message"] for run in cell["runs"])


def test_command_writes_nothing_on_a_dry_run_and_exits_with_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run_column", lambda runner, cells: Column({}, {"layer:default": Cell(FAILS)}))
    before = command.DATA.read_text()
    done = CliRunner().invoke(command.main, ["--runner", "cpu", "--dry-run"])
    assert done.exit_code == 1 and "cpu: 1 fails" in done.output
    assert command.DATA.read_text() == before


def test_command_keeps_what_it_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Record) -> None:
    monkeypatch.setattr(command, "DATA", tmp_path / "conformance.json")
    monkeypatch.setattr(command, "PAGE", tmp_path / "conformance.md")
    (tmp_path / "conformance.json").write_text(json.dumps(recorded.to_json()))
    cells = {cell: Cell(HOLDS, runs=1, nodes_on=1, nodes=1) for cell in cells_of(CPU)}
    monkeypatch.setattr(command, "run_column", lambda runner, cells_: Column({"onnxruntime": "9.9"}, cells))
    assert CliRunner().invoke(command.main, ["--runner", "cpu"]).exit_code == 0
    found = Record.from_json(json.loads((tmp_path / "conformance.json").read_text()))
    assert found.columns["cpu"].versions == {"onnxruntime": "9.9"}
    assert {n: c for n, c in found.columns.items() if n != "cpu"} == {
        n: c for n, c in recorded.columns.items() if n != "cpu"
    }
    assert "onnxruntime 9.9" in (tmp_path / "conformance.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda case: case.update(runs=[]), "expected at least one run whose outputs are compared"),
        (
            lambda case: case.update(runs=[r for r in case["runs"] if r["kind"] == "refused"]),
            "expected at least one run",
        ),
        (lambda case: case.update(version=99), "expected rr.conformance 1, got rr.conformance 99"),
        (lambda case: [r.update(seeds=[]) for r in case["runs"] if r["kind"] == "stream"], "something to compare"),
    ],
    ids=["no runs", "refusals only", "another version", "an empty stream"],
)
def test_a_case_that_compares_nothing_does_not_hold(change: Any, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "layer"
    shutil.copytree(CASES / "layer", folder)
    case = json.loads((folder / "runs.json").read_text())
    change(case)
    (folder / "runs.json").write_text(json.dumps(case))
    found = worker.run_cell(Here("cpu"), folder, "default")
    assert message in found["error"]
    assert settle(CPU, "layer:default", found).outcome == FAILS


def test_one_case_is_run_and_the_others_stay(recorded: Record) -> None:
    before = recorded.columns["cpu"]
    fresh = run_column(CPU, ["tree:default"])
    fresh = replace(fresh, versions=before.versions)
    filled = recorded.filled("cpu", fresh)
    assert list(filled.cells) == [
        cell for cell in before.cells if not cell.startswith("tree:") or cell == "tree:default"
    ]
    assert filled.cells["layer:default"] is before.cells["layer:default"]
    assert filled.cells["tree:default"] is fresh.cells["tree:default"]
    with pytest.raises(ValueError, match=r"cpu: expected the versions of the recorded cells, .*; run all cases"):
        recorded.filled("cpu", replace(fresh, versions={"onnxruntime": "0"}))
