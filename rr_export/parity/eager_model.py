"""An eager model as one side of a comparison."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

from rr_export.capture.request import Request
from rr_export.eager.blocks import forced, recorded, seeded
from rr_export.eager.code_sites import code_of
from rr_export.eager.open_runs import free_routes, open_runs_at
from rr_export.errors import RunError
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.moved_numbers import WAYS, movable, moved, weights_moved
from rr_export.parity.subject import Answer, Reference, other_sizes

CODE_RUNS, CODE_SECONDS = 1000, 10.0


class Eager:
    """The eager model with one set of arguments."""

    def __init__(self, request: Request) -> None:
        self.request, self.model, self.inputs = request, request.model, request.inputs
        open_runs_at(request.model)

    def on_path(self, path: Path_) -> Answer:
        """Returns what the model gives when forced to ``path``."""
        with forced(self.model, list(path)) as record:
            outputs = self.request.outputs()
            return Answer(outputs, record.path if len(path) else np.empty(0, np.int64))

    def on_seed(self, seed: int) -> Answer:
        """Returns what the model gives with the draws of ``seed``."""
        with seeded(self.model, seed) as record:
            return Answer(self.request.outputs(), record.path)

    def on_seed_and_path(self, seed: int, path: Path_) -> Answer:
        """Returns what the model gives with the draws of ``seed`` where ``path`` does not force a route."""
        with forced(self.model, list(path)), seeded(self.model, seed) as record:
            return Answer(self.request.outputs(), record.path)

    def free_run(self) -> Answer:
        """Returns what the model gives with draws of its own, and the path that it took."""
        with recorded(self.model) as record:
            outputs = self.request.outputs()
            return Answer(outputs, record.path if record.paths else np.empty(0, np.int64))

    def free_runs(self, count: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Returns the path taken and the latent routes, int64 [S] each, of runs with draws of their own."""
        with recorded(self.model) as record:
            for _ in range(count):
                self.request.outputs()
        return list(zip(record.paths, record.routes, strict=True))

    def free_routes(self, most: int) -> NDArray[np.int64]:
        """Returns the latent routes of free runs, int64 [runs, S].

        Draws of the model's own code need whole runs: there are fewer of these, for at most 10 seconds.
        """
        if code_of(self.model) is None:
            return free_routes(self.model, most)
        end = time.monotonic() + CODE_SECONDS
        with recorded(self.model) as record:
            while len(record.routes) < min(most, CODE_RUNS) and (len(record.routes) < 100 or time.monotonic() < end):
                self.request.outputs()
        return np.stack(record.routes)

    def resized(self, sizes: Mapping[str, int], axes: Mapping[str, Sequence[int | str]]) -> Reference:
        """Returns the model with arguments whose named axes have other sizes (elements repeat cyclically)."""

        def resize(name: str, tensor: torch.Tensor) -> torch.Tensor:
            for axis, size in other_sizes(axes.get(name, ()), sizes):
                tensor = tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])
            return tensor

        return Eager(self.request.changed(resize))

    def moved(self, path: Path_) -> Iterator[Answer]:
        """Yields what the model gives as it is, and where its input is moved by a few steps of its type.

        Where the input has real numbers that are not moved, or none, those of the model are moved too: what it rounds
        on the way would not be seen else.
        """
        yield self.on_path(path)
        given = [t for _, t in self.request.tensors(self.request.args, self.request.kwargs) if t.is_floating_point()]
        whole = bool(given) and all(bool(movable(tensor).all()) for tensor in given)
        for way in range(WAYS):
            try:
                with nullcontext() if whole else weights_moved(self.model, way):
                    answer = self._moved(path, way)
            except RunError:  # it decides otherwise there
                continue
            yield answer

    def _moved(self, path: Path_, way: int) -> Answer:
        random = torch.Generator().manual_seed(way)
        return Eager(self.request.changed(lambda _, tensor: moved(tensor, way, random))).on_path(path)
