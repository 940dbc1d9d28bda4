"""Scopes: how the branch that a node was captured in comes through the exporter to the node of the graph."""

from __future__ import annotations

import ast

import onnx_ir as ir
import torch

from rr_export.capture.recorder import SCOPE_KEY

_SCOPE_MARK = "@rr:"


def tag_scopes(program: torch.export.ExportedProgram) -> None:
    """Puts each node's scope where the ONNX exporter keeps it: as one more name of its module stack."""
    for node in program.graph.nodes:
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
