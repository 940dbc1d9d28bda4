"""Files with gates: the same routes, outputs and probabilities as the model, and sabotaged files that are rejected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

import rr_export as rr
from rr_export.bundle.bundle import Bundle
from rr_export.capture.request import bind
from rr_export.errors import CaptureError, LoweringError, PackageError
from rr_export.lint.linter import lint
from rr_export.lowering.sink import SITE_KEY
from rr_export.parity.verify import verify_points
from rr_runtime import Session
from rr_runtime.errors import BundleError
from rr_runtime.manifest import Manifest
from tests import nets

X = torch.randn(4, nets.WIDTH, generator=torch.Generator().manual_seed(1))
AXES = {"input": {0: "batch"}}


def exported(model: torch.nn.Module, **options: Any) -> Bundle:
    return rr.export(model, (X,), dynamic_shapes=AXES, **options)


@pytest.mark.parametrize("interface", ["explicit", "host"])
@pytest.mark.parametrize("decision", ["sample", "argmax"])
def test_the_file_takes_the_routes_of_the_model(decision: str, interface: str, tmp_path: Path) -> None:
    model = nets.gated(decision)
    session = Session(exported(model, interface=interface).save(tmp_path / "out"))
    paths = set()
    for number in range(16):
        numbers = torch.Generator().manual_seed(number)
        x = torch.randn(3, nets.WIDTH, generator=numbers) + 3 * torch.randn(1, nets.WIDTH, generator=numbers)
        for seed in range(6):
            with rr.seeded(model, seed) as record, torch.no_grad():
                expected = model(x).numpy()
            found = session.run({"input": x.numpy()}, seed=seed)
            assert found.path is not None
            assert found.path.tolist() == record.path.tolist()
            np.testing.assert_allclose(found.outputs["output"], expected, rtol=1e-4, atol=1e-5)
            again = session.run({"input": x.numpy()}, path=found.path)
            assert again.path is not None
            assert np.array_equal(again.path, found.path)
            paths.add(tuple(found.path.tolist()))
    assert len({path[0] for path in paths}) == 2
    assert {path[3] for path in paths} >= ({-1, 0, 1} if decision == "sample" else {-1, 0})


def test_every_path_can_be_forced_whatever_the_gates_say(tmp_path: Path) -> None:
    model = nets.gated()
    session = Session(exported(model).save(tmp_path / "out"))
    for path in rr.plan_of(model).paths():
        with rr.forced(model, path), torch.no_grad():
            expected = model(X).numpy()
        found = session.run({"input": X.numpy()}, path=path)
        assert found.path is not None
        assert tuple(found.path.tolist()) == path
        np.testing.assert_allclose(found.outputs["output"], expected, rtol=1e-4, atol=1e-5)


def test_reported_probabilities_are_outputs_and_zeros_where_not_reached(tmp_path: Path) -> None:
    model = nets.gated(report=True)
    session = Session(exported(model).save(tmp_path / "out"))
    assert [tensor.name for tensor in session.outputs] == ["output", "0.probabilities", "2.branches.1.1.probabilities"]
    for path in ([1, 0, 0, -1, -1, 1], [0, 1, 1, 2, 1, 0]):
        with rr.forced(model, path) as record, torch.no_grad():
            model(X)
        found = session.run({"input": X.numpy()}, path=path).outputs
        for site, name in ((0, "0.probabilities"), (3, "2.branches.1.1.probabilities")):
            logits = record.logits[-1].get(site)
            count = found[name].shape[0]
            expected = np.zeros(count) if logits is None else np.exp(logits.numpy()) / np.exp(logits.numpy()).sum()
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decision", ["sample", "argmax"])
def test_verify_proves_gates(decision: str) -> None:
    model = nets.gated(decision, report=True)
    report = rr.verify(exported(model), model, (X,))
    check = {check.name: check for check in report.checks}["gates"]
    assert check.passed
    assert check.figures["draws"] > 50


@pytest.mark.parametrize(("decision", "interface"), [("sample", "explicit"), ("argmax", "host")])
def test_bug_a_model_whose_sites_are_all_gates_is_proven(decision: str, interface: str) -> None:
    branches = [torch.nn.Linear(nets.WIDTH, nets.WIDTH) for _ in range(2)]
    site = rr.OperationChoice(branches, rr.Gate(nets.PooledLogits(2), 2, decision=decision))
    model = torch.nn.Sequential(site).eval()
    rr.plan_of(model)
    report = rr.verify(exported(model, interface=interface), model, (X,))
    assert {check.name for check in report.checks if check.passed} >= {"paths", "law", "gates"}


def other_draw(model: ir.Model) -> None:
    """A gate reads the draw of another site."""
    gathers = [n for n in nodes_of(model, "Gather") if "gate" in str(n.inputs[1].name)]
    draws = next(node for node in gathers if node.inputs[0].name == "rr_draws")
    inserted_draw(draws)


def inserted(node: ir.Node, operator: str, number: float) -> None:
    """The first input of the node is combined with a number before."""
    given = node.inputs[0]
    assert given is not None and given.dtype is not None and node.graph is not None
    constant = ir.node("Constant", [], {"value": ir.tensor(np.array(number, given.dtype.numpy()))})
    changed = ir.node(operator, [given, constant.outputs[0]])
    constant.outputs[0].name, changed.outputs[0].name = f"{node.name}_number", f"{node.name}_changed"
    node.graph.insert_before(node, [constant, changed])
    node.replace_input_with(0, changed.outputs[0])


def nodes_of(model: ir.Model, kind: str) -> list[ir.Node]:
    return [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.op_type == kind]


def inserted_draw(node: ir.Node) -> None:
    """The node reads another draw."""
    assert node.graph is not None
    constant = ir.node("Constant", [], {"value": ir.tensor(np.array([1]))})
    constant.outputs[0].name = f"{node.name}_other"
    node.graph.insert_before(node, constant)
    node.replace_input_with(1, constant.outputs[0])


def halved(model: ir.Model) -> None:
    """Cumulated probabilities that are half as large."""
    for node in nodes_of(model, "Ceil"):
        inserted(node, "Mul", 0.5)


def slightly_moved(model: ir.Model) -> None:
    """Cumulated probabilities that are too large by a thousandth."""
    for node in nodes_of(model, "Ceil"):
        inserted(node, "Add", 2.0**24 * 1e-3)


def frozen(model: ir.Model) -> None:
    """The probabilities are constants: those of zeros."""
    for node in nodes_of(model, "Softmax"):
        inserted(node, "Mul", 0.0)


@pytest.mark.parametrize("sabotage", [other_draw, halved, slightly_moved, frozen])
def test_a_file_whose_gates_decide_otherwise_is_rejected(sabotage: Callable[[ir.Model], None], tmp_path: Path) -> None:
    model = nets.gated()
    bundle = exported(model)
    broken = bundle.model.clone()
    sabotage(broken)
    spoilt = replace(bundle, model=broken)
    spoilt.save(tmp_path / "out")
    checks = verify_points(spoilt, tmp_path / "out", bind(model, (X,)), points=("gates", "paths", "law"))
    assert {check.name: check.passed for check in checks} == {"gates": False, "paths": True, "law": True}
    assert "take route" in {check.name: check for check in checks}["gates"].failures[0]


def test_lint_finds_gates_that_no_longer_decide(tmp_path: Path) -> None:
    bundle = exported(nets.gated())
    bundle.save(tmp_path / "sound")
    assert not lint(tmp_path / "sound")
    broken = bundle.model.clone()
    for node in ir.traversal.RecursiveGraphIterator(broken.graph):
        if node.op_type == "If" and node.metadata_props.get(SITE_KEY) == "0":
            always = ir.node("Constant", [], {"value": ir.tensor(np.array([True]))})
            always.outputs[0].name = "always"
            node.graph.insert_before(node, always)
            node.replace_input_with(0, always.outputs[0])
    replace(bundle, model=broken).save(tmp_path / "broken")
    found = lint(tmp_path / "broken")
    findings = {finding.code: finding for finding in found}
    assert findings.keys() == {"RR201", "RR304"}  # a constant condition is one of any file
    assert "no longer depends on the asked path and its draw and the input" in findings["RR304"].message


def test_a_profile_may_take_the_place_of_a_gate_or_leave_it(tmp_path: Path) -> None:
    model = nets.gated()
    bundle = exported(model)
    never = bundle.plan.with_policies({"0": rr.Categorical([1.0, 0.0])})
    less = bundle.plan.with_policies({"2": rr.Categorical([1.0, 0.0])})
    bundle = bundle.with_profile("never", never).with_profile("less", less)
    session = Session(bundle.save(tmp_path / "out"))
    for seed in range(20):
        plain = session.run({"input": X.numpy()}, seed=seed).path
        one = session.run({"input": X.numpy()}, seed=seed, profile="never").path
        other = session.run({"input": X.numpy()}, seed=seed, profile="less").path
        assert plain is not None and one is not None and other is not None
        assert one[0] == 0 and one[2] == plain[2]
        assert other[0] == plain[0] and other[2] == 0
    assert rr.verify(bundle, model, (X,)).passed
    with pytest.raises(ValueError, match="expected a law for site '2', got Gated"):
        bundle.with_profile("no", bundle.plan.with_policies({"2": bundle.plan.sites[0].policy}))


def test_what_a_gate_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match="standalone: expected sites whose routes do not depend on the input, got"):
        exported(nets.gated(), interface="standalone")
    bundle = exported(nets.gated())
    for target, options in (("qnn", {"sizes": {"batch": 4}}), ("cuda", {}), ("cpu", {"frozen": 2})):
        with pytest.raises(PackageError, match="expected sites whose routes are known before the run, got '0'"):
            rr.package(bundle, target, **options)
    static = rr.freeze(bundle, [1, 1, 1, 2, 0, 1])
    model = nets.gated()
    with rr.forced(model, [1, 1, 1, 2, 0, 1]), torch.no_grad():
        expected = model(X).numpy()
    found = Session(static.save(tmp_path / "static")).run({"input": X.numpy()}).outputs["output"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_gated_site_that_is_called_twice_is_not_captured() -> None:
    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = rr.LayerChoice(nets.Mlp(), policy=rr.Gate(nets.PooledLogits(2), 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.site(self.site(x))
            return result

    with pytest.raises(CaptureError, match="site 'site': expected one call of a site with a gate, got a second one"):
        rr.export(Twice().eval(), (X,))


def test_a_damaged_manifest_with_gates_is_refused() -> None:
    told = dict(exported(nets.gated()).manifest)
    first, *others = told["sites"]
    assert Manifest.parse(told).sites[0].policy.decision == "sample"
    for interface in ("gates", "standalone"):
        with pytest.raises(BundleError, match="interface: expected one of explicit, host, as the input decides"):
            Manifest.parse({**told, "interface": interface})
    unknown = {**first, "policy": {"type": "gate", "decision": "best"}}
    with pytest.raises(BundleError, match="decision: expected"):
        Manifest.parse({**told, "sites": [unknown, *others]})
    with pytest.raises(BundleError, match="decision"):
        Manifest.parse({**told, "sites": [{**first, "policy": {"type": "gate"}}, *others]})
    policies = [site["policy"] for site in told["sites"]]
    with pytest.raises(BundleError, match="a law of its own for site '2', at which no gate decides so"):
        Manifest.parse({**told, "profiles": {"no": {"policies": [*policies[:2], policies[0], *policies[3:]]}}})
