"""float32 -> float16 inside a model; its inputs and outputs, and all that decides, stay as they are.

before:  x -> MatMul(w float32) -> If(route >= 1){ ... }{ ... } -> y
after:   x -> Cast -> MatMul(w float16) -> If(route >= 1){ ... }{ ... } -> Cast -> y
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.bundle.weights import initializers, inlined
from rr_export.lowering import TAKEN
from rr_export.lowering.sink import SITE_KEY
from rr_export.passes.unique_names import name_uniquely
from rr_export.targets.onnxruntime_tools import quiet_tools
from rr_export.targets.weight_results import make_all_results

CAST = "_cast_to_"  # in the names of the Casts that the converter puts around operators without float16


def to_half(model: ir.Model) -> ir.Model:
    """Returns a model that computes in float16, with float32 inputs and outputs; the given one stays as it is.

    Works on every form: one graph with ``If`` (explicit, host, standalone or gates), segments and frozen paths. What
    decides is taken out while onnxruntime's converter runs and put back as it was: draws and thresholds stay float32,
    so every seed takes the same path as before. Weights and masks beyond 65504 are clipped to it; values that become
    larger are infinite where an engine has float16 kernels.

    Operators that have no float16 kernels (``onnxruntime.transformers.float16.DEFAULT_OP_BLOCK_LIST``) stay float32.
    """
    source = inlined(model).clone()
    ir_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(source)
    if make_all_results(source):  # the converter leaves what a body hands out float32
        name_uniquely(source)
    ir_passes.ShapeInferencePass()(source)
    tensors = {value.name: value.const_value for value in initializers(source)}
    routing = _Routing(source.graph)
    half = _converted(ir.to_proto(source))
    _keep_weights(half, tensors)
    routing.put_back(half.graph)
    _share(half, tensors)
    return half


def _converted(proto: onnx.ModelProto) -> ir.Model:
    """Returns the model after onnxruntime's converter."""
    with quiet_tools():
        from onnxruntime.transformers.float16 import convert_float_to_float16

        # types are known already; onnx's inference would end at 2 GiB
        proto = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=True)
    _settle_casts(proto.graph)
    model = ir.from_proto(proto)
    model.graph.sort()  # the converter appends what it adds
    return model


