"""What NNAPI and CoreML would take: never nodes in branches for NNAPI, which the stock checker counts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir
import pytest

from rr_export.targets.mobile import ENGINES, MobileUse, mobile_report
from rr_export.targets.onnxruntime_tools import quiet_tools
from rr_export.targets.reroute import reroute
from rr_export.targets.split import split
from tests.targets.cases import NAMES, case


def report(models: dict[str, ir.Model], *, on_subgraphs: bool = True) -> dict[str, MobileUse]:
    return {use.engine: use for use in mobile_report(models, on_subgraphs=on_subgraphs)}


def gated(name: str) -> dict[str, ir.Model]:
    return {"gates.onnx": reroute(case(name).model(), case(name).bundle.plan, "gates")}


@pytest.mark.parametrize("name", NAMES)
def test_nnapi_takes_nothing_in_branches_and_all_of_segments(name: str) -> None:
    use = report(gated(name))["nnapi"]
    assert use.in_branches > use.nodes / 2
    assert use.taken <= use.nodes - use.in_branches
    assert "ai.onnx:If" in use.unsupported
    assert use.checker > use.taken  # the stock checker counts them
    _, segments = split(case(name).model(), case(name).bundle.plan, "seg")
    cut = report(segments)["nnapi"]
    assert (cut.in_branches, cut.taken) == (0, cut.checker)
    assert cut.share > 0.9
    assert cut.partitions >= len(segments)


@pytest.mark.parametrize("name", NAMES)
def test_coreml_takes_branches_only_where_it_is_told_to(name: str) -> None:
    told, untold = report(gated(name)), report(gated(name), on_subgraphs=False)
    for engine in ENGINES[1:]:
        assert told[engine].taken == told[engine].checker
        assert untold[engine].taken <= untold[engine].nodes - untold[engine].in_branches < told[engine].taken


def test_integers_do_not_count() -> None:
    """An explicit file's draws and routes are int64 and uint64: no engine takes more of it than of the gated file."""
    explicit, gates = report({"model.onnx": case("mlp").model()}), report(gated("mlp"))
    for engine in ENGINES:
        assert explicit[engine].taken == gates[engine].taken
        assert explicit[engine].partitions == gates[engine].partitions
        assert explicit[engine].checker > explicit[engine].taken


def test_unknown_sizes_do_not_count() -> None:
    text = '<ir_version: 10, opset_import: ["" : 20]> d (float[N,2] x) => (float[N,2] y) { h = Tanh(x) y = Relu(h) }'
    free, fixed = (ir.from_onnx_text(text.replace("N", size)) for size in ("N", "3"))
    assert [use.taken for use in mobile_report({"d": free})] == [0, 0, 0]
    assert [use.taken for use in mobile_report({"d": fixed})] == [2, 2, 2]


def test_parts_are_counted() -> None:
    model = ir.from_onnx_text(
        """
        <ir_version: 10, opset_import: ["" : 20]>
        parts (float[2] x) => (float[2] y) { a = Relu(x)  b = Erf(a)  c = Sigmoid(b)  d = Erf(c)  y = Tanh(d) }
        """
    )
    use = report({"parts": model})["nnapi"]
    assert (use.nodes, use.taken, use.partitions, use.unsupported) == (5, 3, 3, ("ai.onnx:Erf",))


def test_reporting_is_quiet_and_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    report(gated("conv"))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_the_stock_checker_still_counts_branches() -> None:
    """Where this fails, ONNX Runtime has learnt the rule, and this project's own counting can go."""
    with quiet_tools():
        use = report(gated("mlp"))["nnapi"]
    assert use.checker > use.nodes - use.in_branches
