"""A file that another tool has made of a bundle's model, called like the file that it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.laws.plan import Plan
from rr_export.lint.reading import Subject, read
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.deciding_slice import Path_, RoutingSlice, cut_at_path, cut_routing
from rr_export.parity.compare import Arrays
from rr_export.parity.executed import LEVELS, proving_options
from rr_export.parity.subject import Answer, File, forcing_feeds
from rr_runtime.draws import draws


class Rewritten:
    """The file to prove, which need not carry a manifest any more: the bundle's says what it should be.

    Attributes:
        interface: what it takes and gives.
        plan: its sites.
        forcible: what onnxruntime loads to take a given path: the file, or a copy's content that is cut there.
    """

    def __init__(self, subject: Subject, bundle: Bundle, *, threads: int = 0) -> None:
        self.interface: str = bundle.manifest["interface"]
        self.plan: Plan = bundle.plan
        self.forcible: str | bytes = str(subject.path)
        self._model = subject.model
        self._names = [row["name"] for row in bundle.manifest["outputs"]]
        self._whole = _open(str(subject.path), threads)
        self._forced = self._whole
        if self.interface == "standalone":
            self.forcible = cut_at_path(subject.model.clone(), len(self.plan.sites))
            self._forced = _open(self.forcible, threads)

    def routing(self, inputs: Arrays) -> RoutingSlice:
        """Returns the routing slice of the file."""
        return cut_routing(self._model, self.interface, self.plan, inputs)

    def feeds(self, inputs: Arrays, path: Path_) -> dict[str, NDArray[Any]]:
        """Returns what to feed to ``forcible`` so that it takes ``path``."""
        return forcing_feeds(self.interface, inputs, path)

    def on_path(self, inputs: Arrays, path: Path_) -> Answer:
        """Returns what the file gives when forced to ``path``."""
        return self._answer(self._forced, self.feeds(inputs, path), path)

    def on_seed(self, inputs: Arrays, seed: int, path: Path_ | None = None) -> Answer:
        """Returns what the file gives with ``seed``, where ``path`` does not force a route."""
        count = len(self.plan.sites)
        drawn = {SEED: np.array(seed)} if self.interface == "explicit" else {DRAWS: draws(seed, count)}
        routes = np.full(count, -1) if path is None else np.array(path, dtype=np.int64)
        return self._answer(self._whole, {**inputs, **drawn, PATH: routes}, ())

    def on_random_node(self, inputs: Arrays) -> Answer:
        """Returns what an explicit file gives when its random node decides."""
        free = np.full(len(self.plan.sites), -1)
        return self._answer(self._whole, {**inputs, SEED: np.array(-1), PATH: free}, ())

    def on_its_own(self, inputs: Arrays) -> Arrays:
        """Returns what a standalone file gives."""
        return dict(zip(self._names, self._whole.run(self._names, dict(inputs)), strict=True))

    def _answer(self, session: onnxruntime.InferenceSession, feeds: Arrays, path: Path_) -> Answer:
        """The outputs by the bundle's names; what else the file gives is a difference."""
        told = self.interface in ("explicit", "host")
        names = [o.name for o in session.get_outputs()]
        values = dict(zip(names, session.run(names, dict(feeds)), strict=True))
        taken = np.asarray(values.pop(TAKEN)) if told else np.array(path, dtype=np.int64)
        return Answer(values, taken)


@dataclass(frozen=True)
class OpensRewritten:
    """Opens a rewritten file and the bundle that it came from, with one thread each.

    Attributes:
        file: the rewritten file.
        folder: of the bundle.
    """

    file: Path
    folder: Path

    def __call__(self) -> tuple[File, Rewritten]:
        """Returns the bundle's own file, and the rewritten one."""
        bundle = load(self.folder)
        return File(self.folder, bundle, threads=1), Rewritten(read(self.file), bundle, threads=1)


def _open(file: str | bytes, threads: int) -> onnxruntime.InferenceSession:
    options = proving_options(LEVELS["all"])
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
