"""Runs static files of single paths, one chosen per run so that the plan's law is kept as closely as they allow."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.bundle import Bundle
from rr_runtime.draws import draws_as_floats
from rr_runtime.engines.again import Bound, Copied
from rr_runtime.engines.captured import Captured
from rr_runtime.engines.engine import Arrays, Opening, Places, Rerun, Taken, compare, fixed, is_on_cpu
from rr_runtime.errors import BundleError
from rr_runtime.routes import Router
from rr_runtime.target import FrozenPath, Target


class Frozen:
    """N static files, of which at most ``loaded_paths`` are loaded at a time (the least recently used one goes).

    A run first decides its own path, as every other form does. If it is packaged, and draw number S is below its
    ``keep``, it is taken: so as many runs as possible take the path that the routed file takes with the same seed (a
    maximal coupling; Lindvall, Lectures on the Coupling Method, 1992, chapter I.5). Else draw number S + 1 chooses.
    With the CUDA provider's option `enable_cuda_graph` each loaded path is one CUDA graph, run by one thread at a time.

    Args:
        bundle: the bundle.
        target: a target of form "frozen".
        opening: provider and options.
        loaded_paths: how many paths stay loaded, >= 1.

    Raises:
        BundleError: a file is not what the manifest says.
        ProviderError: the provider does not work.
    """

    def __init__(self, bundle: Bundle, target: Target, opening: Opening, *, loaded_paths: int) -> None:
        self.routed = bool(bundle.manifest.sites)
        self._bundle, self._target, self._opening = bundle, target, opening
        self._limit = loaded_paths
        self._router = Router(bundle.manifest.sites)
        self._count = len(bundle.manifest.sites)
        self._outputs = [tensor.name for tensor in bundle.manifest.outputs]
        self._paths = np.array([p.path for p in target.paths], np.int64).reshape(len(target.paths), self._count)
        for row in self._paths.tolist():
            if [route >= 0 for route in row] != self._router.reached(row):
                raise BundleError(
                    f"{bundle.path}: target {target.name!r}: expected -1 at the sites that a path does not reach, and "
                    f"only there, got {row}; package the bundle again"
                )
        self._index = {p.path: i for i, p in enumerate(target.paths)}
        self._weights = np.array([p.weight for p in target.paths])
        self._thresholds = np.array(target.thresholds, np.float32).tolist()
        self._keeps = np.array([p.keep for p in target.paths], np.float32).tolist()
        self._sessions: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()
        self.load(max(target.paths, key=lambda p: p.weight))

    def run(self, feeds: Arrays, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs and the path taken.

        Raises:
            ValueError: no packaged path has the asked routes.
        """
        chosen = self.path(seed, asked)
        return self._execute(chosen, feeds), None if seed is None else np.array(chosen.path, np.int64)

    def prepare(self, inputs: Arrays, places: Places) -> Rerun:
        """Returns what runs on these arrays: every loaded path bound to them where it is on the CPU."""
        if self._opening.captures or not is_on_cpu(self.load(self._target.paths[0])):
            return Copied(self, inputs, places)
        return _BoundPaths(self, inputs, places)

    def choose(self, seed: int, asked: NDArray[np.int64] | None) -> int:
        """Returns which of the packaged paths a run takes; asked as in `run`.

        Raises:
            ValueError: no packaged path has the asked routes.
        """
        numbers = draws_as_floats(seed, self._count + 2)
        wanted = None if asked is None else asked.tolist()
        own = self._router.taken(self._router.latent(numbers[: self._count], wanted))
        found = self._index.get(tuple(own))
        if asked is not None and (asked >= 0).any():
            return self._choose_forced(found, asked, numbers[-1])
        if found is not None and numbers[self._count] < self._keeps[found]:
            return found
        return bisect_right(self._thresholds, numbers[-1])

    def _choose_forced(self, found: int | None, asked: NDArray[np.int64], number: float) -> int:
        """Where routes are asked for: the run's own path, or one of those that have them, in proportion to weights."""
        if found is not None:
            return found
        fits = ((self._paths == asked) | (asked < 0) | (self._paths < 0)).all(axis=1)
        weights = np.where(fits, self._weights, 0.0)
        if not weights.sum():
            listed = "; ".join(",".join(map(str, p.path)) for p in self._target.paths[:8])
            more = f" and {len(self._paths) - 8} more" if len(self._paths) > 8 else ""
            raise ValueError(
                f"path: expected one of the {len(self._paths)} paths of target {self._target.name!r} ({listed}{more}), "
                f"got {','.join(map(str, asked.tolist()))}; package it (of a profile all that it draws), or use "
                "target='default'"
            )
        return min(int((np.cumsum(weights) / weights.sum() <= number).sum()), int(np.flatnonzero(weights)[-1]))

    def _execute(self, chosen: FrozenPath, feeds: Arrays) -> dict[str, NDArray[Any]]:
        values = self.load(chosen).run(self._outputs, feeds)
        return dict(zip(self._outputs, map(np.asarray, values), strict=True))

    def path(self, seed: int | None, asked: NDArray[np.int64] | None) -> FrozenPath:
        """Returns the packaged path that a run takes."""
        return self._target.paths[0 if seed is None else self.choose(seed, asked)]

    def is_loaded(self, session: Any) -> bool:
        """Tells whether a session is one of those that are loaded."""
        return any(session is other for other in list(self._sessions.values()))

    def load(self, chosen: FrozenPath) -> Any:
        """Returns the session of a path, which is opened if it is not loaded."""
        with self._lock:
            session = self._sessions.get(chosen.model)
            if session is None:
                file = self._bundle.path / chosen.model
                self._bundle.watched.renew()  # it may be long since they were checked
                session = self._opening.open(file, spinning=False)
                self._bundle.watched.check()
                session = Captured(session) if self._opening.captures else session
                manifest, sizes = self._bundle.manifest, self._target.sizes
                compare(str(file), "input", fixed(manifest.inputs, sizes), session.get_inputs())
                compare(str(file), "output", fixed(manifest.outputs, sizes), session.get_outputs())
                while len(self._sessions) >= self._limit:
                    self._sessions.popitem(last=False)
                self._sessions[chosen.model] = session
            self._sessions.move_to_end(chosen.model)
            return session


class _BoundPaths:
    """The paths of a frozen target, each bound to the same arrays when it is first taken."""

    def __init__(self, engine: Frozen, inputs: Arrays, places: Places) -> None:
        self._engine, self._inputs, self._places = engine, inputs, places
        self._bound: dict[str, Bound] = {}

    def run(self, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs and the path taken."""
        chosen = self._engine.path(seed, asked)
        session, bound = self._engine.load(chosen), self._bound.get(chosen.model)
        if bound is None or bound.session is not session:
            self._bound = {n: b for n, b in self._bound.items() if self._engine.is_loaded(b.session)}
            bound = self._bound[chosen.model] = Bound(session, self._inputs, self._places)
        return bound.run(), None if seed is None else np.array(chosen.path, np.int64)
