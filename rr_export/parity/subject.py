"""The two sides of a comparison, each called the same way: an eager model and an exported file."""

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
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree as pytree

from rr_export.bundle import MODEL, Bundle
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.reach import LATENT
from rr_export.parity.compare import Arrays
from rr_export.plan import Plan
from rr_export.run import forced, open_runs_at, seeded
from rr_export.signature import Request, bind_request, flat_inputs, flat_outputs
from rr_runtime import Session
from rr_runtime.draws import draws

Path_ = Sequence[int]


@dataclass(frozen=True)
class Answer:
    """Outputs by name, and the path taken, int64 [S]."""

    outputs: Arrays
    path: NDArray[np.int64]


class Eager:
    """The eager model with one set of arguments."""

    def __init__(self, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.model, self.args, self.kwargs = model, args, dict(kwargs)
        self.request: Request = bind_request(model, args, self.kwargs, None)
        self.inputs = flat_inputs(self.request, args, self.kwargs)
        open_runs_at(model)

    def on_path(self, path: Path_) -> Answer:
        """Returns what the model gives when forced to ``path``."""
        with forced(self.model, list(path)) as record:
            outputs = self._call()
            return Answer(outputs, record.path if len(path) else np.empty(0, np.int64))

    def on_seed(self, seed: int) -> Answer:
        """Returns what the model gives with the draws of ``seed``."""
        with seeded(self.model, seed) as record:
            return Answer(self._call(), record.path)

    def free(self) -> Arrays:
        """Returns what the model gives with draws of its own."""
        return self._call()

    def resized(self, sizes: Mapping[str, int], axes: Mapping[str, Sequence[int | str]]) -> Eager:
        """Returns the model with arguments whose named axes have other sizes (elements repeat cyclically)."""

        def resize(path: Any, leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return leaf
            for axis, label in enumerate(axes.get(self.request.input_name(path), ())):
                size = ir.SymbolicDim(label).evaluate(sizes) if isinstance(label, str) else None
                if isinstance(size, int):
                    leaf = leaf.index_select(axis, torch.arange(size) % leaf.shape[axis])
            return leaf

        args, kwargs = pytree.tree_map_with_path(resize, (self.args, self.kwargs))
        return Eager(self.model, args, kwargs)

    def on_seed_and_path(self, seed: int, path: Path_) -> Answer:
        """Returns what the model gives with the draws of ``seed`` where ``path`` does not force a route."""
        with forced(self.model, list(path)), seeded(self.model, seed) as record:
            return Answer(self._call(), record.path)

    def _call(self) -> Arrays:
        with torch.no_grad():
            return flat_outputs(self.model(*self.args, **self.kwargs), self.inputs)


class File:
    """The exported file; forced through its inputs, or, standalone, through a copy cut at the path taken.

    Attributes:
        interface: of the file.
        source: the model file.
        plan: its sites.
        session: the runtime's session on it.
        forcible: what onnxruntime loads to take a given path: the file, or the copy's content.
    """

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.interface = bundle.manifest["interface"]
        self.source = folder / MODEL if folder.is_dir() else folder
        self.plan: Plan = bundle.plan
        self.session = Session(folder)
        self.forcible: str | bytes = str(self.source)
        self._outputs = [row["name"] for row in bundle.manifest["outputs"]]
        self._cut = None
        if self.interface == "standalone":
            self.forcible = _cut_at_path(self.source, len(self.plan.sites))
            self._cut = onnxruntime.InferenceSession(self.forcible, providers=["CPUExecutionProvider"])

    def feeds(self, inputs: Arrays, path: Path_) -> dict[str, NDArray[Any]]:
        """Returns what to feed to ``forcible`` so that it takes ``path``."""
        routes = np.array(path, dtype=np.int64)
        added: dict[str, dict[str, NDArray[Any]]] = {
            "explicit": {SEED: np.array(0), PATH: routes},
            "host": {DRAWS: draws(0, len(routes)), PATH: routes},
            "standalone": {TAKEN: routes},
        }
        return {**inputs, **added.get(self.interface, {})}

    def on_path(self, inputs: Arrays, path: Path_) -> Answer:
        """Returns what the file gives when forced to ``path``."""
        if self._cut is not None:
            values = self._cut.run(self._outputs, self.feeds(inputs, path))
            return Answer(dict(zip(self._outputs, values, strict=True)), np.array(path, dtype=np.int64))
        if self.interface == "plain":
            return Answer(self.session.run(inputs).outputs, np.empty(0, np.int64))
        result = self.session.run(inputs, path=list(path))
        assert result.path is not None
        return Answer(result.outputs, result.path)

    def on_seed(self, inputs: Arrays, seed: int, path: Path_ | None = None) -> Answer:
        """Returns what the file gives with ``seed``, where ``path`` does not force a route."""
        result = self.session.run(inputs, seed=seed, path=None if path is None else list(path))
        assert result.path is not None
        return Answer(result.outputs, result.path)

    def on_random_node(self, inputs: Arrays) -> Answer:
        """Returns what an explicit file gives when its random node decides: no runtime feeds it so."""
        session = onnxruntime.InferenceSession(str(self.source), providers=["CPUExecutionProvider"])
        names = [*self._outputs, TAKEN]
        values = session.run(names, {**inputs, SEED: np.array(-1), PATH: np.full(len(self.plan.sites), -1)})
        return Answer(dict(zip(self._outputs, values, strict=False)), values[-1])


def _cut_at_path(source: Path, count: int) -> bytes:
    """A copy of a standalone file in which the path taken is an input."""
    model = ir.load(source)
    taken = find_value(model.graph, TAKEN)
    given = ir.Value(name=TAKEN, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([count]))
    taken.name = f"{TAKEN}.cut"
    ir.convenience.replace_all_uses_with(taken, given)
    model.graph.inputs.append(given)
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
    return bytes(ir.to_proto(model).SerializeToString())


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
        session = onnxruntime.InferenceSession(self.decoder, single_thread(), providers=["CPUExecutionProvider"])
        named = {node.name for node in session.get_inputs()}

        def routes(given: NDArray[np.float32], path: Path_) -> NDArray[np.int64]:
            feeds = {DRAWS: given, PATH: np.array(path, dtype=np.int64)}
            feeds = {name: array for name, array in feeds.items() if name in named}
            return np.asarray(session.run([self.outputs[0]], feeds)[0])

        return routes

    @contextmanager
    def open(self) -> Iterator[Decide]:
        """Yields what the slice decides."""
        onnxruntime.set_seed(secrets.randbits(31))
        session = onnxruntime.InferenceSession(self.content, single_thread(), providers=["CPUExecutionProvider"])

        def decide(seed: int | None, path: Path_ | None = None) -> NDArray[np.int64]:
            return np.stack(session.run(list(self.outputs), self.feeds(seed, path)))

        yield decide


def routing_slice(source: Path, bundle: Bundle, inputs: Arrays) -> RoutingSlice:
    """Returns the routing slice of the file, cut out of it by its value names."""
    model = ir.load(source)
    interface, count = bundle.manifest["interface"], len(bundle.plan.sites)
    taken = find_value(model.graph, TAKEN)
    latent = next((o for n in model.graph for o in n.outputs if o.name == LATENT), taken)
    outputs = [latent, taken] if latent is not taken else [taken, taken]
    names = list(dict.fromkeys((latent.name or "", TAKEN)))
    needed = _inputs_of(outputs)
    keep = [v for v in model.graph.inputs if v in needed]
    content = _cut_out(model, [v.name or "" for v in keep], names)
    decoder = _cut_out(model, [DRAWS, *([] if interface == "standalone" else [PATH])], names)
    free = np.full(count, -1, dtype=np.int64)

    def feeds(seed: int | None, path: Path_ | None) -> dict[str, NDArray[Any]]:
        asked = free if path is None else np.array(path, dtype=np.int64)
        if interface == "explicit":
            return {SEED: np.array(-1 if seed is None else seed), PATH: asked}
        if interface == "host":
            assert seed is not None
            return {DRAWS: draws(seed, count), PATH: asked}
        return {v.name or "": inputs[v.name or ""] for v in keep}

    return RoutingSlice(
        content, (latent.name or "", TAKEN), feeds, interface != "host", decoder, interface != "standalone"
    )


def _cut_out(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The part of the main graph between these values, as a model of its own."""
    graph = ir.convenience.extract(model.graph, list(inputs), list(outputs))
    graph.opset_imports.update(model.graph.opset_imports)
    for value in graph.inputs:
        if value.name == DRAWS:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    return bytes(ir.to_proto(ir.Model(graph, ir_version=model.ir_version)).SerializeToString())


def find_value(graph: ir.Graph, name: str) -> ir.Value:
    """Returns the value of the main graph with this name.

    Raises:
        KeyError: there is none.
    """
    for node in graph:
        for value in node.outputs:
            if value.name == name:
                return value
    raise KeyError(name)


def single_thread() -> onnxruntime.SessionOptions:
    """Returns options for many tiny runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
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
