"""Structure of lowered files: laziness, independence, placement, weights; with the sabotaged twins."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.capture.trace import capture
from rr_export.errors import LoweringError
from rr_export.lowering.lower import lower
from rr_export.parity.misplaced import misplaced_nodes
from rr_export.passes.place_weights import place_weights
from rr_export.passes.share_weights import copy_shared_weights
from rr_export.passes.simplify import simplify
from rr_runtime.draws import draws
from tests import nets
from tests.conftest import nodes_named


def bodies(model: ir.Model) -> dict[str, list[str]]:
    """Op types per subgraph, by the subgraph's name."""
    found: dict[str, list[str]] = {}
    for node in nodes_named(model, "If"):
        for attribute in node.attributes.values():
            graph = attribute.as_graph()
            found[graph.name or ""] = [n.op_type for n in graph]
    return found


def lowered(model: nn.Module, **options: Any) -> ir.Model:
    return lower(capture(bind(model, (nets.example(),)), **options))


class Prefix(nn.Module):
    """The shared layer, then a layer of its own."""

    def __init__(self, shared: nn.Module) -> None:
        super().__init__()
        self.shared, self.own = shared, nn.Linear(nets.WIDTH, nets.WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.own(self.shared(x).tanh())
        return result


def identical_prefixes() -> nn.Module:
    shared = nn.Linear(nets.WIDTH, nets.WIDTH)
    return nets.pair(Prefix(shared), Prefix(shared))


def test_branches_with_an_identical_prefix_stay_lazy() -> None:
    model = lowered(identical_prefixes())
    assert "Tanh" not in [n.op_type for n in model.graph]
    assert all("Tanh" in ops for ops in bodies(model).values())


def test_sabotage_merging_before_sinking_is_rejected() -> None:
    captured = capture(bind(identical_prefixes(), (nets.example(),)))
    ir_passes.CommonSubexpressionEliminationPass()(captured.model)
    with pytest.raises(LoweringError, match=r"site 'site', branch '.': expected values to leave the branch only"):
        lower(captured)


def test_sabotage_a_node_moved_out_of_its_branch_is_found() -> None:
    model = nets.pair(nets.Mlp(), nn.Identity())
    bundle = rr.export(model, (nets.example(),))
    assert misplaced_nodes(bundle.model) == []
    choice = nodes_named(bundle.model, "If")[0]
    body = next(g for g in (a.as_graph() for a in choice.attributes.values()) if len(list(g)) > 1)
    first = next(iter(body))
    body.remove(first)
    bundle.model.graph.insert_before(choice, first)
    assert any(repr(first.name) in text for text in misplaced_nodes(bundle.model))


def test_a_site_that_feeds_one_branch_of_a_later_site_stays_outside() -> None:
    class Feeding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early = rr.LayerChoice(nets.Mlp(), 0.5)
            self.late = rr.OperationChoice([First(), Second()], rr.Uniform(2))

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.late(x, self.early(x))
            return result

    class First(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x * 2

    class Second(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return y * 3

    model = Feeding().eval()
    result = lowered(model)
    assert [n.name for n in result.graph if n.op_type == "If"] == ["early", "late"]
    assert not any("If" in ops for ops in bodies(result).values())


def test_nested_sites_lie_in_their_branch() -> None:
    model = lowered(nets.everything())
    assert "op.branches.2.0" not in [n.name for n in model.graph]
    assert "op.branches.2.0" in [n.name for n in nodes_named(model, "If")]


def test_one_random_node_in_the_main_graph_at_most() -> None:
    for interface, count in (("explicit", 1), ("host", 0), ("standalone", 1)):
        model = lower(capture(bind(nets.everything(), (nets.example(),))), interface=interface)
        random = nodes_named(model, "RandomUniformLike")
        assert len(random) == count
        assert all(n.graph is model.graph and "seed" not in n.attributes for n in random)
        unsigned = [v for n in model.graph for v in n.inputs if v is not None and v.dtype == ir.DataType.UINT64]
        assert bool(unsigned) == (interface != "host")


class SharedWeight(nn.Module):
    def __init__(self, weight: nn.Parameter, factor: float) -> None:
        super().__init__()
        self.weight, self.factor = weight, factor

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight * self.factor


@pytest.mark.parametrize("external", [False, True])
def test_eight_leaves_sharing_one_weight_store_it_once(external: bool, tmp_path: Any) -> None:
    size = 64
    weight = nn.Parameter(torch.randn(size, size))
    model = rr.OperationChoice([SharedWeight(weight, 1.0 + k) for k in range(8)], rr.Uniform(8)).eval()
    x = torch.randn(2, size)
    bundle = rr.export(model, (x,))
    folder = bundle.save(tmp_path / "out", external_data=external)
    stored = sum(f.stat().st_size for f in folder.glob("model.onnx*"))
    assert stored < 1.9 * weight.numel() * 4
    proto = onnx.load(folder / "model.onnx", load_external_data=False)
    names = [t.name for t in proto.graph.initializer if t.dims == [size, size]]
    assert len(names) == (0 if external else 1)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    for k in range(8):
        y = session.run(None, {"args.0": x.numpy(), "rr_seed": np.array(0), "rr_path": np.array([k])})[0]
        np.testing.assert_allclose(y, (x @ weight).detach().numpy() * (1.0 + k), rtol=1e-5, atol=1e-5)


def test_weights_of_deep_leaves_lie_in_them() -> None:
    model = lowered(nets.everything())
    simplify(model)
    place_weights(model)
    main = set(model.graph.initializers)
    assert "op.branches.2.0.layer.up.weight" not in main  # inside the nested site, three deep
    assert {"second.layer.up.weight", "first.layer.up.weight"} <= main


def test_copying_shared_weights_keeps_one_tensor() -> None:
    weight = nn.Parameter(torch.randn(16, 16))
    model = rr.OperationChoice([SharedWeight(weight, 1.0 + k) for k in range(4)], rr.Uniform(4)).eval()
    result = lower(capture(bind(model, (torch.randn(2, 16),))))
    assert copy_shared_weights(result)
    graphs = [a.as_graph() for n in nodes_named(result, "If") for a in n.attributes.values()]
    tensors = [v.const_value for g in graphs for v in g.initializers.values() if v.shape == (16, 16)]
    assert len(tensors) == 4 and len({id(t) for t in tensors}) == 1


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 17])
def test_every_route_of_a_tree(k: int) -> None:
    class Times(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor) -> Tensor:
            return x * self.factor

    model = rr.OperationChoice([Times(float(n + 1)) for n in range(k)], rr.Uniform(k)).eval()
    content = ir.to_proto(lowered(model)).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    x = nets.example().numpy()
    for route in range(k):
        y, taken = session.run(None, {"args.0": x, "rr_seed": np.array(0), "rr_path": np.array([route])})
        np.testing.assert_allclose(y, x * (route + 1))
        assert taken.tolist() == [route]
    clipped = session.run(None, {"args.0": x, "rr_seed": np.array(0), "rr_path": np.array([k + 3])})
    assert clipped[1].tolist() == [k - 1]
    assert depth(lowered(model)) == (k - 1).bit_length()


def depth(model: ir.Model) -> int:
    def of(graph: ir.Graph) -> int:
        inner = [of(a.as_graph()) for n in graph if n.op_type == "If" for a in n.attributes.values()]
        return 1 + max(inner) if inner else 0

    return of(model.graph)


def routing_session(policies: list[rr.Categorical | Any], interface: str = "explicit") -> tuple[Any, rr.Plan]:
    class Scale(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    sites = [rr.OperationChoice([nn.Identity() if k else Scale() for k in range(p.branches)], p) for p in policies]
    captured = capture(bind(nn.Sequential(*sites).eval(), (nets.example(),)))
    plan = captured.plan
    content = ir.to_proto(lower(captured, interface=interface)).SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]), plan