class _Routing:
    """The nodes that decide, taken out of a graph: all that conditions of sites and the path taken depend on.

    before:  rr_seed, rr_path -> routing -> conditions -> If ...
    after:   conditions -> If ...                                (they are inputs of the graph)
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._inputs, self._outputs = list(graph.inputs), list(graph.outputs)
        chosen = _deciding(graph)
        self._nodes = [node for node in graph if node in chosen]
        self._taken = [value for value in graph.outputs if value.name == TAKEN and value.producer() in chosen]
        self._weights = self._own_weights(graph)
        self._passed = self._cut(graph, chosen)

    def put_back(self, graph: ir.Graph) -> None:
        """The graph, which has the same names, decides as the one that the nodes were taken out of."""
        if not self._nodes:
            return
        made = {value.name: value for value in graph.inputs}
        for value in self._passed:
            ir.convenience.replace_all_uses_with(made[value.name], value)
        for node in self._nodes:
            for index, given in enumerate(node.inputs):
                if given is not None and given in self._inputs and given.name in made:
                    node.replace_input_with(index, made[given.name])
        inputs = [made.get(value.name, value) for value in self._inputs]
        graph.inputs.clear()
        graph.inputs.extend(inputs)
        results = {value.name: value for value in [*graph.outputs, *self._taken]}
        graph.outputs.clear()
        graph.outputs.extend(results[value.name] for value in self._outputs)
        for value in self._weights:
            graph.register_initializer(value)
        graph.insert_before(graph[0], self._nodes)

    def _own_weights(self, graph: ir.Graph) -> list[ir.Value]:
        """The constants of the routing leave the graph; of those that others read too, the routing gets a copy."""
        mine = set(self._nodes)
        own: list[ir.Value] = []
        for value in list(graph.initializers.values()):
            users = {usage.node for usage in value.uses()}
            if not users & mine:
                continue
            assert value.name is not None
            if users <= mine:
                del graph.initializers[value.name]
                own.append(value)
                continue
            copy = ir.Value(
                name=f"rr/own/{value.name}", type=value.type, shape=value.shape, const_value=value.const_value
            )
            for usage in value.uses():
                if usage.node in mine:
                    usage.node.replace_input_with(usage.idx, copy)
            own.append(copy)
        return own

    def _cut(self, graph: ir.Graph, chosen: set[ir.Node]) -> list[ir.Value]:
        """The graph is without the nodes; what others read of them is an input, and is returned."""
        passed = []
        for value in self._taken:
            graph.outputs.remove(value)
        for value in [v for node in self._nodes for v in node.outputs]:
            outside = [usage for usage in value.uses() if usage.node not in chosen]
            if not outside:
                continue
            stand_in = ir.Value(name=value.name, type=value.type or ir.TensorType(ir.DataType.BOOL), shape=value.shape)
            for usage in outside:
                usage.node.replace_input_with(usage.idx, stand_in)
            graph.inputs.append(stand_in)
            passed.append(value)
        for value in self._inputs:
            users = {usage.node for usage in value.uses()}
            if users and users <= chosen:
                graph.inputs.remove(value)
        graph.remove(self._nodes)
        return passed


def _deciding(graph: ir.Graph) -> set[ir.Node]:
    """Returns the nodes of the main graph that conditions of sites or the path taken depend on."""
    wanted: list[ir.Value | None] = [value for value in graph.outputs if value.name == TAKEN]
    wanted += [n.inputs[0] for n in ir.traversal.RecursiveGraphIterator(graph) if SITE_KEY in n.metadata_props]
    found: set[ir.Node] = set()
    while wanted:
        value = wanted.pop()
        node = value.producer() if value is not None else None
        if node is not None and node not in found:
            found.add(node)
            wanted.extend(node.inputs)
    return found


def _settle_casts(graph: onnx.GraphProto) -> None:
    """Every Cast that the converter added stands in the graph that makes what it reads.

    before:  main { Cast(a) -> b; If { a; Max(b) } }     (the converter puts all Casts into the main graph)
    after:   main { If { a; Cast(a) -> b; Max(b) } }
    """
    homes = {name: home for home in _graphs(graph) for node in home.node for name in node.output}
    homes |= {weight.name: home for home in _graphs(graph) for weight in home.initializer}
    added = [n for n in graph.node if n.op_type == "Cast" and CAST in n.name]
    while strays := [
        n for n in added if homes.get(n.input[0], graph) is not homes[n.output[0]]
    ]:  # one may read another
        for node in strays:
            homes[node.output[0]] = homes[node.input[0]]
    for node in added:
        if homes[node.output[0]] is not graph:
            homes[node.output[0]].node.append(node)
            graph.node.remove(node)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _keep_weights(model: ir.Model, before: Mapping[str | None, ir.TensorProtocol | None]) -> None:
    """Weights that operators without float16 read are the float32 ones that they were.

    before:  w float16 -> Cast -> Max
    after:   w float32 -> Max
    """
    for node in [n for n in ir.traversal.RecursiveGraphIterator(model.graph) if n.op_type == "Cast"]:
        weight, made, graph = node.inputs[0], node.outputs[0], node.graph
        if weight is None or not weight.is_initializer() or CAST not in (node.name or ""):
            continue
        tensor = before.get(weight.name)
        if tensor is None or made.dtype not in (None, tensor.dtype):
            continue
        assert isinstance(graph, ir.Graph) and weight.graph is not None and weight.name is not None
        kind, shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
        value = ir.Value(name=made.name, type=kind, shape=shape, const_value=tensor)
        ir.convenience.replace_all_uses_with(made, value)
        graph.remove(node, safe=True)
        graph.register_initializer(value)
        if not weight.uses():
            del weight.graph.initializers[weight.name]


def _share(model: ir.Model, before: Mapping[str | None, ir.TensorProtocol | None]) -> None:
    """Weights that were one tensor before are one tensor again; what did not change keeps its tensor."""
    seen: dict[tuple[int, ir.DataType], ir.TensorProtocol] = {}
    for value in initializers(model):
        old, new = before.get(value.name), value.const_value
        if old is not None and new is not None:
            value.const_value = old if new.dtype == old.dtype else seen.setdefault((id(old), new.dtype), new)
