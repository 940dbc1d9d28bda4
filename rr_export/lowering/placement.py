"""In which branch every node of the flat graph belongs.

A scope is a tuple of (call, branch) pairs, outermost first; () is the main graph. A node belongs where it was
captured: a file is as lazy as the eager model, no more and no less. Two kinds of nodes go by their consumers
instead, into the innermost scope that holds all of them: constants and nodes without a captured scope, as
long as they hold no weight and no marker. A node that something outside its scope needs is a leak, unless it is
integer shape arithmetic, which moves out to where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import onnx_ir as ir

from rr_export.capture.origins import SCOPE_KEY
from rr_export.errors import LoweringError

if TYPE_CHECKING:
    from rr_export.capture.captured_model import Captured

Scope = tuple[tuple[int, int], ...]


class Usage(NamedTuple):
    """Where a value is read: by which input of which node."""

    node: ir.Node
    idx: int


SHAPE_OPS = {"Shape", "Size"}
MARKERS = "rr"


@dataclass
class Placement:
    """Where everything goes.

    Attributes:
        scopes: scope of every live node.
        selects: the live ``rr::Select`` node of every call that has one.
        outputs: positions of the live outputs of that Select.
    """

    scopes: dict[ir.Node, Scope] = field(default_factory=dict)
    selects: dict[int, ir.Node] = field(default_factory=dict)
    outputs: dict[int, list[int]] = field(default_factory=dict)


class Uses:
    """Who reads the values of a flat graph, and in which scope; known from its last node on.

    Attributes:
        scopes: scope of every live node so far.
        outputs: positions of the live outputs of every live Select.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.scopes: dict[ir.Node, Scope] = {}
        self.outputs: dict[ir.Node, list[int]] = {}
        self._owners = {inner: node for node in graph for inner in _inside(node)}
        self._results = {id(v) for v in graph.outputs}

    def of(self, node: ir.Node) -> list[tuple[Usage | None, Scope]]:
        """Returns the live uses of a node's values, each with the scope that needs it; None: as an output."""
        return [found for value in node.outputs for found in self._of_value(value)]

    def put(self, node: ir.Node, scope: Scope) -> None:
        """The node is live, and computed in this scope."""
        self.scopes[node] = scope
        self._owners |= dict.fromkeys(_inside(node), node)
        if is_select(node):
            self.outputs[node] = [i for i, v in enumerate(node.outputs) if any(True for _ in self._of_value(v))]

    def _of_value(self, value: ir.Value) -> Iterator[tuple[Usage | None, Scope]]:
        """Uses by dead nodes do not count."""
        if id(value) in self._results:
            yield None, ()
        for usage in value.uses():
            user = self._owners.get(usage.node, usage.node)
            scope = self.scopes.get(user)
            if scope is None:
                continue
            if not is_select(user) or usage.idx == 0:
                yield Usage(*usage), scope
                continue
            branch, output = operand_branch(user, usage.idx)
            if output in self.outputs[user]:
                yield Usage(*usage), (*scope, (user.attributes["call"].as_int(), branch))


def place(graph: ir.Graph, captured: Captured) -> Placement:
    """Returns the placement of all live nodes of the flat graph; dead ones have none.

    Raises:
        LoweringError: a value leaves its branch other than as the branch's result.
    """
    uses, shapes = Uses(graph), shape_arithmetic(graph)
    placement = Placement(uses.scopes)
    for node in reversed(graph):
        readers = [needed for _, needed in uses.of(node)]
        if not readers:
            continue
        needed = common(readers)
        captured_in = captured_scope(node)
        if captured_in is None:
            scope = needed
        elif encloses(captured_in, needed):
            scope = captured_in
        elif node in shapes:
            scope = common([captured_in, needed])
        else:
            raise _leak(node, captured_in, needed, captured)
        uses.put(node, scope)
        if is_select(node):
            call = node.attributes["call"].as_int()
            placement.selects[call], placement.outputs[call] = node, uses.outputs[node]
    return placement


def operand_branch(select: ir.Node, position: int) -> tuple[int, int]:
    """Returns (branch, output) of an operand of a Select; operand 0 is the route."""
    return divmod(position - 1, len(select.outputs))


def is_select(node: ir.Node) -> bool:
    """Returns whether a node is the marker that joins branches."""
    return node.domain == MARKERS and node.op_type == "Select"


def _inside(node: ir.Node) -> Iterable[ir.Node]:
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield from ir.traversal.RecursiveGraphIterator(attribute.as_graph())


def captured_scope(node: ir.Node) -> Scope | None:
    """Returns the scope written by capture; None for a node that may follow its consumers."""
    if node.op_type == "Constant":
        return None
    text = node.metadata_props.get(SCOPE_KEY)
    if text is None:
        heavy = node.domain == MARKERS or any(v is not None and v.is_initializer() for v in node.inputs)
        return () if heavy else None
    return parse_scope(text)


def parse_scope(text: str) -> Scope:
    """Returns the (call, branch) pairs of ``call:branch/call:branch/...``."""
    return tuple((int(c), int(k)) for c, _, k in (part.partition(":") for part in text.split("/") if part))


def shape_arithmetic(nodes: Iterable[ir.Node]) -> set[ir.Node]:
    """Returns the nodes, of some in their order, that compute integers from nothing but shapes and constants."""
    found: set[ir.Node] = set()
    for node in nodes:
        if node.op_type in (*SHAPE_OPS, "Constant"):
            found.add(node)
            continue
        computed = bool(node.inputs) and not any(True for _ in _inside(node))
        if computed and all(v is None or v.producer() in found or _small_integer(v) for v in node.inputs):
            found.add(node)
    return found


def _small_integer(value: ir.Value) -> bool:
    constant = value.const_value
    return constant is not None and constant.dtype.is_integer() and constant.size <= 64


def common(scopes: Sequence[Scope]) -> Scope:
    """Returns the innermost scope that holds all of these."""
    first, last = min(scopes), max(scopes)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def encloses(outer: Scope, inner: Scope) -> bool:
    """Returns whether a scope is another one, or around it."""
    return inner[: len(outer)] == outer


def _leak(node: ir.Node, scope: Scope, needed: Scope, captured: Captured) -> LoweringError:
    depth = len(common([scope, needed]))
    call, branch = scope[depth]
    name, *branches = captured.names(call)
    value = node.outputs[0]
    return LoweringError(
        f"site {name!r}, branch {branches[branch]!r}: expected values to leave the branch only as its "
        f"result, got {value.name!r} ({node.op_type}, {value.dtype} {value.shape}) used outside it; return the value "
        "from the branch, and keep no caches, lists or hooks across its border"
    )
