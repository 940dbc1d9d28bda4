"""Half precision: every form of every net, every path; what decides does not change by a bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.bundle.contents import TargetFiles
from rr_export.bundle.weights import initializers
from rr_export.lowering.sink import SITE_KEY
from rr_export.targets.freeze import freeze_model
from rr_export.targets.half import to_half
from rr_export.targets.onnxruntime_tools import quiet_tools
from rr_export.targets.reroute import reroute
from rr_export.targets.split import split
from rr_runtime import Session
from tests.targets.cases import HALF, NAMES, Form, case, open_form, worst_share

INTERFACES = ("explicit", "host", "gates")


def routed(name: str, interface: str) -> ir.Model:
    of = case(name)
    return of.model() if interface == "explicit" else reroute(of.model(), of.bundle.plan, interface)


def routed_form(model: ir.Model, interface: str) -> Form:
    return {"precision": "float16", "form": "routed", "interface": interface, "model": "half.onnx"}, {
        "half.onnx": model
    }


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("name", NAMES)
def test_every_path_of_a_routed_model_is_near(name: str, interface: str, tmp_path: Path) -> None:
    assert worst_share(case(name), routed_form(to_half(routed(name, interface)), interface), tmp_path) < HALF


@pytest.mark.parametrize("name", NAMES)
def test_segments_and_frozen_paths_are_near(name: str, tmp_path: Path) -> None:
    of = case(name)
    program, files = split(of.model(), of.bundle.plan, "half")
    about = {"precision": "float16", "form": "segments", "program": program}
    assert worst_share(of, (about, {file: to_half(model) for file, model in files.items()}), tmp_path) < HALF
    path = of.paths[-1]
    content = ir.to_proto(to_half(freeze_model(of.model(), path))).SerializeToString()
    got = onnxruntime.InferenceSession(content).run(None, of.inputs)[0]
    wanted = Session(tmp_path / "bundle", target="default").run(of.inputs, path=path).outputs
    expected = next(iter(wanted.values()))
    assert np.abs(got - expected).max() / expected.std() < 2 * HALF


@pytest.mark.parametrize("interface", INTERFACES)
def test_seeds_take_the_same_paths(interface: str, tmp_path: Path) -> None:
    of = case("everything")
    default, half = open_form(of, routed_form(to_half(routed("everything", interface)), interface), tmp_path)
    for seed in range(100):
        assert half.run(of.inputs, seed=seed).path.tolist() == default.run(of.inputs, seed=seed).path.tolist()


def test_the_bare_converter_moves_draws_of_the_host(tmp_path: Path) -> None:
    """The sabotaged twin: without taking out what decides, draws are rounded to float16."""
    with quiet_tools():
        from onnxruntime.transformers.float16 import convert_float_to_float16

    of = case("everything")
    bare = ir.from_proto(convert_float_to_float16(ir.to_proto(routed("everything", "host")), keep_io_types=True))
    bare.graph.sort()
    default, half = open_form(of, routed_form(bare, "host"), tmp_path)
    paths = [[session.run(of.inputs, seed=seed).path.tolist() for seed in range(2000)] for session in (default, half)]
    assert paths[0] != paths[1]


@pytest.mark.parametrize("interface", [*INTERFACES, "standalone"])
def test_what_decides_stays_as_it_is(interface: str) -> None:
    def deciding(model: ir.Model) -> list[object]:
        nodes = [n for n in model.graph if (n.name or "").startswith("rr/")]
        names = [(n.op_type, n.name, [v.dtype for v in n.outputs], dict(n.attributes)) for n in nodes]
        constants = [v.const_value.numpy().tobytes() for n in nodes for v in n.inputs if v and v.const_value]
        ends = [[(v.name, v.dtype, v.shape) for v in side] for side in (model.graph.inputs, model.graph.outputs)]
        sites = sorted(
            sorted((k, v) for k, v in n.metadata_props.items() if k.startswith("rr."))
            for n in ir.traversal.RecursiveGraphIterator(model.graph)
            if SITE_KEY in n.metadata_props
        )
        return [names, constants, ends, sites, dict(model.metadata_props)]

    model = routed("everything", interface)
    model.metadata_props["rr.manifest"] = "{}"
    before = ir.to_proto(model).SerializeToString()
    half = to_half(model)
    assert deciding(half) == deciding(model)
    assert len(deciding(half)[3]) > 5
    assert ir.to_proto(model).SerializeToString() == before  # the given model stays
    dtypes = {v.dtype for v in initializers(half) if v.const_value is not None and v.const_value.size > 16}
    assert dtypes == {ir.DataType.FLOAT16}


def test_forms_share_the_half_weights_on_disk(tmp_path: Path) -> None:
    of = case("attention")
    _, files = split(of.model(), of.bundle.plan, "part")
    explicit = to_half(routed("attention", "explicit"))
    large = {v.const_value.tobytes() for v in initializers(explicit) if v.const_value.nbytes >= 1024}
    for model in [routed("attention", "gates"), *files.values()]:
        for value in initializers(to_half(model)):
            if value.const_value.nbytes >= 1024:
                assert value.const_value.tobytes() in large


def test_a_weight_of_several_branches_stays_one_tensor() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(16, 16)
    deep = [nn.Sequential(rr.LayerChoice(nn.Sequential(shared, f), 0.5), f) for f in (nn.ReLU(), nn.Tanh())]
    model = nn.Sequential(rr.OperationChoice(deep, rr.Uniform(2))).eval()
    bundle = rr.export(model, (torch.randn(2, 16),))
    half = to_half(bundle.model)
    tensors = [v.const_value for v in initializers(half) if v.dtype == ir.DataType.FLOAT16 and v.shape.rank() == 2]
    assert len(tensors) >= 1
    assert len({id(t) for t in tensors}) == len({t.tobytes() for t in tensors}) == 1


class WithoutHalf(nn.Module):
    """Operators that the converter leaves in float32, with a weight that others read too."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.weight, self.linear, self.factor = nn.Parameter(torch.randn(8)), nn.Linear(8, 8), factor

    def forward(self, x: Tensor) -> Tensor:
        y = torch.maximum(torch.cumsum(self.linear(x), -1), self.weight) + self.weight * self.factor
        values, indices = torch.topk(y, 8, -1)
        return values + indices.float() * 0.01 + torch.arange(8, dtype=torch.float32)


