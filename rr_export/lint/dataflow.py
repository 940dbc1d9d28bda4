"""What every value of a model depends on, and which choices the model makes.

One walk in execution order joins origins from inputs to outputs; the choices are then followed back to what they
look at. Nothing is executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, TypeVar

import numpy as np
import onnx
import onnx_ir as ir

from rr_export.lint.reading import FUNCTION_KEY

NON_DETERMINISTIC = onnx.defs.OpSchema.NodeDeterminism.NonDeterministic
COMPARISONS = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
PASSING = frozenset(  # operators that hand on what they get, or a part of it, in another form
    {"Cast", "CastLike", "Expand", "Flatten", "Gather", "Identity", "Not", "Reshape", "Slice", "Split", "Squeeze"}
    | {"Tile", "Transpose", "Unsqueeze"}
)
DISCRETE = COMPARISONS | {"And", "ArgMax", "ArgMin", "Ceil", "Floor", "Or", "Round", "Sign", "TopK", "Xor"}
SCALING = frozenset({"Add", "Div", "Mul", "Sub"})  # by a constant they hand on a choice, too
ARITHMETIC = frozenset(  # operators that make a number of others; what is drawn decides through them too
    {"Abs", "Clip", "Concat", "CumSum", "Exp", "Log", "LogSoftmax", "Max", "Mean", "Min", "Neg", "Pow", "Reciprocal"}
    | {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"}
    | {"ReduceSum", "ReduceSumSquare", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Sum", "Tanh"}
)
CHOOSING = frozenset({"ArgMax", "ArgMin", "TopK"})  # operators that say which of several numbers it is
INDEXING = frozenset({"Gather", "GatherElements", "GatherND", "SequenceAt"})
# onnxruntime's own Dropouts: where ratio and training_mode stand among their inputs; and its other random operator
ONNXRUNTIME = "com.microsoft"
FUSED_DROPOUTS = {"BiasDropout": (3, 4), "BitmaskBiasDropout": (3, 4), "BitmaskDropout": (1, 2)}
SAMPLING, HASH = "Sampling", "MurmurHash3"  # draws without an attribute seed; has one, but does not draw
SMALL = 1024  # elements; larger constants are told apart by identity alone

T = TypeVar("T")
Place = tuple[tuple[ir.Node, str], ...]  # the (node, attribute) pairs around a graph, outermost first


class Level(IntEnum):
    """How much a value depends on what is fed; an optimiser can compute everything below ``SHAPE``."""

    CONSTANT = 0
    STATIC = 1  # on sizes that the file fixes
    SHAPE = 2  # on sizes that are dynamic
    INPUT = 3  # on values of required inputs


@dataclass(frozen=True)
class Origin:
    """What a value depends on.

    Attributes:
        level: on the feeds.
        random: on these random nodes.
        defaults: on these inputs that have a default.
    """

    level: Level = Level.CONSTANT
    random: frozenset[ir.Node] = frozenset()
    defaults: frozenset[ir.Value] = frozenset()

    def __or__(self, other: Origin) -> Origin:
        """The origin of what depends on both."""
        return Origin(max(self.level, other.level), self.random | other.random, self.defaults | other.defaults)


@dataclass(frozen=True)
class GraphDecision:
    """A node that chooses between computations.

    Attributes:
        node: an ``If``, ``Where``, ``Loop``, a ``Mul`` by a mask, or what picks by an index that was drawn.
        value: what it looks at.
        origin: what the value depends on.
    """

    node: ir.Node
    value: ir.Value
    origin: Origin


@cache
def has_schema(domain: str, op_type: str, opset: int) -> bool:
    """Whether onnx knows an operator."""
    return onnx.defs.has(op_type, opset, domain)


@cache
def is_random_op(domain: str, op_type: str, opset: int) -> bool:
    """Whether an operator draws random numbers, by its schema.

    Control flow, and functions that hold some, are marked too: these draw only if something in their bodies does.
    """
    try:
        schema = onnx.defs.get_schema(op_type, opset, domain)
    except onnx.defs.SchemaError:
        return False
    if schema.node_determinism != NON_DETERMINISTIC:  # type: ignore[attr-defined]
        return False
    if any(a.type == onnx.defs.OpSchema.AttrType.GRAPH for a in schema.attributes.values()):
        return False
    if not schema.has_function:  # type: ignore[attr-defined]
        return True
    return any(is_random_op(node.domain, node.op_type, opset) for node in schema.function_body.node)


@cache
def random_op_names() -> frozenset[str]:
    """The names of all operators that draw random numbers."""
    newest = onnx.defs.onnx_opset_version()
    return frozenset(s.name for s in onnx.defs.get_all_schemas() if is_random_op(s.domain, s.name, newest))


class Dataflow:
    """Origins, places and decisions of a model without functions.

    Attributes:
        model: the model.
        random: its random nodes, in execution order; a Dropout only where it may be in training mode.
        decisions: its choices, in execution order.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.random: list[ir.Node] = []
        self._origins: dict[ir.Value, Origin] = {}
        self._places: dict[ir.Graph, Place] = {}
        self._numbers: dict[ir.Value, Any] = {}
        for value in model.graph.inputs:
            default = value.is_initializer()
            self._origins[value] = Origin(defaults=frozenset({value})) if default else Origin(Level.INPUT)
        self._walk(model.graph, ())
        self.random = list(dict.fromkeys(self.random))
        self.decisions = list(self._find_decisions())

    def origin(self, value: ir.Value) -> Origin:
        """What a value depends on."""
        return self._origins.get(value, Origin())

    def inputs_origin(self, node: ir.Node) -> Origin:
        """What a node's inputs depend on."""
        found = Origin()
        for value in node.inputs:
            if value is not None:
                found |= self.origin(value)
        return found

    def place(self, node: ir.Node) -> Place:
        """The branches around a node, outermost first."""
        return self.place_of(node.graph)

    def place_of(self, graph: ir.Graph | ir.Function | None) -> Place:
        """The branches around a graph, outermost first."""
        return self._places.get(graph, ()) if isinstance(graph, ir.Graph) else ()

    def place_name(self, node: ir.Node) -> str:
        """The branches around a node in words."""
        words = [f"{attribute} of {owner.op_type} {node_name(owner)!r}" for owner, attribute in self.place(node)]
        words += [f"function {node.metadata_props[FUNCTION_KEY]}"] if FUNCTION_KEY in node.metadata_props else []
        return " > ".join(words) or "main graph"

    def nodes(self) -> Iterator[ir.Node]:
        """All nodes, also inside branches."""
        return iter(self.model.graph.all_nodes())

    def is_random(self, node: ir.Node) -> bool:
        """Whether a node draws random numbers; of operators that nobody here knows, those with a ``seed`` do."""
        if node.domain == ONNXRUNTIME and node.op_type in (*FUSED_DROPOUTS, SAMPLING, HASH):
            places = FUSED_DROPOUTS.get(node.op_type)
            return may_drop(node, *places) if places is not None else node.op_type == SAMPLING
        opset = self.model.opset_imports.get(node.domain, 0)
        if not has_schema(node.domain, node.op_type, opset):
            return "seed" in node.attributes
        return is_random_op(node.domain, node.op_type, opset) and (node.op_type != "Dropout" or may_train(node, opset))

    def upstream(self, value: ir.Value) -> Mapping[ir.Value, None]:
        """All values that a value is computed from, itself first; the order does not change from run to run."""
        return dict.fromkeys(self.claimed({value: value}))

    def claimed(self, starts: Mapping[ir.Value, T]) -> dict[ir.Value, T]:
        """All values that some values are computed from, each with what belongs to the first one that needs it."""
        found: dict[ir.Value, T] = {}
        for start, owner in starts.items():
            todo = [start]
            while todo:
                value = todo.pop()
                if value not in found:
                    found[value] = owner
                    producer = value.producer()
                    todo += [v for v in (producer.inputs if producer is not None else ()) if v is not None]
        return found

    def number(self, value: ir.Value) -> Any:
        """A key that two values share where they are computed alike (value numbering)."""
        if value not in self._numbers:
            for one in reversed(self._in_order(value)):
                self._numbers[one] = self._number(one)
        return self._numbers[value]

    def _in_order(self, value: ir.Value) -> list[ir.Value]:
        """The values without a number that ``value`` is computed from, each after those that need it."""
        order: dict[ir.Value, None] = {}
        todo = [value]
        while todo:
            one = todo.pop()
            if one in self._numbers:
                continue
            order.pop(one, None)
            order[one] = None
            producer = one.producer()
            todo += [v for v in (producer.inputs if producer is not None else ()) if v is not None]
        return list(order)

    def _number(self, value: ir.Value) -> Any:
        producer = value.producer()
        if producer is None:
            array = small_constant(value)
            return (id(value),) if array is None else hash((array.dtype.str, array.shape, array.tobytes()))
        plain = all(a.type != ir.AttributeType.GRAPH for a in producer.attributes.values())
        if self.is_random(producer) or not plain:
            return (id(value),)
        attributes = tuple(sorted((name, _key(a)) for name, a in producer.attributes.items()))
        inputs = tuple(None if v is None else self._numbers.get(v, (id(v),)) for v in producer.inputs)
        return hash((producer.domain, producer.op_type, attributes, inputs, value.index()))

    def _walk(self, graph: ir.Graph, place: Place) -> None:
        self._places[graph] = place
        for node in graph:
            origin = self.inputs_origin(node)
            for name, body in subgraphs(node):
                for value in body.inputs:
                    self._origins[value] = origin
                self._walk(body, (*place, (node, name)))
                for value in body.outputs:
                    origin |= self.origin(value)
                if body.inputs and any(self.origin(v) != origin for v in body.inputs):  # carried from turn to turn
                    for value in body.inputs:
                        self._origins[value] = origin
                    self._walk(body, (*place, (node, name)))
            if not node.domain and node.op_type in ("Shape", "Size"):
                origin = Origin(self._level_of_sizes(node))
            if self.is_random(node):
                self.random.append(node)
                origin |= Origin(random=frozenset({node}))
            for value in node.outputs:
                self._origins[value] = origin

    def _level_of_sizes(self, node: ir.Node) -> Level:
        value = node.inputs[0] if node.inputs else None
        if value is None or self.origin(value).level == Level.CONSTANT:
            return Level.CONSTANT
        fixed = value.shape is not None and all(isinstance(d, int) for d in value.shape)
        return Level.STATIC if fixed else Level.SHAPE

    def _find_decisions(self) -> Iterator[GraphDecision]:
        for node in self.nodes():
            if node.domain:
                continue
            looked_at: list[ir.Value | None] = []
            if node.op_type in ("If", "Where"):
                looked_at = list(node.inputs[:1])
            elif node.op_type == "Loop":
                looked_at = [*node.inputs[:2], *node.attributes["body"].as_graph().outputs[:1]]
            elif node.op_type == "Mul":
                looked_at = [v for v in node.inputs if v is not None and (self._is_choice(v) or self._is_folded(v))]
            elif node.op_type in INDEXING:
                looked_at = [v for v in node.inputs[1:2] if v is not None and self._is_choice(v)]
            for value in looked_at:
                if value is not None:
                    yield GraphDecision(node, value, self.origin(value))

    def _is_folded(self, value: ir.Value) -> bool:
        """Whether a value is a comparison of constants, in the form of a number."""
        producer = value.producer()
        while producer is not None and not producer.domain and producer.op_type in PASSING and producer.inputs[0]:
            producer = producer.inputs[0].producer()
        compared = producer is not None and not producer.domain and producer.op_type in COMPARISONS
        return compared and self.origin(value) == Origin()

    def _is_choice(self, value: ir.Value) -> bool:
        """Whether a value is a random number that was made discrete: a comparison's, rounded, or drawn so."""
        if not self.origin(value).random:
            return False
        producer = value.producer()
        while producer is not None and not producer.domain:
            if producer.op_type in DISCRETE or producer.op_type in ("Bernoulli", "Multinomial"):
                return True
            inputs = [v for v in producer.inputs if v is not None]
            if producer.op_type == "Cast" and _is_whole(producer.outputs[0].dtype) and not _is_whole(inputs[0].dtype):
                return True
            if producer.op_type not in PASSING | SCALING:
                return False
            random = [v for v in inputs if self.origin(v).random]
            if not random or any(self.origin(v).level > Level.CONSTANT for v in inputs if v not in random):
                return False
            producer = random[0].producer()
        return False


