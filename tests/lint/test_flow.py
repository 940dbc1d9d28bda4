"""What values depend on, where nodes are, and which operators are random: by the schemas, not by a list."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import parser

import rr_export as rr
from rr_export.lint.dataflow import Dataflow, Level, is_random_op, random_op_names
from rr_export.lint.ort_format import load_ort


def flow(text: str) -> Dataflow:
    return Dataflow(ir.from_proto(parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]> {text}')))


def value(found: Dataflow, name: str) -> ir.Value:
    graphs = found.model.graphs()
    return next(v for g in graphs for n in g for v in n.outputs if v.name == name)


def test_random_operators_are_those_that_the_schemas_call_so() -> None:
    """AffineGrid is marked by onnx for the If inside its function body, which draws nothing."""
    names = random_op_names()
    assert {"Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniform"} <= names
    assert not names & {"If", "Loop", "Scan", "SequenceMap", "AffineGrid", "MatMul"}
    marked = onnx.defs.OpSchema.NodeDeterminism.NonDeterministic
    schemas = onnx.defs.get_all_schemas()
    assert names < {s.name for s in schemas if s.node_determinism == marked}


def test_operators_that_onnx_does_not_know_are_not_random() -> None:
    assert not is_random_op("com.microsoft", "FusedMatMul", 1)
    assert not is_random_op("", "Bernoulli", 3)  # newer than that opset


def test_levels() -> None:
    found = flow(
        """g (float[N, 4] x, float[2, 3] fixed) => (float[N, 4] y) {
            c = Constant <value_float = 1.0> ()
            static = Shape (fixed)
            dynamic = Shape (x)
            noise = RandomUniform <shape = [2]> ()
            s = Add (static, static)
            d = Concat <axis = 0> (static, dynamic)
            z = Add (x, noise)
            y = Add (x, c)
        }"""
    )
    levels = {n: found.origin(value(found, n)).level for n in ("c", "s", "d", "noise", "z")}
    assert levels == {
        "c": Level.CONSTANT,
        "s": Level.STATIC,
        "d": Level.SHAPE,
        "noise": Level.CONSTANT,
        "z": Level.INPUT,
    }
    assert [n.op_type for n in found.origin(value(found, "z")).random] == ["RandomUniform"]
    assert not found.origin(value(found, "y")).random


def test_places_and_what_branches_depend_on() -> None:
    found = flow(
        """g (bool c, float[2] x) => (float[2] y) {
            y = If (c) <
                then_branch = t () => (float[2] a) {
                    a = If (c) <
                        then_branch = tt () => (float[2] b) { b = RandomUniformLike (x) },
                        else_branch = te () => (float[2] d) { d = Identity (x) }
                    >
                },
                else_branch = e () => (float[2] f) { f = Identity (x) }
            >
        }"""
    )
    (node,) = found.random
    assert [(owner.outputs[0].name, side) for owner, side in found.place(node)] == [
        ("y", "then_branch"),
        ("a", "then_branch"),
    ]
    assert found.place_name(node) == "then_branch of If 'y' > then_branch of If 'a'"
    assert found.origin(value(found, "y")).random == {node}


def test_a_loop_carries_randomness_round() -> None:
    found = flow(
        """g (int64 n, bool go, float[2] x) => (float[2] y) {
            y, seen = Loop (n, go, x, x) <
                body = b (int64 i, bool k, float[2] p, float[2] q) => (bool k2, float[2] p2, float[2] q2) {
                    k2 = Identity (k)
                    p2 = Identity (q)
                    q2 = RandomUniformLike (q)
                }
            >
        }"""
    )
    assert found.origin(value(found, "p2")).random == set(found.random)
    assert len(found.random) == 1


def test_value_numbers() -> None:
    found = flow(
        """g (float[2] x, float[2] w) => (float[2] y) {
            a = Add (x, w)
            b = Add (x, w)
            c = Add (w, x)
            r = RandomUniformLike (x)
            s = RandomUniformLike (x)
            y = Sum (a, b, c, r, s)
        }"""
    )
    number = {n: found.number(value(found, n)) for n in "abcrs"}
    assert number["a"] == number["b"] != number["c"]
    assert number["r"] != number["s"]


def test_an_ort_file_reads_as_the_model_it_was_made_from(saved: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.ort"):
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / name)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(saved / "model.onnx"), options, providers=["CPUExecutionProvider"])
    expected, got = ir.load(tmp_path / "model.onnx"), load_ort(tmp_path / "model.ort")

    def described(model: ir.Model) -> list[tuple[str, str, int]]:
        return sorted((n.name or "", n.op_type, len(n.attributes)) for n in model.graph.all_nodes())

    assert described(got) == described(expected)
    assert got.metadata_props["rr.manifest"] == expected.metadata_props["rr.manifest"]
    stored = [{k: v.const_value.numpy().tolist() for k, v in m.graph.initializers.items()} for m in (got, expected)]
    assert stored[0] == stored[1]


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\0" * 64, b"\x08\x09"], ids=["empty", "text", "zeros", "no graph"]
)
@pytest.mark.parametrize("suffix", [".onnx", ".ort"])
def test_files_that_are_no_models(content: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"broken{suffix}"
    file.write_bytes(content)
    with pytest.raises(rr.RRExportError, match="expected a"):
        rr.lint(file)


def test_an_unknown_engine_is_an_error(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"expected one of onnxruntime, openvino, got 'tensorrt'"):
        rr.lint(saved, engine="tensorrt")
