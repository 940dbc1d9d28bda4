"""Where the nodes of a graph come from: the branch, which the file keeps, and the line of code, which it does not.

The line is for messages, and kept beside the graph in memory.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import onnx_ir as ir

ORIGIN_KEY = "rr.origin"  # of a node in memory: module and line
SCOPE_KEY = "rr.scope"  # in its metadata: the branch, as call:branch/call:branch/...


def note_origins(model: ir.Model) -> None:
    """Every node knows the module and the line of the user's code that it was captured in, whatever becomes of it."""
    import torch

    libraries = tuple(str(Path(file).parent) for file in (torch.__file__, Path(__file__).parent))
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        names = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        module = next((n for n in names[-2::-1] if n and not n.startswith("@")), "")
        lines = re.findall(r'File "(.+?)", line (\d+)', node.metadata_props.get("pkg.torch.onnx.stack_trace", ""))
        own = [f"{file}:{line}" for file, line in lines if not file.startswith(libraries)]
        node.meta[ORIGIN_KEY] = (module, own[-1] if own else "")


def module_of(node: ir.Node) -> str:
    """Returns the path of the module that a node comes from; "" for the model itself, or where it is not known."""
    return str(node.meta.get(ORIGIN_KEY, ("", ""))[0])


def line_of(node: ir.Node) -> str:
    """Returns the user's line that a node comes from, as ``file.py:line``; "" where it is not known."""
    return str(node.meta.get(ORIGIN_KEY, ("", ""))[1])


def origin_of(node: ir.Node) -> str:
    """Returns the module that a node comes from, and the user's line where it is known."""
    module = repr(module_of(node)) if module_of(node) else "the model"
    line = line_of(node)
    return f"{module} ({line})" if line else module