def subgraphs(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    """Yields the bodies of a node, each with the attribute's name."""
    for name, attribute in node.attributes.items():
        if attribute.type == ir.AttributeType.GRAPH:
            yield name, attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            for number, graph in enumerate(attribute.as_graphs()):
                yield f"{name}[{number}]", graph


def _key(attribute: ir.Attr) -> str:
    """What tells an attribute from another of its name."""
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        return f"{tensor.dtype}{tensor.shape}{tensor.tobytes().hex() if tensor.size <= SMALL else id(tensor)}"
    return str(attribute.value)


def node_name(node: ir.Node) -> str:
    """The node's name; its first output's where it has none."""
    return node.name or next((v.name for v in node.outputs if v.name), "") or node.op_type


def constant_of(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a value: an initializer that is no input, or a Constant node's; else None."""
    if value is None or value.is_graph_input():
        return None
    return ir.convenience.get_const_tensor(value)


def small_constant(value: ir.Value | None, limit: int = SMALL) -> np.ndarray[Any, Any] | None:
    """The array behind a value, where it is a constant of at most ``limit`` elements and can be read."""
    tensor = constant_of(value)
    if tensor is None or tensor.size > limit or tensor.dtype == ir.DataType.STRING:
        return None
    try:
        return tensor.numpy()
    except (OSError, ValueError, TypeError):  # external data that is missing or cut short
        return None


def _is_whole(dtype: ir.DataType | None) -> bool:
    return dtype is not None and (dtype.is_integer() or dtype == ir.DataType.BOOL)


def may_train(dropout: ir.Node, opset: int) -> bool:
    """Whether a Dropout is, or can be fed to be, in training mode, and then drops anything."""
    if opset < 7:
        return "is_test" not in dropout.attributes or not dropout.attributes["is_test"].as_int()
    return may_drop(dropout, 1, 2)


def may_drop(dropout: ir.Node, ratio: int, training_mode: int) -> bool:
    """Whether a Dropout may be in training mode and drop anything, by these two of its inputs."""
    inputs = dict(enumerate(dropout.inputs))
    share = small_constant(inputs.get(ratio))
    if share is not None and not share.any():
        return False
    if inputs.get(training_mode) is None:
        return False
    mode = small_constant(inputs[training_mode])
    return mode is None or bool(mode.any())
