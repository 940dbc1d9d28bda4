"""Scopes: how the branch that a node was captured in comes through the exporter to the node of the graph."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import onnx_ir as ir
import torch
from torch._ops import HigherOrderOperator
from torch.fx.experimental.symbolic_shapes import PropagateUnbackedSymInts

from rr_export.capture.origins import SCOPE_KEY

_SCOPE_MARK = "@rr:"


def tag_scopes(program: torch.export.ExportedProgram) -> None:
    """Puts each node's scope where the ONNX exporter keeps it: as one more name of its module stack.

    Regions of another grad mode or of autocast, which torch.export wraps up, are nodes like any others afterwards.
    """
    for node in _all_nodes(program.graph_module):
        if node.target in _REGIONS:
            node.target = _REGIONS[node.target]
        scope = (node.meta.get("custom") or {}).get(SCOPE_KEY)
        stack = node.meta.get("nn_module_stack")
        if scope and stack is not None:
            node.meta["nn_module_stack"] = {**stack, _SCOPE_MARK: (_SCOPE_MARK + scope, "rr.Branch")}


def read_scopes(model: ir.Model) -> None:
    """Turns the exporter's name scopes into ``rr.scope``; a node without any keeps no key at all."""
    for node in model.graph:
        names = node.metadata_props.get("pkg.torch.onnx.name_scopes")
        if names is not None:
            marks = [n for n in ast.literal_eval(names) if n.startswith(_SCOPE_MARK)]
            node.metadata_props[SCOPE_KEY] = marks[-1].removeprefix(_SCOPE_MARK) if marks else ""


def _all_nodes(module: torch.fx.GraphModule) -> Iterator[torch.fx.Node]:
    """The nodes of a graph, and of the graphs that it runs."""
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            yield from part.graph.nodes


class _Region(HigherOrderOperator):
    """A region that runs node by node, so that each node says where it comes from."""

    def __call__(self, *args: Any) -> Any:
        """Returns what the region computes: its settings come before its body, what it reads comes after."""
        at = next(i for i, arg in enumerate(args) if isinstance(arg, torch.fx.GraphModule))
        settings, body, given = args[:at], args[at], args[at + 1 :]
        with self.entered(*settings):
            return PropagateUnbackedSymInts(body).run(*given)

    def entered(self, *settings: Any) -> AbstractContextManager[Any]:
        """The mode of a region; grad modes, whose settings are one flag, change no value."""
        return nullcontext()


class _Autocast(_Region):
    def entered(self, *settings: Any) -> AbstractContextManager[Any]:
        device, dtype, enabled, cached = settings
        return torch.autocast(device, dtype, enabled=enabled, cache_enabled=cached)


_REGIONS: dict[Any, HigherOrderOperator] = {
    torch.ops.higher_order.wrap_with_set_grad_enabled: _Region("rr_grad_region"),  # type: ignore[no-untyped-call]
    torch.ops.higher_order.wrap_with_autocast: _Autocast("rr_autocast_region"),  # type: ignore[no-untyped-call]
}
