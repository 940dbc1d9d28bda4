"""Every form of a model takes the same paths and gives the same outputs as the routed model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.targets.freeze import freeze
from rr_export.targets.reroute import gate_name, ifs_by_key, reroute
from rr_export.targets.split import split
from rr_runtime import Session
from tests import nets
from tests.conftest import nodes_named

SEEDS = (*range(40), 2**31, 2**62, 2**63 - 1)
BATCH = {"batch": nets.example().shape[0]}
FORMS = {
    "gates": {"target": "cuda"},
    "host": {"target": "openvino", "form": "routed", "sizes": BATCH},
    "openvino": {"target": "openvino"},
    "leaf": {"target": "xnnpack", "sizes": BATCH},
    "segments": {"target": "qnn", "sizes": BATCH},
    "all": {"target": "cpu", "frozen": 128},
}


@pytest.fixture(scope="module")
def packaged(everything_bundle: rr.Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = everything_bundle
    for name, options in FORMS.items():
        made = rr.package(made, name=name, **options)
    return made.save(tmp_path_factory.mktemp("forms") / "bundle")


@pytest.fixture(scope="module")
def routed(packaged: Path) -> Session:
    return Session(packaged, target="default")


@pytest.mark.parametrize("name", FORMS)
def test_outputs_are_those_of_the_routed_model_on_every_path(
    name: str, packaged: Path, routed: Session, everything_bundle: rr.Bundle
) -> None:
    session = Session(packaged, target=name)
    assert session.target == name
    inputs = {"x": nets.example().numpy()}
    for path in everything_bundle.plan.paths():
        expected, got = routed.run(inputs, path=path), session.run(inputs, path=path)
        assert got.path is not None and got.path.tolist() == list(path)
        for output, array in expected.outputs.items():
            np.testing.assert_allclose(got.outputs[output], array, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", FORMS)
def test_seeds_take_the_same_paths(name: str, packaged: Path, routed: Session) -> None:
    session = Session(packaged, target=name)
    inputs = {"x": nets.example().numpy()}
    for seed in SEEDS:
        assert session.run(inputs, seed=seed).path.tolist() == routed.run(inputs, seed=seed).path.tolist()
        mixed = [-1, 1, 0, -1, 1, -1]
        expected = routed.run(inputs, seed=seed, path=mixed).path.tolist()
        assert session.run(inputs, seed=seed, path=mixed).path.tolist() == expected
    assert session.check() == len(session.manifest.golden) >= 3


def test_gates_leave_nothing_of_the_routing(everything_bundle: rr.Bundle) -> None:
    keys = list(ifs_by_key(everything_bundle.model.graph))
    model = reroute(everything_bundle.model.clone(), everything_bundle.plan, "gates")
    assert [v.name for v in model.graph.inputs] == ["x", *(gate_name(*key) for key in keys)]
    assert [v.name for v in model.graph.outputs] == ["y", "aux.0"]
    assert not nodes_named(model, "RandomUniformLike")
    assert not [n for n in model.graph if (n.name or "").startswith("rr/")]
    assert len(nodes_named(model, "If")) == len(nodes_named(everything_bundle.model, "If"))


@pytest.mark.parametrize("interface", ["explicit", "host", "standalone"])
def test_rerouting_to_the_same_interface_gives_the_same_graph(everything_model: nn.Module, interface: str) -> None:
    bundle = rr.export(everything_model, (nets.example(),), interface=interface)
    again = reroute(bundle.model.clone(), bundle.plan, interface)
    assert sorted(n.op_type for n in again.graph) == sorted(n.op_type for n in bundle.model.graph)
    assert [v.name for v in again.graph.inputs] == [v.name for v in bundle.model.graph.inputs]
    assert [v.name for v in again.graph.outputs] == [v.name for v in bundle.model.graph.outputs]


def test_segments_have_no_if_and_each_weight_once(everything_bundle: rr.Bundle) -> None:
    program, models = split(everything_bundle.model.clone(), everything_bundle.plan, "part")
    assert list(models) == [f"part.{i}.onnx" for i in range(len(models))]
    assert all(not nodes_named(model, "If") for model in models.values())
    counts = {op: len(nodes_named(everything_bundle.model, op)) for op in ("MatMul", "Gemm", "Relu", "ReduceMean")}
    for op, count in counts.items():
        assert sum(len(nodes_named(model, op)) for model in models.values()) == count
    assert [step.get("site") for step in program if "site" in step] == [0, 2, 3, 4, 5, 2]
    tensors = {id(v.const_value) for m in models.values() for v in m.graph.initializers.values() if v.const_value}
    originals = {id(v.const_value) for v in everything_bundle.model.graph.initializers.values()}
    shared = [t for t in originals if t in tensors]
    assert len(shared) >= 10  # segments point to the bundle's own tensors, no copies


def test_a_skip_has_no_file(everything_bundle: rr.Bundle) -> None:
    program, _ = split(everything_bundle.model.clone(), everything_bundle.plan, "part")
    skips = [step["branches"][0] for step in program if step.get("site") in (2, 3, 4)]
    assert all(branch["steps"] == [] for branch in skips) and len(skips) == 4


def test_frozen_files_are_static(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    file = freeze(everything_bundle, [2, 0, 1, 1, 0, 3]).save(tmp_path / "frozen.onnx")
    session = Session(file)
    assert session.manifest.interface == "plain" and session.sites == ()
    model = ir.load(file)
    assert not [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "If" or n.metadata_props]
    assert [v.name for v in model.graph.inputs] == ["x"]
    assert rr.load(file).manifest["frozen"]["path"] == [2, 0, 1, 1, 0, 3]
    assert all(v.uses() for v in model.graph.initializers.values())


def test_frozen_keeps_the_golden_cases_of_its_path(everything_bundle: rr.Bundle, tmp_path: Path) -> None:
    path = everything_bundle.golden[0].taken
    folder = freeze(everything_bundle, path).save(tmp_path / "frozen")
    assert Session(folder).check() == sum(case.taken == path for case in everything_bundle.golden)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ([1, 0, 0, 0, 0], "path"),
        ([3, 0, 0, 0, 0, 0], "path"),
        ([-1, 0, 0, 0, 0, 0], "expected a route for site 'op', which is reached"),
        ([2, -1, 0, 0, 0, 0], "expected a route for site 'op.branches.2.0', which is reached"),
    ],
)
def test_an_incomplete_path_is_refused(path: list[int], message: str, everything_bundle: rr.Bundle) -> None:
    with pytest.raises(ValueError, match=message):
        freeze(everything_bundle, path)


def test_weights_are_stored_once(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(rr.LayerChoice(nn.Linear(64, 64), 0.5) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    bundle = rr.export(
        Wide().eval(), (torch.ones(2, 64),), target=["cuda", "qnn", "xnnpack"], dynamic_shapes={"x": {0: "batch"}},
        sizes={"batch": 2},
    )  # fmt: skip
    bundle = rr.package(bundle, "cpu", frozen=8)
    folder = bundle.save(tmp_path / "wide")
    weights = 3 * 64 * 64 * 4
    assert weights <= (folder / "model.onnx.data").stat().st_size <= weights + 4096 * 4
    assert sum(file.stat().st_size for file in folder.glob("*.onnx")) < weights
    session = Session(folder, target="default")
    for name in bundle.targets:
        assert Session(folder, target=name).run({"x": np.ones((2, 64), np.float32)}, path=[1, 0, 1]).path is not None
    again = rr.load(folder)
    again.save(tmp_path / "again")
    assert (tmp_path / "again" / "model.onnx.data").read_bytes() == (folder / "model.onnx.data").read_bytes()
    assert session.check() == len(session.manifest.golden) >= 3
