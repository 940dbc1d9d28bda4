"""The file that a pruned one was made from, called by the pruned one's paths: what is right for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.laws.plan import Plan
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.compare import Arrays
from rr_export.parity.subject import Answer, File, answer_of
from rr_runtime.pruned import Pruned


class SourceFile:
    """A source whose paths are told in the numbers of the file that was pruned of it.

    Attributes:
        plan: the sites of the pruned file.
        interface: what it takes and gives.
        forcible: what onnxruntime loads to take a given path.

    Args:
        file: the source.
        pruned: the bundle that was made of it.
        told: what that says of it.
    """

    def __init__(self, file: File, pruned: Bundle, told: Pruned) -> None:
        self._file, self._told = file, told
        self.plan: Plan = pruned.plan
        self.interface: str = file.interface
        self.forcible: str | bytes = file.forcible

    def feeds(self, inputs: Arrays, path: Path_) -> dict[str, NDArray[Any]]:
        """Returns what to feed to ``forcible`` so that it takes ``path``."""
        return self._file.feeds(inputs, self._told.source_path(path))

    def on_path(self, inputs: Arrays, path: Path_) -> Answer:
        """Returns what the source gives when forced to ``path``."""
        return self._called_anew(self._file.on_path(inputs, self._told.source_path(path)))

    def on_seed(self, inputs: Arrays, seed: int, path: Path_ | None = None) -> Answer:
        """Returns what the source gives with ``seed`` under the law that the pruned file has for its own."""
        asked = None if path is None else list(self._told.source_path([int(route) for route in path]))
        result = self._file.session.run(dict(inputs), seed=seed, path=asked, profile=self._told.law)
        return self._called_anew(answer_of(result))

    def _called_anew(self, answer: Answer) -> Answer:
        return Answer(answer.outputs, np.array(_found(self._told, answer.path.tolist()), np.int64))


def _found(told: Pruned, path: Sequence[int]) -> list[int]:
    """The path of the source in the numbers of the pruned file; -2 where it takes a branch that is gone."""
    return [
        -1 if route < 0 else site.kept.index(route) if route in site.kept else -2
        for site, route in zip(told.sites, path, strict=True)
    ]
