"""What NNAPI and CoreML would take of a model, by ONNX Runtime's usability checker and the rules for branches.

The checker goes by operators and shapes alone, and counts nodes inside branches as if they were accelerated. NNAPI
takes none of them; CoreML takes them where it is opened with ``EnableOnSubgraphs``, each branch as a part of its own.
The checker also counts arithmetic on int64, bool and double, which neither computes. What is left is an estimate:
caveats are not checked, and no device has run anything.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from rr_export.bundle.weights import inlined
from rr_export.targets.onnxruntime_tools import quiet_tools

ENGINES = ("nnapi", "coreml neuralnetwork", "coreml mlprogram")
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class MobileUse:
    """What one engine would take of some models.

    Attributes:
        engine: "nnapi", "coreml neuralnetwork" or "coreml mlprogram" (the two model formats of CoreML).
        nodes: how many nodes the models have after ONNX Runtime's basic optimisations, branches included.
        in_branches: how many of them are inside branches.
        taken: how many the engine may take.
        partitions: into how many parts what it takes is cut; the data passes from and to the CPU around each.
        checker: how many the checker alone counts as taken.
        unsupported: operators that it does not know, in what it looks at.
        caveats: conditions on operators in it that are not checked here.
    """

    engine: str
    nodes: int
    in_branches: int
    taken: int
    partitions: int
    checker: int
    unsupported: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of nodes that the engine may take, in [0, 1]."""
        return self.taken / self.nodes if self.nodes else 0.0


def mobile_report(models: Mapping[str, ir.Model], *, on_subgraphs: bool = True) -> tuple[MobileUse, ...]:
    """Returns for each engine what it would take of the models together.

    Args:
        models: by file name; they stay as they are. Nodes that read values of unknown size do not count as taken.
        on_subgraphs: CoreML is opened with ``EnableOnSubgraphs``.
    """
    with quiet_tools():
        protos = [_optimized(model) for model in models.values()]
        return tuple(_use(engine, protos, on_subgraphs and engine != "nnapi") for engine in ENGINES)


def _use(engine: str, protos: list[onnx.ModelProto], on_subgraphs: bool) -> MobileUse:
    scopes = [(proto, scope) for proto in protos for scope in _scopes_of(proto, branches=on_subgraphs)]
    graphs = [_isolated(proto, scope) for proto, scope in scopes]
    found = [_checked(graph, engine) for graph in graphs]
    parts = [part for graph, info in zip(graphs, found, strict=True) for part in _real(info.supported_groups, graph)]
    nodes = sum(len(scope.graph.node) for proto in protos for scope in _scopes_of(proto, branches=True))
    return MobileUse(
        engine=engine,
        nodes=nodes,
        in_branches=nodes - sum(len(proto.graph.node) for proto in protos),
        taken=sum(map(len, parts)),
        partitions=len(parts),
        checker=sum(_checked(proto, engine).num_supported_nodes for proto in protos),
        unsupported=tuple(sorted(set().union(*(info.unsupported_ops for info in found)))),
        caveats=tuple(sorted({caveat for info in found for caveat in info.supported_ops_checker.get_caveats()})),
    )


def _checked(model: onnx.ModelProto, engine: str) -> Any:
    """Returns the checker's findings, for fixed sizes only."""
    from onnxruntime.tools.mobile_helpers.usability_checker import check_coreml_partitions, check_nnapi_partitions

    if len(model.graph.value_info) == 0:  # the checker takes this for a model without inferred shapes
        model.graph.value_info.extend(model.graph.output)
    if engine == "nnapi":
        return check_nnapi_partitions(model, True)
    return check_coreml_partitions(model, True, f"coreml_supported_{engine.removeprefix('coreml ')}_ops.md")


def _optimized(model: ir.Model) -> onnx.ModelProto:
    """Returns the model after the optimisations that come before partitioning, with shapes."""
    from onnxruntime.tools.onnx_model_utils import optimize_model

    with tempfile.TemporaryDirectory(prefix="rr_export.") as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "optimized.onnx"
        source.write_bytes(ir.to_proto(inlined(model)).SerializeToString())
        optimize_model(source, target)
        return onnx.shape_inference.infer_shapes(onnx.load(target))


@dataclass(frozen=True)
class _Scope:
    """A graph and what it can read of the graphs around it."""

    graph: onnx.GraphProto
    values: Mapping[str, onnx.ValueInfoProto]
    weights: Mapping[str, onnx.TensorProto]


def _scopes_of(model: onnx.ModelProto, *, branches: bool) -> Iterator[_Scope]:
    """Yields the main graph and, if asked for, the bodies of its nodes, nested ones too."""
    yield from _scopes(_Scope(model.graph, {}, {}), branches)


def _scopes(outer: _Scope, branches: bool) -> Iterator[_Scope]:
    graph = outer.graph
    values = {**outer.values, **{v.name: v for v in [*graph.input, *graph.value_info, *graph.output]}}
    weights = {**outer.weights, **{tensor.name: tensor for tensor in graph.initializer}}
    yield outer
    if branches:
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    yield from _scopes(_Scope(attribute.g, values, weights), True)


def _isolated(model: onnx.ModelProto, scope: _Scope) -> onnx.ModelProto:
    """Returns a graph without the bodies of its nodes, as a model: what bodies read is an input of their node.

    before:  a; If(c){ b reads a }
    after:   a; If(c, a)
    """
    graph = onnx.GraphProto()
    graph.CopyFrom(scope.graph)
    for node in graph.node:
        bodies = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        if bodies:
            node.input.extend(dict.fromkeys(name for body in bodies for name in _read(body)))
            del node.attribute[:]
    for name in _read(graph):
        if name in scope.weights:
            graph.initializer.append(scope.weights[name])
        elif name in scope.values:
            graph.input.append(scope.values[name])
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return onnx.shape_inference.infer_shapes(alone)  # what lay outside is known only now


def _real(groups: Iterable[Sequence[onnx.NodeProto]], model: onnx.ModelProto) -> list[list[onnx.NodeProto]]:
    """Returns the parts with their nodes that read or write floating-point numbers, where there are any."""
    graph = model.graph
    values = [*graph.input, *graph.value_info, *graph.output]
    floats = {v.name for v in values if v.type.tensor_type.elem_type in FLOATS}
    floats |= {tensor.name for tensor in graph.initializer if tensor.data_type in FLOATS}
    parts = [[node for node in group if floats & {*node.input, *node.output}] for group in groups]
    return [part for part in parts if part]


def _read(graph: onnx.GraphProto) -> list[str]:
    """Returns the names of the values that a graph reads and does not make."""
    made = {v.name for v in [*graph.input, *graph.initializer]} | {name for n in graph.node for name in n.output}
    read: dict[str, None] = {}
    for node in graph.node:
        read |= dict.fromkeys(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                read |= dict.fromkeys(_read(attribute.g))
    return [name for name in read if name and name not in made]
