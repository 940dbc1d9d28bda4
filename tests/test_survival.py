"""What other tools leave of exported files: a slice of the matrix, the whole of it, and sabotage that must be seen."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner

import rr_export as rr
from rr_export.lowering.sink import SITE_KEY
from survival import __main__ as command
from survival.cell import CAUGHT, HOLDS, NO_LOAD, NO_RUN, REFUSES, SILENT, Outcome, reference_of, run_cell
from survival.files import COLUMNS, INTERFACES, MODELS, Column, export_column
from survival.law import path_law_failures
from survival.matrix import Matrix, build, differences, silent, versions_of
from survival.page import write_page
from survival.routing_part import routing_part
from survival.tool import EIGHT_BITS, EXACT, Tool
from survival.tools import TOOLS
from survival.worker import Worker

SLICE = (
    ("onnxruntime saved ALL", "layers.explicit"),
    ("onnxruntime .ort Fixed", "nested.standalone"),
    ("onnxruntime pre-process", "operations.host"),
    ("onnxscript optimizer", "layers.explicit"),
    ("onnx to opset 22", "layers.explicit"),
    ("onnx to opset 22", "operations.host"),
    ("onnx-ir CommonSubexpressionElimination", "nested.standalone"),
    ("onnxsim", "layers.explicit"),
    ("onnxslim", "nested.standalone"),
    ("onnxoptimizer, all", "layers.explicit"),
    ("onnx-graphsurgeon", "operations.host"),
    ("onnxruntime dynamic int8, branches", "layers.explicit"),
    ("onnxruntime float16, same inputs", "layers.explicit"),
    ("onnx-shrink-ray integers", "layers.explicit"),
    ("openvino", "layers.explicit"),
    ("openvino", "operations.host"),
)
Change = Callable[[ir.Model], None]


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    return dict(json.loads(command.DATA.read_text()))


@pytest.fixture(scope="session")
def columns(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Column]:
    folder = tmp_path_factory.mktemp("columns")
    made: dict[str, Column] = {}

    def column(name: str) -> Column:
        if name not in made:
            made[name] = export_column(name, folder)
        return made[name]

    return column


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    with Worker() as started:
        yield started


@pytest.mark.parametrize(("tool", "file"), SLICE)
def test_slice_is_as_recorded(
    tool: str, file: str, recorded: dict[str, Any], columns: Callable[[str], Column], worker: Worker
) -> None:
    TOOLS[tool].versions()  # says what to install
    found = Matrix({}, {tool: {file: worker.run(TOOLS[tool], columns(file))}})
    assert not differences(recorded, found)
    assert not silent(found)


@pytest.mark.survival
def test_whole_matrix_is_as_recorded(recorded: dict[str, Any], tmp_path: Path) -> None:
    assert versions_of(TOOLS.values()) == recorded["versions"]
    found = build(TOOLS, COLUMNS, tmp_path, lambda stage, done, total: None)
    assert not differences(recorded, found)
    assert not silent(found)


def test_record_is_whole_and_nothing_in_it_is_silent(recorded: dict[str, Any]) -> None:
    assert list(recorded["cells"]) == list(TOOLS)
    assert all(list(row) == list(COLUMNS) for row in recorded["cells"].values())
    assert not silent(Matrix.from_json(recorded))


def test_page_is_the_record(recorded: dict[str, Any]) -> None:
    assert write_page(Matrix.from_json(recorded)) == command.PAGE.read_text()


def test_slice_touches_every_package() -> None:
    here = {package for tool, _ in SLICE for package in TOOLS[tool].packages}
    elsewhere = {"polygraphy", "nncf", "onnxconverter-common"}  # slow to start, or they only refuse
    assert here | elsewhere == {package for tool in TOOLS.values() for package in tool.packages}
    assert {TOOLS[tool].kind for tool, _ in SLICE} == {tool.kind for tool in TOOLS.values()}


@pytest.mark.parametrize("name", ["layers.explicit", "operations.host", "nested.standalone"])
def test_paths_of_a_file_are_told_apart_by_their_outputs(name: str, columns: Callable[[str], Column]) -> None:
    reference = reference_of(columns(name))
    assert len(reference.paths) == reference.plan.path_count()
    for size in range(2):
        outputs = [vectors[size] for vectors in reference.outputs]
        for i, one in enumerate(outputs):
            others = [np.sqrt(np.mean((one - other) ** 2)) for j, other in enumerate(outputs) if j != i]
            assert min(others) > 0.1 * one.std(), reference.paths[i]


def nodes(model: ir.Model, op_type: str) -> list[ir.Node]:
    return [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == op_type]


def ifs_of(model: ir.Model, site: int) -> list[ir.Node]:
    return [n for n in nodes(model, "If") if n.metadata_props[SITE_KEY] == str(site)]


def constant(model: ir.Model, name: str, array: Any) -> ir.Value:
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    model.graph.register_initializer(value)
    return value


def swap_branches(model: ir.Model) -> None:
    node = ifs_of(model, 0)[0]
    then, other = node.attributes["then_branch"].as_graph(), node.attributes["else_branch"].as_graph()
    node.attributes["then_branch"] = ir.AttrGraph("then_branch", other)
    node.attributes["else_branch"] = ir.AttrGraph("else_branch", then)


def freeze_site(model: ir.Model) -> None:
    always = constant(model, "always", np.array([True]))
    for node in ifs_of(model, 0):
        node.replace_input_with(0, always)


def merge_sites(model: ir.Model) -> None:
    for node in ifs_of(model, 1):
        node.replace_input_with(0, ifs_of(model, 0)[0].inputs[0])


def move_threshold(model: ir.Model) -> None:
    value = next(v for v in model.graph.initializers.values() if "thresholds" in (v.name or ""))
    assert value.const_value is not None
    moved = value.const_value.numpy().copy()
    moved[0] *= 0.9
    value.const_value = ir.tensor(moved.astype(value.const_value.numpy().dtype), name=value.name)


def fold_random(model: ir.Model) -> None:
    (node,) = nodes(model, "RandomUniformLike")
    dtype = ir.DataType(node.attributes["dtype"].as_int()).numpy()
    (lanes,) = [v for name, v in model.graph.initializers.items() if name.endswith("lanes")]
    assert lanes.const_value is not None
    numbers = 999 * np.arange(lanes.const_value.size, dtype=dtype)
    folded = constant(model, f"{node.outputs[0].name}.folded", numbers)
    ir.convenience.replace_all_uses_with(node.outputs[0], folded)
    model.graph.remove(node, safe=True)


def reseed_random(model: ir.Model) -> None:
    (node,) = nodes(model, "RandomUniformLike")
    node.attributes["high"] = ir.AttrFloat32("high", 1.0)


def hoist_branch(model: ir.Model) -> None:
    node = ifs_of(model, 0)[0]
    body = node.attributes["then_branch"].as_graph()
    for inner in list(body):
        body.remove(inner)
        model.graph.insert_before(node, inner)
    for value in list(body.initializers.values()):
        body.initializers.pop(value.name or "")
        model.graph.register_initializer(value)
    result = body.outputs[0]
    passed = ir.node("Identity", [result])
    passed.outputs[0].name = "hoisted"
    passed.outputs[0].type, passed.outputs[0].shape = result.type, result.shape
    body.append(passed)
    body.outputs[0] = passed.outputs[0]


def sabotage(change: Change) -> Tool:
    def run(source: Path, target: Path) -> None:
        model = ir.load(source)
        change(model)
        ir.save(model, target)

    return Tool(change.__name__, ("onnx-ir",), "", run)


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (swap_branches, False),  # the structure is as it should be: only a comparison sees it
        (freeze_site, True),
        (merge_sites, True),
        (move_threshold, True),
        (hoist_branch, False),
    ],
)
def test_sabotage_does_not_hold(change: Change, seen: bool, interface: str, columns: Callable[[str], Column]) -> None:
    outcome = run_cell(sabotage(change), columns(f"layers.{interface}"), lambda stage: None)
    assert outcome.outcome == (CAUGHT if seen else SILENT), outcome


@pytest.mark.parametrize("interface", ["explicit", "standalone"])
@pytest.mark.parametrize(("change", "seen"), [(fold_random, True), (reseed_random, False)])
def test_sabotaged_random_node_does_not_hold(
    change: Change, seen: bool, interface: str, columns: Callable[[str], Column]
) -> None:
    outcome = run_cell(sabotage(change), columns(f"layers.{interface}"), lambda stage: None)
    assert outcome.outcome in ((CAUGHT,) if seen else (CAUGHT, SILENT)), outcome


def test_looser_tolerance_does_not_hide_swapped_branches(columns: Callable[[str], Column]) -> None:
    exact = sabotage(swap_branches)
    loose = Tool(exact.name, exact.packages, "", exact.run, tolerance=EIGHT_BITS)
    assert run_cell(loose, columns("layers.host"), lambda stage: None).outcome == SILENT


def sharpen_gates(model: ir.Model) -> None:
    """All gates are surer than they were."""
    for node in [node for node in model.graph.all_nodes() if node.op_type == "Softmax" and node.graph is model.graph]:
        twice = ir.node("Add", [node.inputs[0], node.inputs[0]])
        node.graph.insert_before(node, twice)
        node.replace_input_with(0, twice.outputs[0])


def move_borders(model: ir.Model) -> None:
    """What gates tell stays; draws are compared with a tenth less."""
    for node in [node for node in model.graph.all_nodes() if node.op_type == "CumSum" and node.graph is model.graph]:
        less = ir.node("Mul", [node.outputs[0], _constant(model, np.array(0.9, node.outputs[0].dtype.numpy()))])
        ir.convenience.replace_all_uses_with(node.outputs[0], less.outputs[0])
        less.replace_input_with(0, node.outputs[0])
        node.graph.insert_after(node, less)


def _constant(model: ir.Model, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=f"sabotage_{len(model.graph.initializers)}", const_value=ir.tensor(array))
    model.graph.initializers[value.name] = value
    return value


@pytest.mark.parametrize("interface", ["explicit", pytest.param("host", marks=pytest.mark.slow)])
@pytest.mark.parametrize("change", [pytest.param(sharpen_gates, marks=pytest.mark.slow), move_borders])
def test_sabotaged_gates_do_not_hold(change: Change, interface: str, columns: Callable[[str], Column]) -> None:
    column = columns(f"gates.{interface}")
    assert run_cell(sabotage(lambda model: None), column, lambda stage: None).outcome == HOLDS
    outcome = run_cell(sabotage(change), column, lambda stage: None)
    assert outcome.outcome in (CAUGHT, SILENT), outcome


def test_a_copy_holds(columns: Callable[[str], Column]) -> None:
    for interface in INTERFACES:
        outcome = run_cell(sabotage(lambda model: None), columns(f"layers.{interface}"), lambda stage: None)
        assert outcome == Outcome(HOLDS, changed=False, manifest=True)


def test_routing_can_be_cut_out(columns: Callable[[str], Column]) -> None:
    file = columns("layers.explicit").file
    whole, behind_random = routing_part(file), routing_part(file, from_random=True)
    assert whole is not None and whole.inputs == ("rr_seed", "rr_path") and whole.noise is None
    assert behind_random is not None and behind_random.inputs == ("rr_seed", "rr_path")
    assert behind_random.noise is not None


def test_verify_against_agrees(columns: Callable[[str], Column], tmp_path: Path) -> None:
    column = columns("layers.explicit")
    inputs = column.inputs()[0]
    TOOLS["onnxslim"].run(column.file, tmp_path / "slim.onnx")
    assert rr.verify_against(tmp_path / "slim.onnx", column.file, inputs=inputs).passed
    sabotage(swap_branches).run(column.file, tmp_path / "swapped.onnx")
    with pytest.raises(rr.ParityError):
        rr.verify_against(tmp_path / "swapped.onnx", column.file, inputs=inputs)


@pytest.mark.survival
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", [t for t in TOOLS.values() if t.engine == "onnxruntime"], ids=lambda tool: tool.name)
def test_verify_against_holds_where_the_matrix_does(
    tool: Tool, recorded: dict[str, Any], columns: Callable[[str], Column], tmp_path: Path
) -> None:
    """But where the tool makes the batch axis static, or inputs of the weights, which is another contract."""
    column = columns("layers.explicit")
    cell = Outcome.from_json(recorded["cells"][tool.name][column.name])
    if cell.outcome != HOLDS or cell.codes or tool.fixes_batch:
        pytest.skip(f"{cell.outcome} {' '.join(cell.codes)}")
    tool.run(column.file, tmp_path / f"target{tool.suffix}")
    tolerances = {"share": tool.tolerance.share} if tool.tolerance.share else {}
    report = rr.verify_against(
        tmp_path / f"target{tool.suffix}", column.file, inputs=column.inputs()[0], max_paths=8, **tolerances
    )
    assert report.passed


def dies(source: Path, target: Path) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(source: Path, target: Path) -> None:
    time.sleep(60)


def raises(source: Path, target: Path) -> None:
    raise ValueError(f"cannot read {source}")


def writes_nothing(source: Path, target: Path) -> None:
    pass


def writes_rubbish(source: Path, target: Path) -> None:
    target.write_bytes(b"not a model")


@pytest.mark.parametrize(
    ("run", "outcome", "reason"),
    [
        pytest.param(dies, REFUSES, "the process dies (SIGSEGV)", marks=pytest.mark.slow),
        pytest.param(hangs, REFUSES, "no end after 3 s", marks=pytest.mark.slow),
        (raises, REFUSES, "ValueError: cannot read source.onnx"),
        (writes_nothing, REFUSES, "FileNotFoundError: nothing was written"),
        (writes_rubbish, NO_LOAD, "InvalidProtobuf"),
    ],
)
def test_tools_that_fail_are_loud(
    run: Callable[[Path, Path], None], outcome: str, reason: str, columns: Callable[[str], Column]
) -> None:
    tool = Tool(run.__name__, ("onnx",), "", run)
    with Worker() as started:
        limit = 3.0 if run is hangs else 60.0
        if run is hangs:
            started.run(Tool("warm", ("onnx",), "", writes_nothing), columns("layers.host"))  # imports are done
        found = started.run(tool, columns("layers.host"), limit=limit)
        assert found.outcome == outcome and reason in found.reason, found
        again = started.run(Tool("again", ("onnx",), "", writes_nothing), columns("layers.host"))
        assert again.outcome == REFUSES  # there is a process again


def test_failing_run_is_loud(columns: Callable[[str], Column]) -> None:
    def half_input(model: ir.Model) -> None:
        model.graph.inputs[0].dtype = ir.DataType.FLOAT16
        cast = ir.node("Cast", [model.graph.inputs[0]], {"to": ir.DataType.FLOAT})
        cast.outputs[0].name = "x32"
        ir.convenience.replace_all_uses_with(model.graph.inputs[0], cast.outputs[0])
        cast.replace_input_with(0, model.graph.inputs[0])
        model.graph.insert_before(model.graph[0], cast)

    outcome = run_cell(sabotage(half_input), columns("layers.host"), lambda stage: None)
    assert outcome.outcome == NO_RUN and "Unexpected input data type" in outcome.reason, outcome


def test_law_of_paths_is_rejected_where_it_is_another(columns: Callable[[str], Column]) -> None:
    plan = reference_of(columns("layers.explicit")).plan
    rng = np.random.default_rng(0)
    law = {path: plan.probability(path) for path in plan.paths()}
    right = np.array(list(law))[rng.choice(len(law), size=2000, p=list(law.values()))]
    assert not path_law_failures(plan, right, 1)
    assert path_law_failures(plan, right[:, ::-1], 1)
    assert path_law_failures(plan, np.zeros((20, 4), dtype=np.int64), 1)
    assert path_law_failures(plan, np.full((1, 4), 7), 1) == ["expected a path of the plan, got [7, 7, 7, 7]"]


def test_missing_package_names_the_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"rr-no-such-package, which is not installed; pip install.*survival"):
        Tool("x", ("rr-no-such-package",), "", dies).versions()


def test_differences_are_told() -> None:
    holds, caught = Outcome(HOLDS), Outcome(CAUGHT, "streams: seed 0", ("RR304",))
    before = Matrix({}, {"onnxsim": {"layers.host": holds}})
    after = Matrix({}, {"onnxsim": {"layers.host": caught, "layers.explicit": Outcome(SILENT, "why")}})
    assert not differences(before.to_json(), before)
    first, second = differences(before.to_json(), after)
    assert first == "onnxsim, layers.host: expected holds, got caught RR304: streams: seed 0"
    assert "expected a recorded outcome, got none" in second
    assert silent(after) == ["onnxsim, layers.explicit: why"]
    assert Matrix.from_json(after.to_json()) == after


def test_command_prints_a_part_and_refuses_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(tools: list[str], files: list[str], folder: Path, progress: Any) -> Matrix:
        progress("onnxsim", 0, 1)
        return Matrix({}, {tool: dict.fromkeys(files, Outcome(REFUSES, "no")) for tool in tools})

    monkeypatch.setattr(command, "build", made)
    result = CliRunner().invoke(command.main, ["--tool", "onnxsim", "--file", "layers"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"onnxsim, layers.{i}: refuses no" for i in INTERFACES]
    result = CliRunner().invoke(command.main, ["--tool", "nothing"])
    assert result.exit_code == 2 and "expected one of" in result.output


def test_names_are_distinct() -> None:
    assert len(COLUMNS) == (len(MODELS) - 1) * len(INTERFACES) + 2 == 20  # standalone files have no gates
    assert all(name == tool.name for name, tool in TOOLS.items())
    assert all(
        (tool.tolerance == EXACT) == (tool.kind == "rewriter") or tool.kind == "reader" for tool in TOOLS.values()
    )
