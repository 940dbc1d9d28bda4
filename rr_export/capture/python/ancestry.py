"""What a tensor was computed from, read off the graph that torch.export is making."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot
from torch.utils import _pytree as pytree

INPUT, SIZE = "the input", "the size of a dynamic axis"

# operators that take of their first tensor its sizes and type alone
_SIZES = {"zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty"}
_SIZES |= {"sym_size", "sym_numel", "sym_stride", "sym_storage_offset", "new_empty_strided"}


class Ancestry:
    """Knows of every value of the graph so far whether the input, or a size that is not fixed, is behind it.

    Nothing is left out: whatever is computed while the graph is made stands in it, with the sizes that are not fixed as
    values of their own. Values that share memory are one, since what is written into a view is written into its base.

    Args:
        inputs: tells the tensors that the model was given.
    """

    def __init__(self, inputs: Callable[[], Sequence[torch.Tensor]]) -> None:
        self._inputs = inputs
        self._last: Node | None = None
        self._graph: torch.fx.Graph | None = None
        self._from: dict[Node, str] = {}  # by the node that stands for all that share memory with it
        self._stands_for: dict[Node, Node] = {}

    def of(self, tensor: torch.Tensor) -> str | None:
        """Returns what a tensor was computed from: ``INPUT``, ``SIZE``, or None where it is the same in every run."""
        node = _node_of(tensor)
        if node is None:
            return None
        if node.graph is not self._graph:
            self._begin(node.graph)
        for one in self._new_nodes():
            self._follow(one)
        return self._from.get(self._root(node))

    def _begin(self, graph: torch.fx.Graph) -> None:
        self._graph, self._last, self._from, self._stands_for = graph, None, {}, {}
        for tensor in self._inputs():
            node = _node_of(tensor)
            if node is not None:
                self._from[node] = INPUT

    def _new_nodes(self) -> Iterator[Node]:
        assert self._graph is not None
        node = self._graph._root.next if self._last is None else self._last.next
        while node.op != "root":
            self._last = node
            yield node
            node = node.next

    def _follow(self, node: Node) -> None:
        found = [self._from.get(self._root(n)) for n in _counted(node)]
        origin = INPUT if INPUT in found else SIZE if SIZE in found or _reads_size(node) else None
        written, shared = _aliases(node)
        for other in (*written, *shared):
            self._join(node, other)
        if origin is not None:
            for one in (node, *written):
                self._mark(self._root(one), origin)

    def _mark(self, node: Node, origin: str) -> None:
        if self._from.get(node) != INPUT:
            self._from[node] = origin

    def _join(self, node: Node, other: Node) -> None:
        one, two = self._root(node), self._root(other)
        if one is not two:
            self._stands_for[one] = two
            if one in self._from:
                self._mark(two, self._from[one])

    def _root(self, node: Node) -> Node:
        while node in self._stands_for:
            node = self._stands_for[node]
        return node


def _node_of(tensor: torch.Tensor) -> Node | None:
    """The node that computes a tensor; None where it is a constant that the graph has not met."""
    mode = get_proxy_mode()
    if mode is None:
        return None
    found: Any = get_proxy_slot(tensor, mode.tracer, None)
    return None if found is None else found.proxy.node


def _counted(node: Node) -> list[Node]:
    """The values whose numbers an operator uses."""
    if not _is_of_sizes(node):
        return node.all_input_nodes
    rest = pytree.tree_leaves((node.args[1:], node.kwargs))
    return [n for n in rest if isinstance(n, Node)]


def _is_of_sizes(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target.overloadpacket.__name__ in _SIZES


def _reads_size(node: Node) -> bool:
    """Whether sizes that are not fixed come out of a tensor here."""
    if not _is_of_sizes(node) or not isinstance(node.args[0], Node):
        return False
    value = node.meta.get("val")
    sizes = value.shape if isinstance(value, torch.Tensor) else (value,)
    return any(isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None for size in sizes)


def _aliases(node: Node) -> tuple[list[Node], list[Node]]:
    """The values that an operator writes into, and those whose memory its results share."""
    if node.target is operator.getitem:
        return [], [n for n in node.all_input_nodes if n.target is not operator.getitem]
    if not isinstance(node.target, torch._ops.OpOverload):
        return [], []
    schema = node.target._schema
    returned = any(r.alias_info is not None for r in schema.returns)
    written: list[Node] = []
    shared: list[Node] = []
    for place, argument in enumerate(schema.arguments):
        if argument.alias_info is None:
            continue
        given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name)
        nodes = [n for n in pytree.tree_leaves(given) if isinstance(n, Node)]
        if argument.alias_info.is_write:
            written += nodes
        elif returned:
            shared += nodes
    return written, shared
