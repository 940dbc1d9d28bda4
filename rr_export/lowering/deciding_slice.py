"""The part of a file that decides, cut out of it by its value names."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.laws.plan import Plan
from rr_export.lowering.prelude import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.reach import LATENT
from rr_runtime.draws import draws

CUT = f"{TAKEN}.cut"  # what a copy that is cut at the path taken still computes, for nobody

Path_ = Sequence[int]
Arrays = Mapping[str, NDArray[Any]]


class Decide(Protocol):
    """From a seed (None: the random node) and a path (None: all sites draw) to what a slice decides."""

    def __call__(self, seed: int | None, path: Path_ | None = None) -> NDArray[np.int64]:
        """Returns latent routes and path taken, int64 [2, S]."""


@dataclass(frozen=True)
class RoutingSlice:
    """The part of a file that decides, as a model of its own.

    Attributes:
        content: the serialized slice.
        outputs: names of latent routes and path taken, both int64 [S].
        feeds: from (seed, path) to the slice's inputs.
        has_random_node: whether the file decides by itself when no seed is given.
        forcible: whether the file takes a path.
        decoder: the part behind the draws alone, from draws float32 [S] and, unless standalone, a path.
    """

    content: bytes
    outputs: tuple[str, str]
    feeds: Callable[[int | None, Path_ | None], dict[str, NDArray[Any]]]
    has_random_node: bool
    decoder: bytes
    forcible: bool

    def decode(self) -> Callable[[NDArray[np.float32], Path_], NDArray[np.int64]]:
        """Returns the function from given draws and a path to latent routes, int64 [S]; standalone ignores the path."""
        session = open_slice(self.decoder)
        named = {node.name: node.type for node in session.get_inputs()}
        whole = named.get(DRAWS) == "tensor(int64)"

        def routes(given: NDArray[np.float32], path: Path_) -> NDArray[np.int64]:
            numbers = (given.astype(np.float64) * 2**24).astype(np.int64) if whole else given
            feeds = {DRAWS: numbers, PATH: np.array(path, dtype=np.int64)}
            feeds = {name: array for name, array in feeds.items() if name in named}
            return np.asarray(session.run([self.outputs[0]], feeds)[0])

        return routes

    @contextmanager
    def open(self) -> Iterator[Decide]:
        """Yields what the slice decides."""
        onnxruntime.set_seed(secrets.randbits(31))
        session, outputs = open_slice(self.content), list(self.outputs)

        def decide(seed: int | None, path: Path_ | None = None) -> NDArray[np.int64]:
            return np.array(session.run(outputs, self.feeds(seed, path)))

        yield decide


def routing_slice(source: Path, bundle: Bundle, inputs: Arrays) -> RoutingSlice:
    """Returns the routing slice of the file, cut out of it by its value names."""
    return cut_routing(ir.load(source), bundle.manifest["interface"], bundle.plan, inputs)


def cut_routing(model: ir.Model, interface: str, plan: Plan, inputs: Arrays) -> RoutingSlice:
    """Returns the routing slice of a model, which stays as it is.

    Where the input decides at some sites, both of its outputs are the latent routes, and these sites take route 0
    unless another one is asked for.

    Args:
        model: a model whose main graph has the values ``rr_path_taken``, ``rr_draws`` and, where a site is nested,
            ``rr_routes``.
        interface: which inputs it has.
        plan: its sites.
        inputs: the user's inputs, of which a standalone file needs one to draw.

    Raises:
        KeyError: the model has no such value.
        ValueError: what decides cannot be cut out.
    """
    count = len(plan.sites)
    taken = find_value(model.graph, LATENT if plan.gates else TAKEN)
    nested = any(() not in site.calls for site in plan.sites)
    latent = find_value(model.graph, LATENT) if nested else taken
    if interface != "host":
        find_value(model.graph, DRAWS)
    outputs = [latent, taken] if latent is not taken else [taken, taken]
    names = list(dict.fromkeys((latent.name or "", taken.name or "")))
    alone = len(plan.gates) == count and interface != "host"  # nothing here needs the draws, which are proven too
    needed = _inputs_of([*outputs, find_value(model.graph, DRAWS)] if alone else outputs)
    keep = [v for v in model.graph.inputs if v in needed]
    content = cut_out(model, [v.name or "" for v in keep], [*names, DRAWS] if alone else names)
    decoder = cut_out(model, [DRAWS, *([] if interface == "standalone" else [PATH])], names)
    free = np.full(count, -1, dtype=np.int64)
    free[list(plan.gates)] = 0  # so that every route is one

    def feeds(seed: int | None, path: Path_ | None) -> dict[str, NDArray[Any]]:
        asked = free if path is None else np.array(path, dtype=np.int64)
        given: Arrays
        if interface == "explicit":
            given = {SEED: np.array(-1 if seed is None else seed), PATH: asked}
        elif interface == "host":
            assert seed is not None
            given = {DRAWS: draws(seed, count), PATH: asked}
        else:
            given = inputs
        return {v.name or "": given[v.name or ""] for v in keep}  # where all sites are gates, no draw decides here

    return RoutingSlice(
        content, (latent.name or "", taken.name or ""), feeds, interface != "host", decoder, interface != "standalone"
    )


def cut_out(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The part of the main graph between these values, as a model of its own.

    Where the draws are made in the graph, ``rr_draws`` is int64 [S]: 2^24 times the draws.
    """
    graph = ir.convenience.extract(model.graph, list(inputs), list(outputs))
    graph.opset_imports.update(model.graph.opset_imports)
    for value in graph.inputs:
        graph.initializers.pop(value.name or "", None)  # a default would be taken instead of what is fed
        if value.name == DRAWS and value.type is None:
            value.type = ir.TensorType(ir.DataType.INT64)
    return self_contained(ir.Model(graph, ir_version=model.ir_version))


