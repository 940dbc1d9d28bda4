"""Runs one graph whose ``If`` nodes choose: by a seed, by draws or by gates, or by itself."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.bundle import Bundle, embedded_manifest, open_bundle
from rr_runtime.draws import draws, draws_as_floats
from rr_runtime.engines.again import Bound, Copied
from rr_runtime.engines.engine import (
    Arrays,
    Opening,
    Places,
    Rerun,
    Taken,
    compare,
    direct_run,
    fixed,
    is_on_cpu,
)
from rr_runtime.errors import BundleError
from rr_runtime.manifest import Tensor
from rr_runtime.routes import Router

# What the interfaces add to the model's own inputs; S is the number of sites. "gates" adds one input per condition.
ADDED_INPUTS: Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "explicit": (("rr_seed", "int64", ()), ("rr_path", "int64", ("S",))),
    "host": (("rr_draws", "float32", ("S",)), ("rr_path", "int64", ("S",))),
}
TAKEN = "rr_path_taken"
_INT64 = np.dtype(np.int64)
_BOOLS = (np.array([False]), np.array([True]))  # what gates are fed with; nothing writes to them
GATE = re.compile(r"rr_gate\.([0-9]+)\.([0-9]+)")  # the site's index, and the least route for which it is true


class Graph:
    """One graph, which takes seeds and paths unless its interface is "standalone" or "plain".

    Args:
        bundle: the bundle it belongs to.
        model: the file.
        interface: its interface.
        opening: provider and options.
        sizes: symbolic sizes that it fixes.

    Raises:
        BundleError: the file is not what the manifest says.
        ProviderError: the provider does not work.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: Path,
        interface: str,
        opening: Opening,
        *,
        sizes: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.routed = interface in ("explicit", "host", "gates")
        self._interface = interface
        self._count = len(bundle.manifest.sites)
        self._session: Any = opening.open(model, reseed=interface == "standalone")
        bundle.watched.check()
        self._again = _Again(bundle, model.absolute(), opening) if interface == "standalone" else None
        self._gates = _gates(self._session) if interface == "gates" else []
        self._check(bundle, model, sizes)
        self._router = Router(bundle.manifest.sites) if interface == "gates" else None
        self._outputs = [tensor.name for tensor in bundle.manifest.outputs]
        self._tells = interface in ADDED_INPUTS
        self._asked_outputs = self._outputs + [TAKEN] * self._tells
        self._free = np.full(self._count, -1, np.int64)
        self._run = direct_run(self._session)

    def run(self, feeds: Arrays, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs and the path taken."""
        if self._again is not None and self._again.process != os.getpid():
            self._session = self._again.open(self._session)
            self._run = direct_run(self._session)
        taken = None
        if seed is not None:
            feeds = feeds.copy()
            taken = self.decide(feeds, seed, asked)
        values = self._run(self._asked_outputs, feeds)
        if self._tells:
            taken = values.pop()
        return dict(zip(self._outputs, values, strict=True)), taken

    def prepare(self, inputs: Arrays, places: Places) -> Rerun:
        """Returns what runs on these arrays: bound to them, unless the graph draws by itself or is not on the CPU."""
        if self._again is not None or not is_on_cpu(self._session):
            return Copied(self, inputs, places)
        return _BoundGraph(self, self._session, inputs, places)

    def taken_place(self) -> NDArray[np.int64] | None:
        """Returns an array for the path that the graph tells; None where it tells none."""
        return np.empty(self._count, np.int64) if self._tells else None

    def decide(self, feeds: Arrays, seed: int, asked: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        """The feeds have what the interface adds to them; returns the path where it is decided here."""
        if self._router is not None:
            wanted = None if asked is None else asked.tolist()
            taken = self._router.taken(self._router.latent(draws_as_floats(seed, self._count), wanted))
            for name, site, middle in self._gates:
                feeds[name] = _BOOLS[taken[site] >= middle]
            return np.array(taken, np.int64)
        feeds["rr_path"] = self._free if asked is None else asked
        if self._interface == "explicit":
            feeds["rr_seed"] = np.array(seed, _INT64)
        else:
            feeds["rr_draws"] = draws(seed, self._count)
        return None

    def _check(self, bundle: Bundle, model: Path, sizes: Mapping[str, int]) -> None:
        """Raises a BundleError where the model is not what the manifest says."""
        where, manifest = str(model), bundle.manifest
        inside = embedded_manifest(self._session, where)
        if model == bundle.model and inside is not None and inside != manifest.about_model():
            raise BundleError(
                f"{where}: expected the manifest of {bundle.path} in its metadata, got another; "
                "copy or export the bundle again"
            )
        added = ADDED_INPUTS.get(self._interface, ())
        count = {"S": self._count}
        rr_inputs = [Tensor(name, dtype, tuple(count[s] for s in shape)) for name, dtype, shape in added]
        rr_inputs += [Tensor(name, "bool", (1,)) for name, _, _ in self._gates]
        rr_outputs = [Tensor(TAKEN, "int64", (self._count,))] if added else []
        for name, site, middle in self._gates:
            if site >= self._count or not 1 <= middle < len(manifest.sites[site].branches):
                raise BundleError(f"{where}: input {name!r}: expected a gate of a site, got another; export it again")
        compare(where, "input", [*fixed(manifest.inputs, sizes), *rr_inputs], self._session.get_inputs())
        compare(where, "output", [*fixed(manifest.outputs, sizes), *rr_outputs], self._session.get_outputs())


class _BoundGraph:
    """A graph that is bound to the model's own inputs and outputs, and to what its interface adds to them."""

    def __init__(self, graph: Graph, session: Any, inputs: Arrays, places: Places) -> None:
        self._graph = graph
        self._added: Arrays = {}
        if graph.routed:
            graph.decide(self._added, 0, None)
            self._added = {name: np.array(array) for name, array in self._added.items()}
        self._taken = graph.taken_place()
        taken: Places = {} if self._taken is None else {TAKEN: self._taken}
        self._bound = Bound(session, {**inputs, **self._added}, {**places, **taken})

    def run(self, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs and the path taken."""
        taken = None
        if seed is not None:
            added: Arrays = {}
            taken = self._graph.decide(added, seed, asked)
            for name, array in added.items():
                self._added[name][...] = array
        outputs = self._bound.run()
        if self._taken is not None:
            del outputs[TAKEN]
            taken = self._taken.copy()
        return outputs, taken


class _Again:
    """Opens a file that draws by itself again in a process that was forked: the copied session would draw the same.

    Attributes:
        process: the number of the process for which it was opened last.
    """

    def __init__(self, bundle: Bundle, model: Path, opening: Opening) -> None:
        self.process = os.getpid()
        self._bundle, self._place, self._model, self._opening = bundle, bundle.path.absolute(), model, opening
        self._copies: list[Any] = []  # closing one would wait for threads that were not copied

    def open(self, copied: Any) -> Any:
        """Returns a session of this process's own on the same file.

        Raises:
            BundleError: the file is not what it was.
        """
        self._copies.append(copied)
        found = open_bundle(self._place)
        if (found.manifest, found.digest) != (self._bundle.manifest, self._bundle.digest):
            raise BundleError(
                f"{self._bundle.path}: expected the file that was opened before this process was forked, got another; "
                "open a session on it"
            )
        session = self._opening.open(self._model, reseed=True)
        found.watched.check()
        self.process = os.getpid()
        return session


def _gates(session: Any) -> list[tuple[str, int, int]]:
    """Returns the inputs that are gates: for each its name, its site and the least route for which it is true."""
    found = [GATE.fullmatch(node.name) for node in session.get_inputs()]
    return [(match[0], int(match[1]), int(match[2])) for match in found if match]