def test_bug_casts_of_a_branch_stand_in_the_branch(capfd: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    nested = nn.Sequential(WithoutHalf(2.0), rr.LayerChoice(WithoutHalf(3.0), 0.5))
    choice = rr.OperationChoice([WithoutHalf(1.0), nested, nn.Identity()], rr.Uniform(3))
    model = nn.Sequential(nn.Linear(8, 8), choice, nn.Linear(8, 3)).eval()
    x = torch.randn(3, 8)
    bundle = rr.export(model, (x,))
    half = to_half(bundle.model)
    assert [n.op_type for n in half.graph if n.op_type == "Cast" and not n.name.startswith("rr/")] == ["Cast"] * 2
    sessions = [
        onnxruntime.InferenceSession(ir.to_proto(m).SerializeToString(), providers=["CPUExecutionProvider"])
        for m in (bundle.model, half)
    ]
    for path in bundle.plan.paths():
        feeds = {"input": x.numpy(), "rr_seed": np.array(0), "rr_path": np.array(path)}
        (wanted, taken), (found, found_taken) = (session.run(None, feeds) for session in sessions)
        assert found_taken.tolist() == taken.tolist() == list(path)
        assert np.abs(found - wanted).max() / wanted.std() < HALF
    assert capfd.readouterr() == ("", "")


def test_weights_outside_the_file_are_read(tmp_path: Path) -> None:
    of = case("attention")
    bundle = rr.Bundle(of.bundle.model, of.bundle.manifest, of.bundle.golden)
    bundle.save(tmp_path / "bundle", external_data=True)
    half = to_half(rr.load(tmp_path / "bundle").model)
    assert all(not isinstance(v.const_value, ir.ExternalTensor) for v in initializers(half))
    inside = to_half(of.bundle.model)
    assert {v.const_value.tobytes() for v in initializers(half)} == {
        v.const_value.tobytes() for v in initializers(inside)
    }


def test_masks_are_clipped_to_the_least_half() -> None:
    model = ir.from_onnx_text(
        """
        <ir_version: 10, opset_import: ["" : 20]>
        big (float[3] x) => (float[3] y) <float[3] mask = {-3e38, 0.0, 1e-30}> { y = Add(x, mask) }
        """
    )
    session = onnxruntime.InferenceSession(ir.to_proto(to_half(model)).SerializeToString())
    assert session.run(None, {"x": np.array([0.0, 2.0, 1.0], np.float32)})[0].tolist() == [-65504.0, 2.0, 1.0]


def test_target_files_hold_both_precisions(tmp_path: Path) -> None:
    """The float32 weights are not stored twice for a half-precision target."""
    of = case("attention")
    about, models = routed_form(to_half(routed("attention", "gates")), "gates")
    about = {"provider": "cuda", "rtol": 1e-4, "atol": 1e-5, "share": HALF, **about}
    bundle = rr.Bundle(of.bundle.model, of.bundle.manifest, of.bundle.golden, {"cuda": TargetFiles(about, models)})
    bundle.save(tmp_path / "bundle")
    assert Session(tmp_path / "bundle", target="cuda").check()
