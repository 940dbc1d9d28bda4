"""Every small change to the part of our files that decides is found, if it changes anything at all.

Not among them: bodies of an ``If`` that change places. The file then routes as its manifest says, to other branches;
only a comparison with the model (``rr-export verify``) or with the original finds that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from rr_export.lint.finding import Finding
from rr_export.lint.linter import lint
from tests import nets
from tests.lint.sabotaged import loaded, save

SEEDS = 40
SWAPS = {
    "Add": "Sub",
    "BitwiseXor": "BitwiseAnd",
    "Equal": "GreaterOrEqual",
    "GreaterOrEqual": "Greater",
    "Greater": "GreaterOrEqual",
    "Less": "LessOrEqual",
    "Min": "Max",
    "Mul": "Add",
    "ReduceSum": "ReduceMax",
    "Sub": "Add",
}
Mutant = tuple[str, onnx.ModelProto]


def mutants(name: str, interface: str) -> Iterator[Mutant]:
    """Yields copies with one change each, and what it is."""
    original = loaded(interface, name=name)
    for number, tensor in enumerate(original.graph.initializer):
        if tensor.name.startswith("rr/"):
            value = numpy_helper.to_array(tensor)
            for what, changed in _changed(value):
                model = loaded(interface, name=name)
                model.graph.initializer[number].CopyFrom(numpy_helper.from_array(changed, tensor.name))
                yield f"{tensor.name} {what}", model
    for number, node in enumerate(original.graph.node):
        if node.op_type in SWAPS and node.name.startswith("rr/"):
            model = loaded(interface, name=name)
            model.graph.node[number].op_type = SWAPS[node.op_type]
            yield f"{node.name} becomes {SWAPS[node.op_type]}", model
        if node.op_type == "Where" and node.name.startswith("rr/"):
            model = loaded(interface, name=name)
            changed_node = model.graph.node[number]
            changed_node.input[1], changed_node.input[2] = changed_node.input[2], changed_node.input[1]
            yield f"{node.name} swaps its sides", model


def _changed(value: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    one = value.dtype.type(1) if value.dtype.kind in "iu" else value.dtype.type(0.11)
    yield "is larger", (value + one).astype(value.dtype)
    yield "is zero", np.zeros_like(value)
    if value.size > 1:
        yield "is turned around", np.flip(value).copy()
        last = value.copy()
        last.flat[-1] += one
        yield "has another last number", last


def behaviour(model: onnx.ModelProto, sites: int) -> list[np.ndarray] | str:
    """Outputs for some seeds, with every third route forced in every other run; or why it does not run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = []
        for seed in range(SEEDS):
            forced = np.full(sites, -1, np.int64)
            forced[seed % 3 :: 3] = [-1, 0, 5, 1][seed % 4]
            fed = {"rr_seed": np.array(seed, np.int64), "rr_path": forced}
            fed["rr_draws"] = np.random.default_rng(seed).random(sites, np.float32)
            named = {i.name for i in session.get_inputs()}
            fed = {name: value for name, value in fed.items() if name in named}
            (user,) = named - set(fed)
            found += session.run(None, {**fed, user: nets.example().numpy()})
        return found
    except Exception as error:  # onnxruntime's own have no common base
        return type(error).__name__


def differs(a: list[np.ndarray] | str, b: list[np.ndarray] | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) != isinstance(b, str)
    return not all(x.shape == y.shape and np.allclose(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("interface", ["explicit", "host"])
@pytest.mark.parametrize(
    "name",
    [
        "steps",
        "operations",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("chained", "nested", "everything")),
    ],
)
def test_changes_that_change_anything_are_found(name: str, interface: str, tmp_path: Path) -> None:
    sites = {"steps": 3, "chained": 3, "nested": 2, "operations": 1, "everything": 6}[name]
    original = behaviour(loaded(interface, name=name), sites)
    assert not isinstance(original, str)
    missed, count = [], 0
    for what, model in mutants(name, interface):
        if not differs(behaviour(model, sites), original):
            continue
        count += 1
        if not _errors(lint(save(model, tmp_path))):
            missed.append(what)
    assert count > 5
    assert missed == []


def _errors(findings: list[Finding]) -> set[str]:
    return {f.code for f in findings if f.severity == "error"}