RECTANGULAR = rr.Markov(
    [0.2, 0.3, 0.5],
    [[[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]], [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]],
)
WIDE = rr.Markov(np.full(40, 1 / 40), np.roll(np.eye(40), 3, axis=1) * 0.9 + 0.1 / 40)
SQUARE = rr.Markov([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]])
POLICIES = {
    "binary": [rr.Categorical([0.3, 0.7])] * 7,
    "mixed": [rr.Uniform(5), rr.Categorical([0.0, 1.0]), rr.Uniform(1), rr.Categorical([0.25, 0.0, 0.75])],
    "square chain": [SQUARE.step(t) for t in range(6)],
    "rectangular chain": [RECTANGULAR.step(t) for t in range(3)],
    "chain out of order, among others": [RECTANGULAR.step(2), rr.Uniform(2), RECTANGULAR.step(0), RECTANGULAR.step(1)],
    "two chains": [SQUARE.step(0), RECTANGULAR.step(0), SQUARE.step(1), RECTANGULAR.step(1), RECTANGULAR.step(2)],
    "wide chain, step by step": [WIDE.step(t) for t in range(3)],
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("interface", ["explicit", "host"])
def test_routes_in_the_graph_equal_the_plan(name: str, interface: str) -> None:
    session, plan = routing_session(POLICIES[name], interface)
    count = len(plan.sites)
    rng = np.random.default_rng(0)
    for seed in [*range(60), 2**63 - 1]:
        path = np.where(rng.random(count) < 0.3, rng.integers(0, 99, count), -1)
        path = np.minimum(path, [s.policy.branches - 1 for s in plan.sites])
        mine = draws(seed, count)
        fed = {"rr_seed": np.array(seed)} if interface == "explicit" else {"rr_draws": mine}
        feeds = {"input": nets.example().numpy(), "rr_path": path, **fed}
        assert session.run(["rr_path_taken"], feeds)[0].tolist() == plan.routes(mine, path).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 13])
