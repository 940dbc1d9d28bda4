"""What a file computes on a path that the eager model does not, found without what the file says of itself.

Two questions, for the nodes that ran on a path. Which weights did they read? The eager model must read the same ones on
that path. And which of them did nothing for the outputs? Their results are there for branches that were not taken: the
eager model must have computed them too, or compute them nowhere and from nothing that is like a weight: a weight with
its rows in another order, or scaled, is a constant of the file that the eager model has not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from numpy.typing import NDArray

from rr_export.lowering.deciding_slice import CUT, Path_
from rr_export.lowering.placement import shape_arithmetic
from rr_export.parity.eager_model import Eager
from rr_export.parity.eager_work import Work, memory
from rr_export.parity.executed import LEVELS, Executable, proving_options
from rr_export.parity.intermediates import bodies, led_out
from rr_export.parity.subject import File
from rr_export.parity.terms import Terms

LEAST = 16  # elements; smaller weights may be equal to constants by chance


def wasted_work(
    executable: Executable, paths: Sequence[Path_], ran: Sequence[set[str]], eager: Eager, file: File, terms: Terms
) -> list[str]:
    """Returns one sentence for everything that the file reads or computes on a path, and the eager model does not.

    Args:
        executable: the file as ONNX Runtime runs it, not optimised.
        paths: the paths.
        ran: the names of the nodes that ran on each.
        eager: the eager model.
        file: the file.
        terms: what counts as equal.
    """
    failures: list[str] = []
    weights = _Weights(eager, executable.model)
    for path, names in zip(paths, ran, strict=True):
        nodes = [n for n in executable.model.graph.all_nodes() if n.name in names]
        idle = unread_values(executable.model.graph, nodes)
        arrays = _values_on(executable, idle, file.feeds(eager.inputs, path))
        arrays = {name: array for name, array in arrays.items() if array.ndim}  # numbers may be Python's own
        needed = _needed(executable.model.graph, dict.fromkeys(nodes))
        alone = {node: None for node in nodes if node not in needed}
        strange = {v: found for v in idle if (found := weights.strange(_upstream(v, alone)))}
        sizes = {array.size for found in strange.values() for array in found.values()}
        with Work({array.size for array in arrays.values()} | sizes) as work:
            eager.on_path(path)
        where = f"path {list(path)}"
        for name, node in weights.read_by(nodes, work.read):
            failures.append(
                f"{where}: expected weight {name!r} to be read where the eager model reads it, got it read by "
                f"{executable.origins[node.name or ''] or node.op_type!r} ({node.op_type})"
            )
        odd = [v for v in idle if v.name in arrays and not work.computed(arrays[v.name or ""], terms.rtol, terms.atol)]
        for value in _found_elsewhere(odd, arrays, path, eager, file, terms):
            failures.append(
                f"{where}: expected {value.name!r}, which only branches that are not taken read, to be computed "
                "in them, as the eager model does; got it computed"
            )
        for value in odd:
            for name, constant in strange.get(value, {}).items():
                if not work.computed(constant, 0, 0):
                    failures.append(
                        f"{where}: expected {value.name!r}, which only branches that are not taken read, to be made "
                        f"in them; got it made from {name!r}, which is no weight or value of the eager model"
                    )
    return failures


def _found_elsewhere(
    values: Sequence[ir.Value], arrays: dict[str, NDArray[Any]], path: Path_, eager: Eager, file: File, terms: Terms
) -> list[ir.Value]:
    """Those of the values that the eager model computes where one site takes another route.

    What it computes nowhere, such as a mask that a library makes for exporters alone, is no branch's.
    """
    found: list[ir.Value] = []
    for i, site in enumerate(file.plan.sites if values else ()):
        for route in range(site.policy.branches):
            if path[i] not in (route, -1):
                with Work({array.size for array in arrays.values()}) as work:
                    eager.on_path([*path[:i], route, *path[i + 1 :]])
                found += [v for v in values if work.computed(arrays[v.name or ""], terms.rtol, terms.atol)]
    return list(dict.fromkeys(found))


def unread_values(graph: ir.Graph, ran: Iterable[ir.Node]) -> list[ir.Value]:
    """Returns the values that were computed for nodes that did not run, or for none.

    Whole numbers that are computed from sizes alone are left out: they may be shared by branches. What an ``If`` or
    ``Identity`` hands on stands where it is computed.

    Args:
        graph: the main graph.
        ran: the nodes that ran.
    """
    executed = dict.fromkeys(ran)
    needed = _needed(graph, executed)
    free = shape_arithmetic(graph.all_nodes())
    idle = [
        _handed_on(value)
        for node in executed
        if node not in needed
        for value in node.outputs
        if value.name != CUT
        if any(usage.node not in executed for usage in value.uses()) or not any(v.uses() for v in node.outputs)
    ]
    computed = [(v, node) for v in dict.fromkeys(idle) if (node := v.producer()) is not None and node not in free]
    return [value for value, node in computed if node.op_type != "If"]  # in whose bodies it is computed


def _upstream(value: ir.Value, among: Mapping[ir.Node, None]) -> Iterator[ir.Node]:
    """Yields those of some nodes that a value is computed by, from one to the next."""
    seen: set[ir.Node] = set()
    todo: list[ir.Value | None] = [value]
    while todo:
        read = todo.pop()
        node = None if read is None else read.producer()
        if node is not None and node in among and node not in seen:
            seen.add(node)
            yield node
            todo.extend(node.inputs)


def _handed_on(value: ir.Value) -> ir.Value:
    """The value that ``Identity`` nodes hand on as this one."""
    node = value.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _needed(graph: ir.Graph, executed: dict[ir.Node, None]) -> set[ir.Node]:
    """The nodes that an output of the graph, or a condition, is computed from."""
    needed: set[ir.Node] = set()
    todo: list[ir.Value | None] = [*graph.outputs]
    todo += [n.inputs[0] for n in executed if n.op_type == "If"]
    while todo:
        value = todo.pop()
        node = None if value is None else value.producer()
        if node is None or node in needed:
            continue
        needed.add(node)
        todo.extend(node.inputs)
        inside = bodies(node)
        if node.op_type == "If":
            for body in [body for body in inside if any(n in executed for n in body)] or inside:
                todo.extend(body.outputs)
            continue
        for body in inside:  # of a loop: as one
            for inner in body.all_nodes():
                needed.add(inner)
                todo.extend(inner.inputs)
    return needed


def _values_on(
    executable: Executable, values: Sequence[ir.Value], feeds: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """What some values are in a run of the file, by name."""
    if not values:
        return {}
    copy = executable.model.clone()
    found = {v.name: v for node in copy.graph.all_nodes() for v in node.outputs}
    owners = {body: node for node in copy.graph.all_nodes() for body in bodies(node)}
    led = {value.name or "": led_out(found[value.name], owners) for value in values}
    copy.graph.outputs.extend(value for value in led.values() if not value.is_graph_output())
    opened = executable.path.with_name("values.onnx")  # beside the weights
    ir.save(copy, opened)
    options = proving_options(LEVELS["disabled"])
    session = onnxruntime.InferenceSession(str(opened), options, providers=["CPUExecutionProvider"])
    arrays = session.run([value.name for value in led.values()], feeds)
    return dict(zip(led, map(np.asarray, arrays), strict=True))


class _Weights:
    """The weights of a file that are the model's own, known by their bytes."""

    def __init__(self, eager: Eager, model: ir.Model) -> None:
        self.memories: dict[bytes | None, set[int]] = {}
        self.names: dict[bytes | None, str] = {}
        for name, tensor in (*eager.model.named_parameters(), *eager.model.named_buffers()):
            if not tensor.is_floating_point() or tensor.numel() < LEAST:
                continue
            for form in (tensor, tensor.t()) if tensor.dim() == 2 else (tensor,):
                key = None if tensor.dtype == torch.bfloat16 else _key(form.detach().numpy())
                if key is not None:
                    self.memories.setdefault(key, set()).add(memory(tensor))
                    self.names.setdefault(key, name)
        self.keys: dict[ir.Value, bytes | None] = {}
        for graph in model.graphs():
            for value in graph.initializers.values():
                constant = value.const_value
                if constant is not None and constant.dtype.is_floating_point() and constant.size >= LEAST:
                    key = _key(constant.numpy())
                    if key in self.memories:
                        self.keys[value] = key

    def strange(self, nodes: Iterable[ir.Node]) -> dict[str, NDArray[Any]]:
        """Returns by name the large constants that nodes read, numbers of many values that are no weights."""
        found: dict[str, NDArray[Any]] = {}
        for value in dict.fromkeys(_handed_on(v) for node in nodes for v in node.inputs if v is not None):
            constant = ir.convenience.get_const_tensor(value)
            if constant is None or not constant.dtype.is_floating_point() or constant.size < LEAST:
                continue
            array = constant.numpy()
            key = _key(array)
            if key is not None and key not in self.memories:
                found[value.name or ""] = array
        return found

    def read_by(self, nodes: Iterable[ir.Node], memories: set[int]) -> Iterator[tuple[str, ir.Node]]:
        """Yields the weights that nodes read, with the first node, that are not in these memories."""
        seen: set[bytes | None] = set()
        for node in nodes:
            for value in node.inputs if node.op_type != "Identity" else ():
                key = self.keys.get(value) if value is not None else None
                if key is not None and key not in seen and not self.memories[key] & memories:
                    seen.add(key)
                    yield self.names[key], node


def _key(array: NDArray[Any]) -> bytes | None:
    """What tells the values of an array from others'; None where all of them are alike."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if (flat == flat[0]).all():
        return None
    return hashlib.blake2b(flat.tobytes() + str(flat.dtype).encode(), digest_size=16).digest()