def self_contained(model: ir.Model) -> bytes:
    """Returns the model with all weights inside: what is opened from memory finds no file beside it.

    Raises:
        FileNotFoundError: weights that lie in a file of their own are missing.
    """
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = ir.tensor(value.const_value.numpy().copy(), name=value.name)
    return bytes(ir.to_proto(model).SerializeToString())


def cut_at_path(model: ir.Model, count: int) -> bytes:
    """Returns a standalone model, serialized, in which the path taken is an input; the model is consumed.

    Raises:
        KeyError: the model has no value ``rr_path_taken``.
    """
    give_path(model, count)
    return self_contained(model)


def give_path(model: ir.Model, count: int) -> None:
    """The path taken of a standalone model is an input now.

    Raises:
        KeyError: the model has no value ``rr_path_taken``.
    """
    taken = find_value(model.graph, TAKEN)
    given = ir.Value(name=TAKEN, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([count]))
    taken.name = CUT
    ir.convenience.replace_all_uses_with(taken, given)
    model.graph.inputs.append(given)


def find_value(graph: ir.Graph, name: str) -> ir.Value:
    """Returns the value of the main graph with this name.

    Raises:
        KeyError: there is none.
    """
    for node in graph:
        for value in node.outputs:
            if value.name == name:
                return value
    raise KeyError(f"expected a value {name!r} in the main graph, got none")


def open_slice(content: bytes) -> onnxruntime.InferenceSession:
    """Returns a session on a part of a file, for many tiny runs."""
    return onnxruntime.InferenceSession(content, single_thread(), providers=["CPUExecutionProvider"])


def single_thread() -> onnxruntime.SessionOptions:
    """Returns options for many tiny runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    return options


def _inputs_of(values: Sequence[ir.Value]) -> set[ir.Value]:
    found: set[ir.Value] = set()
    todo = list(values)
    while todo:
        value = todo.pop()
        if value in found:
            continue
        found.add(value)
        producer = value.producer()
        if producer is not None:
            todo += [v for v in producer.inputs if v is not None]
    return found


def threshold_failures(plan: Plan, routing: RoutingSlice) -> list[str]:
    """Returns one sentence per threshold that the file has elsewhere than the plan; nothing is drawn here.

    The file's decoder is given the least draw that reaches the threshold, and the one before it, 2^-24 less. For a
    later step of a chain every row is tried, by forcing the step before (a standalone file cannot be forced: it is
    tried in the row that the middle draws lead to).
    """
    failures: list[str] = []
    decode = routing.decode()
    for chain in plan.chains:
        for previous, i in zip((None, *chain), chain, strict=False):
            for row, level in np.ndindex(plan.sites[i].policy.thresholds.shape if i not in plan.gates else (0, 0)):
                reaching = np.ceil(plan.sites[i].policy.thresholds[row, level].astype(np.float64) * 2**24)
                for number in (reaching - 1, reaching):
                    if not 0 <= number < 2**24:
                        continue
                    draws = np.full(len(plan.sites), 0.5, dtype=np.float32)
                    draws[i] = number * 2.0**-24
                    path = np.full(len(plan.sites), -1)
                    if previous is not None and routing.forcible:
                        path[previous] = row
                    expected, got = plan.routes(draws, path)[i], decode(draws, path.tolist())[i]
                    if expected != got:
                        failures.append(
                            f"site {plan.sites[i].name!r}: expected draw {float(draws[i])!r} to take route {expected}, "
                            f"got {got}"
                        )
    return failures
