"""Random models are exported right or refused; what judges them finds what is wrong."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import rr_export as rr
from rr_export.errors import CaptureError, LoweringError
from tests.conftest import rest_slow
from tests.generated.file_law import content_of
from tests.generated.judge import CRASHED, INPUTS, INVALID, REFUSED, RIGHT, UNTRIED, WRONG, Judged, compare, judge, load
from tests.generated.numbers_kept import keep_numbers
from tests.generated.oracle import Law, TooManyRunsError, differences, law_of, law_of_code
from tests.generated.page import kind_of_reason, write_page
from tests.generated.programs import write_program
from tests.generated.run import FAULTS, keep_fault, read_record
from tests.generated.site_models import law_of_tree, write_tree
from tests.generated.workers import judge_all

PROGRAMS = {
    12: RIGHT,
    15: RIGHT,
    28: RIGHT,
    33: RIGHT,
    36: RIGHT,
    38: RIGHT,
    43: RIGHT,
    52: RIGHT,
    55: REFUSED,
    58: RIGHT,
    60: RIGHT,
    63: RIGHT,
    72: RIGHT,
    73: RIGHT,
    85: RIGHT,
    103: REFUSED,
    111: RIGHT,
    126: RIGHT,
    143: RIGHT,
    147: RIGHT,
    148: RIGHT,
    151: RIGHT,
    156: RIGHT,
    160: RIGHT,
    162: RIGHT,
}
TREES = (9, 14, 19, 24, 39, 44, 59, 64, 69, 29)


FIRST, MANY, BLOCK = 100_000, 1000, 20  # of the larger slice, whose seeds the page does not have

PROGRAM = """
    import random
    import torch
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            if random.random() < 0.25:
                x = self.a(x)
            elif torch.rand(()) < 0.4:
                return self.b(x) + 1
            return x * 2 if x.mean() > 0 else x
