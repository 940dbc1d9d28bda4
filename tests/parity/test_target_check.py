"""The proof of targets: what holds, and every way in which a target is made wrong must be found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes
import pytest
from torch import nn

import rr_export as rr
from rr_export.bundle.contents import TargetFiles
from rr_export.parity.target_check import verify_targets
from rr_export.targets.reroute import gate_name
from tests import nets

BATCH = {"batch": 3}


@pytest.fixture(scope="module")
def bundle(everything_bundle: rr.Bundle) -> rr.Bundle:
    made = rr.package(everything_bundle, "cuda")
    made = rr.package(made, "qnn", sizes=BATCH)
    return rr.package(made, "cpu", frozen=8, name="eight")


def test_targets_hold(bundle: rr.Bundle) -> None:
    report = verify_targets(bundle)
    assert [check.name for check in report.checks] == ["target cuda", "target qnn", "target eight"]
    assert report.passed and all(check.figures["largest_difference"] < 1e-6 for check in report.checks)
    assert report.checks[0].figures["paths"] == 128 and report.checks[2].figures["frozen_paths"] == 8


def test_verify_proves_targets_against_the_eager_model(bundle: rr.Bundle, everything_model: nn.Module) -> None:
    report = rr.verify(bundle, everything_model, (nets.example(),))
    assert [check.name for check in report.checks][-3:] == ["target cuda", "target qnn", "target eight"]


def weights_of(model: ir.Model) -> list[ir.Value]:
    return [v for v in model.graph.initializers.values() if v.const_value is not None and v.const_value.size > 4]


def perturb_weight(target: TargetFiles) -> None:
    for model in target.models.values():
        assert isinstance(model, ir.Model)
        for value in weights_of(model)[:1]:
            assert value.const_value is not None
            array = value.const_value.numpy().copy()
            array.flat[0] += np.asarray(0.1, array.dtype)
            value.const_value = ir.tensor(array, name=value.name)


def swap_gates(target: TargetFiles) -> None:
    (model,) = target.models.values()
    assert isinstance(model, ir.Model)
    first, second = (next(v for v in model.graph.inputs if v.name == gate_name(s, 1)) for s in (2, 3))
    first.name, second.name = "swap", first.name
    first.name = gate_name(3, 1)


def freeze_a_gate(target: TargetFiles) -> None:
    (model,) = target.models.values()
    assert isinstance(model, ir.Model)
    gate = next(v for v in model.graph.inputs if v.name == gate_name(2, 1))
    always = ir.Value(name="always", const_value=ir.tensor(np.array([True]), name="always"))
    model.graph.register_initializer(always)
    ir.convenience.replace_all_uses_with(gate, always)


def swap_branches(target: TargetFiles) -> None:
    step = next(step for step in target.about["program"] if step.get("site") == 2)
    step["branches"].reverse()


def swap_parameter_sets(target: TargetFiles) -> None:
    step = next(step for step in target.about["program"] if step.get("site") == 5)
    step["branches"][2], step["branches"][3] = step["branches"][3], step["branches"][2]


def swap_frozen_files(target: TargetFiles) -> None:
    first, second = target.about["paths"][:2]
    first["model"], second["model"] = second["model"], first["model"]


def misstate_distance(target: TargetFiles) -> None:
    target.about["distance"]["total_variation"] /= 2


def misstate_weights(target: TargetFiles) -> None:
    rows = target.about["paths"]
    order = sorted(range(len(rows)), key=lambda i: rows[i]["weight"])
    a, b = rows[order[0]], rows[order[-1]]
    a["weight"], b["weight"] = b["weight"], a["weight"]


def move_threshold(target: TargetFiles) -> None:
    target.about["thresholds"][:] = [0.0] * len(target.about["thresholds"])


def misstate_site(target: TargetFiles) -> None:
    target.about["distance"]["site_variation"] = 0.0


def state_nothing(target: TargetFiles) -> None:
    del target.about["distance"]  # type: ignore[attr-defined]


def loosen(target: TargetFiles) -> None:
    target.about["rtol"] = 1e9  # type: ignore[index]


def state_a_share(target: TargetFiles) -> None:
    target.about["share"] = 0.9  # type: ignore[index]


def compute_both(target: TargetFiles) -> None:
    """Every branch is computed, and one taken by Where."""
    (model,) = target.models.values()
    assert isinstance(model, ir.Model)
    while choices := [n for n in model.graph if n.op_type == "If"]:
        node = choices[0]
        results = []
        for name in ("then_branch", "else_branch"):
            body = node.attributes[name].as_graph()
            outputs = list(body.outputs)
            body.outputs.clear()
            for value in list(body.initializers.values()):
                del body.initializers[value.name or ""]
                model.graph.register_initializer(value)
            nodes = list(body)
            body.remove(nodes)
            model.graph.insert_before(node, nodes)
            results.append(outputs)
        for old, a, b in zip(node.outputs, *results, strict=True):
            chosen = ir.node("Where", [node.inputs[0], a, b])
            model.graph.insert_before(node, chosen)
            made, label, named = chosen.outputs[0], old.name, old.is_graph_output()
            made.type, made.shape = old.type, old.shape
            ir.convenience.replace_all_uses_with(old, made, replace_graph_outputs=True)
            if named:
                old.name, made.name = None, label
        model.graph.remove(node, safe=True)
    ir_passes.NameFixPass()(model)


def never_keep(target: TargetFiles) -> None:
    for row in target.about["paths"]:
        row["keep"] = 0.0


SABOTAGED: list[tuple[str, Callable[[TargetFiles], None], str]] = [
    ("cuda", perturb_weight, "further apart"),
    ("cuda", swap_gates, "further apart|nearer to"),
    ("cuda", freeze_a_gate, "further apart|nearer to"),
    ("cuda", compute_both, "If"),
    ("cuda", loosen, "expected a tolerance of at most"),
    ("qnn", state_a_share, "expected a tolerance of at most"),
    ("qnn", perturb_weight, "further apart"),
    ("qnn", swap_branches, "further apart|nearer to"),
    ("qnn", swap_parameter_sets, "further apart|nearer to"),
    ("eight", perturb_weight, "further apart"),
    ("eight", swap_frozen_files, "further apart|nearer to"),
    ("eight", misstate_distance, "distance: expected a total variation"),
    ("eight", misstate_site, "distance: expected a site variation"),
    ("eight", state_nothing, "got the statement None"),
    ("eight", misstate_weights, "expected probability|expected a total variation"),
    ("eight", move_threshold, "expected probability"),
    ("eight", never_keep, "expected probability"),
]


@pytest.mark.parametrize(("name", "change", "message"), SABOTAGED, ids=[f"{n}-{c.__name__}" for n, c, _ in SABOTAGED])
def test_a_sabotaged_target_is_found(
    name: str, change: Callable[[TargetFiles], None], message: str, bundle: rr.Bundle
) -> None:
    good = bundle.targets[name]
    models: dict[str, Any] = {n: m.clone() if isinstance(m, ir.Model) else m for n, m in good.models.items()}
    bad = TargetFiles(copy.deepcopy(dict(good.about)), models)
    change(bad)
    sabotaged = replace(bundle, targets={**bundle.targets, name: bad}, path=None)
    with pytest.raises(rr.ParityError, match="expected the same model") as caught:
        verify_targets(sabotaged, [name])
    (check,) = caught.value.report.checks
    assert any(part in text for text in check.failures for part in message.split("|")), check.failures[:3]


def test_a_target_that_does_not_open_fails(bundle: rr.Bundle) -> None:
    good = bundle.targets["cuda"]
    bad = replace(bundle, targets={"cuda": TargetFiles(good.about, {"cuda.onnx": b"nothing"})}, path=None)
    with pytest.raises(rr.ParityError, match="it does not open"):
        verify_targets(bad)


def test_what_is_asked_for_must_be_there(bundle: rr.Bundle, everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected targets of the bundle \(cuda, qnn, eight\), got \['tpu'\]"):
        verify_targets(bundle, ["tpu"])
    with pytest.raises(ValueError, match=r"expected targets of the bundle \(none\)"):
        verify_targets(everything_bundle)
    with pytest.raises(ValueError, match="expected inputs"):
        verify_targets(replace(bundle, golden=(), path=None))


def test_tolerances_are_the_callers(bundle: rr.Bundle) -> None:
    with pytest.raises(ValueError, match="rtol finite and >= 0"):
        verify_targets(bundle, ["cuda"], rtol=-1)
    half = rr.package(rr.Bundle(bundle.model, bundle.manifest, bundle.golden), "qnn", sizes=BATCH)
    assert verify_targets(half, rtol=0, atol=0).checks[0].figures["largest_difference"] == 0
