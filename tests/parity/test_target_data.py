"""Targets on the inputs that users have: a fault that the golden case does not meet is found there."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.parity.target_check import verify_targets

UNSEEN = 5  # a token that the example has not
Items = Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def bundle() -> rr.Bundle:
    """Tokens -> numbers, with a target of one graph, one of two frozen paths, and one of a fixed batch."""
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(2)]
    model = nn.Sequential(nn.Embedding(8, 4), *layers, nn.Linear(4, 3)).eval()
    rr.route_layers(model, "[12]", keep=0.5)
    made = rr.export(model, (torch.tensor([[1, 2], [3, 4]]),), dynamic_shapes={"input": {0: "batch"}})
    made = rr.package(made, "cuda")
    made = rr.package(made, "cpu", frozen=2, name="two")
    return rr.package(made, "qnn", sizes={"batch": 2})


@pytest.fixture(scope="module")
def data() -> Items:
    tokens = np.random.default_rng(0).integers(0, 8, (3, 6, 2))
    tokens[2, 4:] = UNSEEN  # only the last piece of a fixed batch has it
    tokens[tokens == UNSEEN] = 0
    tokens[2, 5, 1] = UNSEEN
    return [{"input": item} for item in tokens]


def wrong_token(bundle: rr.Bundle, name: str) -> rr.Bundle:
    """Returns the bundle in which a target has another vector for the token that the example has not."""
    models = {}
    for file, model in bundle.targets[name].models.items():
        assert isinstance(model, ir.Model)
        changed = model.clone()
        for table in changed.graph.initializers.values():
            if table.shape == ir.Shape([8, 4]) and table.const_value is not None:
                rows = table.const_value.numpy().copy()
                rows[UNSEEN] += 1
                table.const_value = ir.tensor(rows, name=table.name)
        models[file] = changed
    return replace(bundle, targets={**bundle.targets, name: replace(bundle.targets[name], models=models)})


def test_targets_are_compared_on_data(bundle: rr.Bundle, data: Items) -> None:
    checks = {check.name: check for check in verify_targets(bundle, data=iter(data)).checks}
    assert list(checks) == [f"target {name}{what}" for name in ("cuda", "two", "qnn") for what in ("", ", data")]
    assert checks["target cuda, data"].figures["inputs"] == 3
    assert checks["target qnn, data"].figures["inputs"] == 9, "pieces of two rows"
    assert checks["target cuda, data"].figures["pairs"] == 4 + 4 + 2
    assert checks["target two, data"].figures["pairs"] == 2 + 2 + 2
    assert checks["target cuda, data"].figures["agreement"]["output"]["top1"] == 1


@pytest.mark.parametrize("name", ["cuda", "two", "qnn"])
def test_a_fault_that_the_golden_case_does_not_meet_is_found_on_data(bundle: rr.Bundle, data: Items, name: str) -> None:
    wrong = wrong_token(bundle, name)
    assert verify_targets(wrong, [name]).passed, "the golden case meets it"
    assert verify_targets(wrong, [name], data=data[:2]).passed
    with pytest.raises(rr.ParityError) as told:
        verify_targets(wrong, [name], data=data)
    assert told.value.report is not None
    (failed,) = [check for check in told.value.report.checks if not check.passed]
    assert failed.name == f"target {name}, data"
    assert UNSEEN in failed.worst["input"], "the input with the largest difference is kept"


def test_workers_find_the_same_and_keep_it(bundle: rr.Bundle, data: Items, tmp_path: Path) -> None:
    place = bundle.save(tmp_path / "out")
    alone = verify_targets(place, ["qnn"], data=data).checks[1]
    kept = tmp_path / "kept.jsonl"
    spread = verify_targets(place, ["qnn"], data=data, jobs=2, results=kept).checks[1]
    assert alone.figures == spread.figures
    assert len(kept.read_text().splitlines()) == 1 + 9
    with pytest.raises(ValueError, match="results: expected one target for a file of results, got"):
        verify_targets(place, data=data, results=kept)


@pytest.mark.parametrize(
    ("item", "error", "text"),
    [
        ({"input": np.zeros((2, 2), np.float32)}, TypeError, "data, input 1: input 'input': expected int64"),
        ({"x": np.zeros((2, 2), np.int64)}, ValueError, "data, input 1: input 'x': expected only input"),
        (np.zeros((2, 2), np.int64), TypeError, "data, input 1: inputs: expected a mapping"),
    ],
)
def test_data_that_is_no_input_is_refused(
    bundle: rr.Bundle, data: Items, item: Any, error: type[Exception], text: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=text):
        verify_targets(bundle, data=[data[0], item])
    place = bundle.save(tmp_path / "out")
    with pytest.raises(error, match=text):
        rr.verify_against(place / "model.onnx", place, data=[data[0], item])