def test_bug_any_number_of_sites_can_key_the_random_node(count: int) -> None:
    proto = ir.to_proto(lowered(nets.layers(count)))
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"input": nets.example().numpy(), "rr_seed": np.array(-1), "rr_path": np.full(count, -1)}
    paths = {tuple(session.run(["rr_path_taken"], feeds)[0].tolist()) for _ in range(60)}
    assert len(paths) > 1


def test_feeding_the_path_taken_back_gives_the_same(everything_proto: onnx.ModelProto) -> None:
    session = onnxruntime.InferenceSession(everything_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = nets.example().numpy()
    for seed in range(20):
        first = session.run(None, {"x": x, "rr_seed": np.array(seed), "rr_path": np.full(6, -1)})
        again = session.run(None, {"x": x, "rr_seed": np.array(-1), "rr_path": first[-1]})
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a, b)


def test_names_survive(everything_proto: onnx.ModelProto) -> None:
    graph = everything_proto.graph
    assert [v.name for v in graph.input] == ["x", "rr_seed", "rr_path"]
    assert [v.name for v in graph.output] == ["y", "aux.0", "rr_path_taken"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    ifs = [n.name for n in graph.node if n.op_type == "If"]
    assert ifs == ["op", "first", "second", "shared", "sets", "first#1"]
    leaf = next(n for n in graph.node if n.name == "second")
    assert {a.g.name for a in leaf.attribute} == {"second/skip", "second/run"}
    assert "second.layer.up.weight" in {t.name for t in graph.initializer}
    names = [n.name for n in nodes_of(graph)]
    assert all(names) and len(set(names)) == len(names)


def nodes_of(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += nodes_of(attribute.g)
    return found


LEVELS = ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"]


def test_every_optimisation_level_gives_equal_results(everything_proto: onnx.ModelProto) -> None:
    onnx.checker.check_model(everything_proto, full_check=True)
    x = nets.example().numpy()
    sessions = []
    for level in LEVELS:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        content = everything_proto.SerializeToString()
        sessions.append(onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]))
    for path in itertools.product(range(3), range(2), range(2), range(2), range(2), (0, 3)):
        feeds = {"x": x, "rr_seed": np.array(0), "rr_path": np.array(path)}
        results = [s.run(None, feeds) for s in sessions]
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [18, 19, 20, 21])
def test_every_opset(opset: int) -> None:
    bundle = rr.export(nets.everything(), (nets.example(),), opset=opset)
    proto = ir.to_proto(bundle.model)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == opset
    onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
