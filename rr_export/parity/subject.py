"""The sides of a comparison, each called the same way: what is right, and an exported file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.file_names import MODEL
from rr_export.laws.plan import Plan
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.deciding_slice import Path_, cut_at_path
from rr_export.parity.compare import Arrays
from rr_export.parity.executed import proving_options
from rr_runtime import Session
from rr_runtime.draws import draws
from rr_runtime.results import Result
from rr_runtime.target import DEFAULT


@dataclass(frozen=True)
class Answer:
    """Outputs by name, and the path taken, int64 [S]."""

    outputs: Arrays
    path: NDArray[np.int64]


def answer_of(result: Result) -> Answer:
    """Returns what a run of a session gave that tells its path."""
    assert result.path is not None
    return Answer(result.outputs, result.path)


class Reference(Protocol):
    """What is right: the eager model, or the file that was proven against it."""

    @property
    def inputs(self) -> Arrays:
        """What it is fed, by input name."""

    def on_path(self, path: Path_) -> Answer:
        """Returns what it gives when forced to ``path``."""

    def on_seed(self, seed: int) -> Answer:
        """Returns what it gives with the draws of ``seed``."""

    def on_seed_and_path(self, seed: int, path: Path_) -> Answer:
        """Returns what it gives with the draws of ``seed`` where ``path`` does not force a route."""

    def resized(self, sizes: Mapping[str, int], axes: Mapping[str, Sequence[int | str]]) -> Reference:
        """Returns it with inputs whose named axes have other sizes (elements repeat cyclically)."""

    def moved(self, path: Path_) -> Iterator[Answer]:
        """Yields what it gives on ``path``: as it is, and where its inputs change by rounding; nothing: it cannot."""


class Forced(Protocol):
    """What takes a path: a file, or a target."""

    plan: Plan

    def on_path(self, inputs: Arrays, path: Path_) -> Answer:
        """Returns what it gives when forced to ``path``."""


class Answering(Forced, Protocol):
    """What takes a path or a seed: a file, or a target.

    Attributes:
        interface: what it takes and gives.
    """

    interface: str

    def on_seed(self, inputs: Arrays, seed: int, path: Path_ | None = None) -> Answer:
        """Returns what it gives with ``seed``, where ``path`` does not force a route."""


class Candidate(Answering, Protocol):
    """A file that is to be proven.

    Attributes:
        forcible: what onnxruntime loads to take a given path.
    """

    forcible: str | bytes

    def feeds(self, inputs: Arrays, path: Path_) -> dict[str, NDArray[Any]]:
        """Returns what to feed to ``forcible`` so that it takes ``path``."""

    def on_random_node(self, inputs: Arrays) -> Answer:
        """Returns what an explicit file gives when its random node decides."""


class File:
    """The exported file; forced through its inputs, or, standalone, through a copy cut at the path taken.

    Attributes:
        interface: of the file.
        source: the model file.
        plan: its sites.
        session: the runtime's session on it.
        forcible: what onnxruntime loads to take a given path: the file, or the copy's content.
    """

    def __init__(self, folder: Path, bundle: Bundle, *, threads: int = 0) -> None:
        self.interface = bundle.manifest["interface"]
        self.source = folder / MODEL if folder.is_dir() else folder
        self.plan: Plan = bundle.plan
        options = proving_options()
        options.intra_op_num_threads = threads
        self.session = Session(folder, target=DEFAULT, session_options=options)
        self.forcible: str | bytes = str(self.source)
        self._outputs = [row["name"] for row in bundle.manifest["outputs"]]
        self._cut = None
        if self.interface == "standalone":
            self.forcible = cut_at_path(ir.load(self.source), len(self.plan.sites))
            self._cut = onnxruntime.InferenceSession(self.forcible, options, providers=["CPUExecutionProvider"])

    def feeds(self, inputs: Arrays, path: Path_) -> dict[str, NDArray[Any]]:
        """Returns what to feed to ``forcible`` so that it takes ``path``."""
        return forcing_feeds(self.interface, inputs, path)

    def on_path(self, inputs: Arrays, path: Path_) -> Answer:
        """Returns what the file gives when forced to ``path``."""
        if self._cut is not None:
            values = self._cut.run(self._outputs, self.feeds(inputs, path))
            return Answer(dict(zip(self._outputs, values, strict=True)), np.array(path, dtype=np.int64))
        if self.interface == "plain":
            return Answer(self.session.run(inputs).outputs, np.empty(0, np.int64))
        return answer_of(self.session.run(inputs, path=list(path)))

    def on_seed(self, inputs: Arrays, seed: int, path: Path_ | None = None) -> Answer:
        """Returns what the file gives with ``seed``, where ``path`` does not force a route."""
        return answer_of(self.session.run(inputs, seed=seed, path=None if path is None else list(path)))

    def on_random_node(self, inputs: Arrays) -> Answer:
        """Returns what an explicit file gives when its random node decides: no runtime feeds it so."""
        session = onnxruntime.InferenceSession(str(self.source), proving_options(), providers=["CPUExecutionProvider"])
        names = [*self._outputs, TAKEN]
        values = session.run(names, {**inputs, SEED: np.array(-1), PATH: np.full(len(self.plan.sites), -1)})
        return Answer(dict(zip(self._outputs, values, strict=False)), values[-1])


class Given(Answering, Protocol):
    """A file that is right.

    Attributes:
        forcible: what onnxruntime loads to take a given path.
    """

    forcible: str | bytes

    def feeds(self, inputs: Arrays, path: Path_) -> dict[str, NDArray[Any]]:
        """Returns what to feed to ``forcible`` so that it takes ``path``."""


class Original:
    """The bundle's own file, as what is right."""

    def __init__(self, file: Given, inputs: Arrays) -> None:
        self.file, self.inputs = file, inputs

    def on_path(self, path: Path_) -> Answer:
        """Returns what the bundle's file gives when forced to ``path``."""
        return self.file.on_path(self.inputs, path)

    def on_seed(self, seed: int) -> Answer:
        """Returns what the bundle's file gives with the draws of ``seed``."""
        return self.file.on_seed(self.inputs, seed)

    def on_seed_and_path(self, seed: int, path: Path_) -> Answer:
        """Returns what the bundle's file gives with ``seed`` where ``path`` does not force a route."""
        return self.file.on_seed(self.inputs, seed, path)

    def resized(self, sizes: Mapping[str, int], axes: Mapping[str, Sequence[int | str]]) -> Reference:
        """Returns the file with inputs whose named axes have other sizes (elements repeat cyclically)."""
        return Original(self.file, {n: resize_array(a, axes.get(n, ()), sizes) for n, a in self.inputs.items()})

    def moved(self, path: Path_) -> Iterator[Answer]:
        """Yields nothing: between two files every difference tells."""
        return iter(())


def forcing_feeds(interface: str, inputs: Arrays, path: Path_) -> dict[str, NDArray[Any]]:
    """Returns what to feed to a file of this interface so that it takes ``path``; standalone: to a copy cut there."""
    routes = np.array(path, dtype=np.int64)
    added: dict[str, dict[str, NDArray[Any]]] = {
        "explicit": {SEED: np.array(0), PATH: routes},
        "host": {DRAWS: draws(0, len(routes)), PATH: routes},
        "standalone": {TAKEN: routes},
    }
    return {**inputs, **added.get(interface, {})}


def resize_array(array: NDArray[Any], labels: Sequence[int | str], sizes: Mapping[str, int]) -> NDArray[Any]:
    """Returns the array with other sizes of its named axes (elements repeat cyclically)."""
    for axis, size in other_sizes(labels, sizes):
        array = np.take(array, np.arange(size) % array.shape[axis], axis=axis)
    return array


def other_sizes(labels: Sequence[int | str], sizes: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """Yields the axes whose label, or an expression of it, has a new size, with that size."""
    for axis, label in enumerate(labels):
        size = ir.SymbolicDim(label).evaluate(sizes) if isinstance(label, str) else None
        if isinstance(size, int):
            yield axis, size
