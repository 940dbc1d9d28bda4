"""Programs in which torch has nothing to decompose, which go on to ONNX as they were traced.

Tracing a program anew, with its composite operators taken apart, takes torch's exporter more time than all else that
the export of a small model needs (2.13 and 2.14). Where each operator has a translation of its own, changes nothing in
place and would be traced as itself, the new trace is the old one but for a few calls:

before:  reshape(x, s), to(x, dtype), detach_(lift_fresh_copy(x)), and values that nobody uses
after:   view(x, s), _to_copy(x, dtype) or x, clone(x)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch._export.utils import _is_cia_op, _is_preservable_cia_op
from torch._prims_common import is_contiguous_or_false
from torch.fx import Node

aten = torch.ops.aten


def is_decomposed(program: torch.export.ExportedProgram, translated: Collection[Any], table: Mapping[Any, Any]) -> bool:
    """Returns whether the program is what torch would make of it, apart from what ``tidy`` does.

    Args:
        program: as it was traced.
        translated: operators that have a translation to ONNX.
        table: of the operators that are decomposed, the functions that do it.
    """
    nodes = [node for node in program.graph.nodes if node.op != "placeholder"]
    *inner, output = nodes
    return all(result.op == "call_function" and not _is_same(result) for result in output.all_input_nodes) and all(
        node.op == "call_function" and (_is_simple(node) or _stays(node.target, translated, table)) for node in inner
    )


def _is_simple(node: Node) -> bool:
    """Whether it is known what a call is traced as."""
    if node.target is aten.to.dtype:
        return len(node.args) == 2 and not node.kwargs
    if node.target is aten.detach_.default:
        return isinstance(node.args[0], Node) and node.args[0].target is aten.lift_fresh_copy.default
    if node.target is aten.reshape.default:  # others are copied first
        return is_contiguous_or_false(node.args[0].meta["val"])  # type: ignore[union-attr]
    return node.target in _SIMPLE


def _stays(target: Any, translated: Collection[Any], table: Mapping[Any, Any]) -> bool:
    """Whether a call of an operator is traced as that call."""
    return (
        isinstance(target, torch._ops.OpOverload)
        and target in translated
        and target not in table
        and not target._schema.is_mutable
        and (_is_preservable_cia_op(target) or not _is_cia_op(target))
    )


def tidy(program: torch.export.ExportedProgram) -> None:
    """The calls of the program are those of a new trace."""
    graph = program.graph
    graph.eliminate_dead_code()
    for node in graph.nodes:
        change = _CHANGES.get(node.target)
        if change is not None:
            change(node)


def _is_same(node: Node) -> bool:
    """Whether a call gives its first argument."""
    return node.target is aten.to.dtype and node.meta["val"].dtype is node.args[0].meta["val"].dtype  # type: ignore[union-attr]


def _view(node: Node) -> None:
    """``reshape`` has a translation which takes no empty tensors."""
    node.target = aten.view.default
    node.kwargs = {("size" if name == "shape" else name): value for name, value in node.kwargs.items()}


def _copy(node: Node) -> None:
    if _is_same(node):
        _leave_out(node)
        return
    value, dtype = node.args
    node.target, node.args, node.kwargs = aten._to_copy.default, (value,), {"dtype": dtype}


def _clone(node: Node) -> None:
    node.target = aten.clone.default


def _leave_out(node: Node) -> None:
    (value, *_) = node.args
    assert isinstance(value, Node)
    node.replace_all_uses_with(value)
    node.graph.erase_node(node)


_SIMPLE = {
    operator.getitem,
    aten.lift_fresh_copy.default,
    aten._assert_tensor_metadata.default,  # torch.onnx leaves it out
}
_CHANGES: dict[Any, Callable[[Node], None]] = {
    aten.reshape.default: _view,
    aten.to.dtype: _copy,
    aten.lift_fresh_copy.default: _clone,
    aten.detach_.default: _leave_out,
}