"""


@pytest.mark.parametrize("seed", rest_slow(PROGRAMS, 6))
def test_program(seed: int, tmp_path: Path) -> None:
    found = judge(seed, tmp_path)
    assert (found.kind, found.outcome) == ("program", PROGRAMS[seed]), found.reason


@pytest.mark.parametrize("seed", rest_slow(TREES, 3))
def test_model_of_sites(seed: int, tmp_path: Path) -> None:
    found = judge(seed, tmp_path)
    assert (found.kind, found.outcome) == ("sites", RIGHT), found.reason


@pytest.mark.generated
@pytest.mark.parametrize("first", range(FIRST, FIRST + MANY, BLOCK))
def test_many(first: int, tmp_path: Path) -> None:
    found = [judge(seed, tmp_path) for seed in range(first, first + BLOCK)]
    assert not [f"{j.seed}: {j.outcome} {j.reason}" for j in found if j.outcome in FAULTS]
    assert RIGHT in {j.outcome for j in found}


def test_seed_writes_one_model() -> None:
    assert write_program(3) == write_program(3)
    assert write_tree(4) == write_tree(4)
    assert len({write_program(seed).source for seed in range(50)}) == 50


def test_programs_and_trees_are_what_they_say() -> None:
    for seed in range(300):
        compile(write_program(seed).source, f"program_{seed}", "exec")
        tree = write_tree(seed)
        assert [node.site for node in tree.sites] == list(range(len(tree.sites)))


# The oracle


def test_oracle_knows_a_law(tmp_path: Path) -> None:
    model = _model(tmp_path)
    x = torch.ones(2, 4)
    law = law_of_code(model, (x,), 20)
    assert sorted(law.values()) == pytest.approx([0.25, 0.75 * 0.4, 0.75 * 0.6])
    assert law[(2.0,) * 8] == pytest.approx(0.45)


def test_oracle_goes_through_all_sequences() -> None:
    def run(script: object) -> torch.Tensor:
        first = script.choose([0.5, 0.5])  # type: ignore[attr-defined]
        return torch.tensor(float(script.choose([1, 3]) + 1 if first else 0))  # type: ignore[attr-defined]

    assert law_of(run) == {(0.0,): 0.5, (1.0,): 0.125, (2.0,): 0.375}


def test_laws_of_too_many_runs_are_left_out_but_not_on_every_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TooManyRunsError):
        law_of(lambda script: float(script.choose([1, 1, 1])), most=2)
    assert len(law_of(lambda script: float(script.choose([1, 1, 1])), most=3)) == 3
    monkeypatch.setattr("tests.generated.judge.MOST_RUNS", 0)
    assert judge(12, tmp_path).outcome == UNTRIED


def test_no_order_of_outputs_makes_a_difference() -> None:
    """Three outputs of which the first and the last are apart: the middle one goes to either side, as it must."""
    near, middle, far = (1.0,), (1.0008,), (1.0016,)
    expected = {near: 0.25, middle: 0.25, far: 0.5}
    assert differences(expected, {far: 0.5, middle: 0.25, near: 0.25}) == []
    assert differences(expected, {(1.0002,): 0.5, (1.0014,): 0.5}) == []
    assert len(differences(expected, {near: 0.51, far: 0.49})) == 2
    assert differences(expected, {near: 0.25, middle: 0.25, (1.0016, 0.0): 0.5}) != []
    assert differences(expected, {near: 0.25, middle: 0.25}) != []


def test_oracle_of_trees_gives_a_site_one_route() -> None:
    laws = [law_of_tree(write_tree(seed), INPUTS[0]) for seed in range(30)]
    assert all(sum(law.values()) == pytest.approx(1) for law in laws)
    twice = next(t for t in map(write_tree, range(100)) if len(t.sites) == 1 and len(t.sites[0].rows[0]) == 3)
    assert len(law_of_tree(twice, INPUTS[0])) <= 3


# Sabotaged twins


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[bytes, list[Law]]]:
    folder = tmp_path_factory.mktemp("program")
    laws = [law_of_code(_model(folder), (x,), 20) for x in INPUTS]
    yield content_of(rr.export(_model(folder), (INPUTS[0],))), laws


def test_an_input_that_is_left_out_hides_no_other(exported: tuple[bytes, list[Law]]) -> None:
    content, (first, *others) = exported
    assert compare(content, [None, *others]) == []
    assert compare(content, [None, first, *others[1:]])
    with pytest.raises(TooManyRunsError):
        compare(content, [None] * len(INPUTS))


def test_a_file_of_too_many_runs_is_not_called_right(
    exported: tuple[bytes, list[Law]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.generated.judge.MOST_RUNS", 1)
    with pytest.raises(TooManyRunsError):
        compare(*exported)


def test_the_file_itself_is_right(exported: tuple[bytes, list[Law]]) -> None:
    assert compare(*exported) == []


def test_a_threshold_changed_in_the_manifest_is_found(exported: tuple[bytes, list[Law]]) -> None:
    content, laws = exported
    model = onnx.load_from_string(content)
    entry = next(p for p in model.metadata_props if p.key == "rr.manifest")
    manifest = json.loads(entry.value)
    manifest["sites"][1]["policy"]["thresholds"][0][0] += 1e-4
    entry.value = json.dumps(manifest)
    assert any("expected probability" in line for line in compare(model.SerializeToString(), laws))


def test_a_threshold_changed_in_the_graph_is_found(exported: tuple[bytes, list[Law]]) -> None:
    content, laws = exported
    model = onnx.load_from_string(content)
    thresholds = next(i for i in model.graph.initializer if i.name == "rr/thresholds")
    changed = numpy_helper.to_array(thresholds) // 2
    thresholds.CopyFrom(numpy_helper.from_array(changed, thresholds.name))
    assert any(line.startswith("rr_seed") for line in compare(model.SerializeToString(), laws))


def test_swapped_branches_are_found(exported: tuple[bytes, list[Law]]) -> None:
    content, laws = exported
    count = sum(node.op_type == "If" for node in onnx.load_from_string(content).graph.node)
    assert count >= 2
    for i in range(count):
        model = onnx.load_from_string(content)
        node = [node for node in model.graph.node if node.op_type == "If"][i]
        for attribute in node.attribute:
            attribute.name = {"then_branch": "else_branch", "else_branch": "then_branch"}[attribute.name]
        assert any("expected probability" in line for line in compare(model.SerializeToString(), laws))


def test_a_changed_weight_is_found(exported: tuple[bytes, list[Law]]) -> None:
    content, laws = exported
    model = onnx.load_from_string(content)
    weight = next(i for i in model.graph.initializer if i.name == "a.bias")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(0.01), weight.name))
    assert compare(model.SerializeToString(), laws) != []


def test_errors_of_another_form_are_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[Exception, str] = {
        CaptureError("here: expected this, got that; do so"): REFUSED,
        LoweringError("here: expected this,\ngot that; do so"): CRASHED,
        CaptureError("path"): CRASHED,
        ValueError("here: expected this, got that; do so"): CRASHED,
    }
    for error, outcome in said.items():

        def fails(*args: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(rr, "export", fails)
        assert judge(4, tmp_path).outcome == outcome


# The record, the page, the folder of faults


def _judged(seed: int, outcome: str, reason: str = "") -> Judged:
    return Judged(seed, "program", outcome, reason, 2, 0.5, "source")


def test_a_line_cut_short_is_judged_again(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    assert read_record(record) == []
    record.write_bytes(b'{"seed": 1}\n{"seed": 2}\n{"se')
    assert read_record(record) == [{"seed": 1}, {"seed": 2}]
    assert record.read_bytes() == b'{"seed": 1}\n{"seed": 2}\n'


def test_the_page_counts(tmp_path: Path) -> None:
    refusals = [f"program_{i}.py:{60 + i}: expected a loop of {i} turns, got more; bound it" for i in (2, 3)]
    rows = [
        _judged(0, RIGHT),
        _judged(1, WRONG, "input 0: other"),
        *(_judged(i, REFUSED, refusals[i - 2]) for i in (2, 3)),
    ]
    numbers = tmp_path / "numbers.json"
    keep_numbers(numbers, [dataclasses.asdict(row) for row in rows[:3]])
    page = write_page(keep_numbers(numbers, [dataclasses.asdict(row) for row in rows[3:]]))
    assert "| right | 1 (25.0 %) | 0 |" in page
    assert "| wrong | 1 (25.0 %) | 0 |" in page
    assert "| 2 | expected a loop of N turns, got more | 2, 3 |" in page
    again = keep_numbers(numbers, [dataclasses.asdict(_judged(1, RIGHT))])
    assert [row["outcome"] for row in again] == [RIGHT, RIGHT, REFUSED, REFUSED]
    assert kind_of_reason("Traceback ...\n  File x\nKeyError: 'a'") == "KeyError: ..."


def test_numbers_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "numbers.json").write_text('{"format": "else"}')
    with pytest.raises(ValueError, match=r"expected .*rr\.generated.*, got 'else'; give another file"):
        keep_numbers(tmp_path / "numbers.json", [])


def test_faults_are_kept(tmp_path: Path) -> None:
    keep_fault(_judged(1, RIGHT), tmp_path / "faults")
    assert not (tmp_path / "faults").exists()
    for outcome in (WRONG, CRASHED, INVALID):
        keep_fault(_judged(1, outcome, "two\nlines"), tmp_path / "faults")
        kept = (tmp_path / "faults" / "program_1.py").read_text()
        assert kept == f"source\n\n# {outcome}\n# two\n# lines\n"


@pytest.mark.generated
def test_processes_that_take_too_long_are_replaced() -> None:
    found = {j.seed: j for j in judge_all([0, 4], jobs=1, seconds=0.001)}
    assert {j.outcome for j in found.values()} == {CRASHED}
    assert found[0].source == write_program(0).source
    assert found[4].kind == "sites" and found[4].reason.startswith("TimeoutError: no end within")
    assert [j.outcome for j in judge_all([4], jobs=1, seconds=100.0)] == [RIGHT]


def _model(folder: Path) -> torch.nn.Module:
    file = folder / "net.py"
    file.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    return load(file, "generated_net")
