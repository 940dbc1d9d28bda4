"""Every broken file of the zoo is broken as it claims, and the linter says so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from rr_export.errors import LintError
from rr_export.lint.finding import RULES, SEVERITIES, Finding
from rr_export.lint.linter import lint
from tests.lint.handmade import external
from tests.lint.specimen import WIDTH, first_runs_agree, is_frozen
from tests.lint.stock import exported, save
from tests.lint.zoo import ZOO

STEP = r"(\w+ of \w+ '[^']*'|function \w+::\w+)"
PLACE = re.compile(rf"main graph|{STEP}( > {STEP})*")


NO_MODEL = r"expected (an ONNX model|a model in onnxruntime's \.ort format)"


def serious(findings: list[Finding]) -> set[str]:
    return {f.code for f in findings if f.severity != "note"}


def names(graph: onnx.GraphProto) -> Iterator[str]:
    """All names of nodes and values, in the branches too."""
    for value in (*graph.input, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield node.name
        yield from node.output
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from names(attribute.g)


def test_frozen_route_of_stock_export(tmp_path: Path) -> None:
    """``torch.onnx.export`` of ``torch.bernoulli`` routing: which layers run is decided for ever, without a message."""
    file = save(exported("bernoulli_vector", dynamo=True), tmp_path)
    is_frozen(file)
    findings = lint(file)
    assert {f.code for f in findings} == {"RR201"}
    assert {f.severity for f in findings} == {"error"}
    assert {f.place for f in findings} == {"main graph"}
    assert [f.node for f in findings] == ["node_where", "node_where_1", "node_where_2", "node_where_3", "node_where_4"]
    assert all("frozen" in f.effect and "rr_export" in f.remedy for f in findings)


@pytest.mark.parametrize("dynamo", [True, False])
def test_tied_streams_of_stock_export(tmp_path: Path, dynamo: bool) -> None:
    """``torch.rand`` once per layer: on first runs all layers agree."""
    file = save(exported("uniform", dynamo=dynamo), tmp_path)
    first_runs_agree(file)
    (tied,) = (f for f in lint(file) if f.code == "RR103")
    assert tied.severity == "error"
    assert "5 random nodes" in tied.message
    assert "first run" in tied.effect and "one vector" in tied.remedy


def test_onnxruntime_removes_training_dropouts_between_layers(made: Callable[[str], Path]) -> None:
    """Unoptimised all five drop; optimised only the last, which gives the output: neither evaluation nor training."""
    values = {}
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(made("dropout_forced"), options, providers=["CPUExecutionProvider"])
        runs = [session.run(None, {"x": np.zeros((3, WIDTH), np.float32)})[0] for _ in range(20)]
        values[level] = len(np.unique(np.rint(runs)))
    assert values["ORT_ENABLE_ALL"] == 2 and values["ORT_DISABLE_ALL"] > 4


@pytest.mark.parametrize("name", ZOO)
def test_exactly_what_is_broken_is_found(name: str, made: Callable[[str], Path]) -> None:
    specimen, file = ZOO[name], made(name)
    findings = lint(file, engine=specimen.engine)
    assert serious(findings) == specimen.codes, "\n".join(map(str, findings))
    for code, (node, place) in specimen.where.items():
        where = [(f.node, f.place) for f in findings if f.code == code]
        assert any(re.search(node, n) and place == p for n, p in where), (code, where)


@pytest.mark.parametrize("name", ZOO)
def test_findings_can_be_acted_on(name: str, made: Callable[[str], Path]) -> None:
    specimen, file = ZOO[name], made(name)
    known = set(names(onnx.load(file).graph)) if file.suffix == ".onnx" and name != "function_that_draws" else None
    findings = lint(file, engine=specimen.engine)
    assert [SEVERITIES.index(f.severity) for f in findings] == sorted(SEVERITIES.index(f.severity) for f in findings)
    for finding in findings:
        assert finding.file == str(file) and finding.rule is RULES[finding.code]
        assert finding.effect and finding.remedy and finding.message
        assert PLACE.fullmatch(finding.place), finding.place
        if known is not None and finding.code not in ("RR301", "RR302", "RR303"):  # these name what is missing, too
            assert finding.node in known | {""}
        assert "np." not in finding.message and "\n" not in str(finding)
        assert all(text in str(finding) for text in (finding.code, finding.severity, finding.place, finding.message))


@pytest.mark.parametrize("name", [name for name, specimen in ZOO.items() if specimen.shows is not None])
def test_specimen_misbehaves(name: str, made: Callable[[str], Path]) -> None:
    shows = ZOO[name].shows
    assert shows is not None
    shows(made(name))


def test_every_rule_has_a_specimen() -> None:
    assert {code for s in ZOO.values() for code in s.codes} == set(RULES) - {"RR001"}


def test_missing_weights_are_a_note(tmp_path: Path) -> None:
    file = external(tmp_path, [0, 64 * 64 * 4])
    (tmp_path / "model.data").unlink()
    (finding,) = lint(file)
    assert (finding.code, finding.severity) == ("RR001", "note")
    assert "model.data" in finding.message


def test_weights_that_are_cut_off_are_a_note(tmp_path: Path) -> None:
    file = external(tmp_path, [0, 64 * 64 * 4])
    data = tmp_path / "model.data"
    data.write_bytes(data.read_bytes()[:1000])
    assert {(f.code, f.severity) for f in lint(file)} == {("RR001", "note")}


def test_weights_at_one_offset_are_stored_once(tmp_path: Path) -> None:
    assert lint(external(tmp_path, [4096, 4096])) == []


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x08\x0a", bytes(range(256)) * 40])
@pytest.mark.parametrize("suffix", ["onnx", "ort"])
def test_what_is_no_model_is_an_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    file = tmp_path / f"model.{suffix}"
    file.write_bytes(content)
    with pytest.raises(LintError, match=NO_MODEL):
        lint(file)


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LintError, match=NO_MODEL):
        lint(tmp_path / "absent.onnx")


def test_unknown_engines_are_refused(made: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="onnxruntime, openvino"):
        lint(made("shared_draw"), engine="abacus")


@pytest.mark.parametrize("name", ["bernoulli_merged", "merged_sites", "random_in_nested_branch", "rand_in_ort_format"])
def test_a_file_that_is_cut_off_is_an_error_or_has_findings(
    name: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    """Never anything but a LintError, wherever the file ends."""
    content = made(name).read_bytes()
    file = tmp_path / made(name).name
    for end in range(0, len(content), max(1, len(content) // 60)):
        file.write_bytes(content[:end])
        try:
            lint(file)
        except LintError as error:
            assert re.search(NO_MODEL, str(error))
