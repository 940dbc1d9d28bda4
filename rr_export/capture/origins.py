"""Where the nodes of a graph come from, for messages: kept beside the graph in memory, never written to a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import onnx_ir as ir
import torch

ORIGIN_KEY = "rr.origin"
_LIBRARIES = tuple(str(Path(file).parent) for file in (torch.__file__, Path(__file__).parent))


def note_origins(model: ir.Model) -> None:
    """Every node knows the module and the line of the user's code that it was captured in, whatever becomes of it."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        names = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        module = next((n for n in names[-2::-1] if n and not n.startswith("@")), "the model")
        lines = re.findall(r'File "(.+?)", line (\d+)', node.metadata_props.get("pkg.torch.onnx.stack_trace", ""))
        own = [f"{file}:{line}" for file, line in lines if not file.startswith(_LIBRARIES)]
        node.meta[ORIGIN_KEY] = f"{module!r} ({own[-1]})" if own else repr(module)


def origin_of(node: ir.Node) -> str:
    """Returns the module that a node comes from, and the user's line where it is known."""
    return str(node.meta.get(ORIGIN_KEY, "the model"))
