"""How sessions compute: the defaults, what a caller says over them, and that the options are onnxruntime's."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import onnxruntime
import pytest

from rr_runtime import Session, Tuning
from rr_runtime.provider_options import CPU
from rr_runtime.tuning import FUSIONS, LEFT_OUT, SPINNING, default_tuning, read_tuning

from . import handmade


def config(options: onnxruntime.SessionOptions, key: str) -> str | None:
    try:
        return str(options.get_session_config_entry(key))
    except RuntimeError:
        return None


@pytest.mark.parametrize(
    ("machine", "provider", "left_out"),
    [
        ("x86_64", CPU, ("SkipLayerNormFusion",)),
        ("AMD64", CPU, ("SkipLayerNormFusion",)),
        ("aarch64", CPU, ()),
        ("x86_64", "CUDAExecutionProvider", ()),
    ],
)
def test_what_is_faster_is_the_default_where_it_was_measured(
    machine: str, provider: str, left_out: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert default_tuning(provider) == Tuning(left_out=left_out)


def test_a_tuning_is_said_in_onnxruntimes_options() -> None:
    plain = Tuning().options()
    assert (plain.intra_op_num_threads, plain.enable_cpu_mem_arena) == (0, True)
    assert (config(plain, SPINNING), config(plain, LEFT_OUT)) == (None, None)
    other = Tuning(2, False, False, FUSIONS[:2]).options()
    assert (other.intra_op_num_threads, other.enable_cpu_mem_arena) == (2, False)
    assert (config(other, SPINNING), config(other, LEFT_OUT)) == ("0", ";".join(FUSIONS[:2]))
    assert config(Tuning().options(spinning=False), SPINNING) == "0"
    assert config(Tuning(spinning=True).options(spinning=False), SPINNING) is None


def test_upstream_the_default_leaves_the_fusion_out(tmp_path: Path) -> None:
    """onnxruntime fuses a sum and its normalisation, unless it is told not to by this entry."""
    ends = [oh.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2, 4]) for name in ("x", "y")]
    nodes = [oh.make_node("Add", ["x", "x"], ["s"]), oh.make_node("LayerNormalization", ["s", "one"], ["n"]),
             oh.make_node("Relu", ["n"], ["y"])]  # fmt: skip
    graph = oh.make_graph(nodes, "g", ends[:1], ends[1:], [nh.from_array(np.ones(4, np.float32), "one")])
    made = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 20)], ir_version=9)
    found = []
    for left_out in ((), ("SkipLayerNormFusion",)):
        options = Tuning(left_out=left_out).options()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(tmp_path / "prepared.onnx")
        onnxruntime.InferenceSession(made.SerializeToString(), options, providers=[CPU])
        found.append({node.op_type for node in onnx.load(tmp_path / "prepared.onnx").graph.node})
    assert "SkipLayerNormalization" in found[0] and "SkipLayerNormalization" not in found[1]


def test_the_caller_says_it_over_the_default(bundles: dict[str, Path]) -> None:
    place, default = bundles["explicit"], default_tuning(CPU)
    assert Session(place).tuning == Session(place, provider="auto").tuning == default
    assert Session(place, threads=1).tuning == Tuning(1, left_out=default.left_out)
    asked = Tuning(threads=2, spinning=False, arena=False)
    assert Session(place, tuning=asked).tuning == asked
    assert Session(place, tuning=asked, threads=1).tuning == Tuning(1, False, False)
    assert Session(place, session_options=onnxruntime.SessionOptions()).tuning is None
    for session in (Session(place, tuning=asked), Session(place, tuning=Tuning(left_out=FUSIONS))):
        assert session.check() == 4
        assert session.run(handmade.example(), seed=7).path is not None


def test_a_tuning_beside_session_options_is_refused(bundles: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"^tuning: expected None beside session_options, got threads as "):
        Session(bundles["explicit"], tuning=Tuning(), session_options=onnxruntime.SessionOptions())
    with pytest.raises(TypeError, match=r"^tuning: expected a Tuning, got dict; pass rr_runtime.Tuning"):
        Session(bundles["explicit"], tuning={"threads": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"threads": 0}, ValueError, "^threads: expected an integer >= 1, got 0"),
        ({"threads": True}, TypeError, "^threads: expected an integer >= 1, got bool"),
        ({"spinning": 1}, TypeError, "^spinning: expected True, False or None, got 1"),
        ({"arena": None}, TypeError, "^arena: expected True or False, got None"),
        ({"left_out": ["SkipLayerNormFusion"]}, TypeError, "^left_out: expected a tuple of different names"),
        ({"left_out": FUSIONS[:1] * 2}, TypeError, "^left_out: expected a tuple of different names"),
        ({"left_out": ("ConstantFolding",)}, ValueError, "^left_out: expected names of SkipLayerNormFusion, .*, got "),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Tuning(**fields)


def test_a_tuning_is_read_as_it_was_written() -> None:
    for tuning in (Tuning(), Tuning(1, False, False, FUSIONS), Tuning(spinning=True)):
        assert read_tuning(tuning.to_json()) == tuning
    assert str(Tuning()) == "threads as onnxruntime has them"
    assert str(Tuning(2, False, False, FUSIONS[:1])) == (
        "threads 2, threads do not wait actively, memory is not kept, without SkipLayerNormFusion"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"threads": (os.cpu_count() or 1) + 1},
        {"threads": 0},
        {"threads": "2"},
        {"threads": 1.0},
        {"threads": True},
        {"spinning": "no"},
        {"arena": 0},
        {"left_out": "SkipLayerNormFusion"},
        {"left_out": ["ConstantFolding"]},
        {"left_out": ["SkipLayerNormFusion;ConstantFolding"]},
        {"left_out": [{}]},
        {"left_out": ["SkipLayerNormFusion"] * 9},
        {"library": "/tmp/evil.so"},
    ],
    ids=str,
)
def test_a_strangers_tuning_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_tuning(Tuning().to_json() | change)


@pytest.mark.parametrize("found", [None, [], "fast", {}, {"threads": 1}], ids=str)
def test_what_is_no_tuning_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match=r"^a tuning: expected threads, spinning, arena, left_out, got"):
        read_tuning(found)
