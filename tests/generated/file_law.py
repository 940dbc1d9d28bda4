"""The law of what a file returns: its bytes in ONNX Runtime, every path forced, and the thresholds of its manifest."""

from __future__ import annotations

import itertools
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from rr_export.bundle.bundle import Bundle
from tests.generated.oracle import Law, TooManyRunsError, numbers_of

Assigned = dict[int, int]  # site -> route
Ran = tuple[list[Any], list[int]]  # the outputs of a run, and the routes that it took


class FileError(AssertionError):
    """A file does something else than its manifest says."""


class File:
    """An explicit file, as ONNX Runtime alone sees it."""

    def __init__(self, content: bytes) -> None:
        self.session = onnxruntime.InferenceSession(content, _options(), providers=["CPUExecutionProvider"])
        self.sites: list[dict[str, Any]] = manifest_of(content)["sites"]
        self.inputs = [i.name for i in self.session.get_inputs() if not i.name.startswith("rr_")]

    def law(self, args: Sequence[Any], most: float = math.inf) -> Law:
        """Returns the law of all outputs but the path taken.

        Raises:
            TooManyRunsError: there are more than ``most`` runs.
        """
        feeds = {name: np.asarray(arg) for name, arg in zip(self.inputs, args, strict=True)}
        law: dict[tuple[float, ...], Fraction] = {}
        for number, (assigned, outputs) in enumerate(self._leaves(feeds, {}), 1):
            if number > most:
                raise TooManyRunsError
            key = numbers_of(outputs)
            law[key] = law.get(key, Fraction(0)) + self._probability(assigned)
        return {key: float(probability) for key, probability in law.items()}

    def check_streams(self, args: Sequence[Any], seeds: range) -> None:
        """With each seed the graph itself takes the routes that its draws and the manifest say.

        Raises:
            FileError: it takes another one.
        """
        feeds = {name: np.asarray(arg) for name, arg in zip(self.inputs, args, strict=True)}
        for seed in seeds if self.sites else ():
            asked = {"rr_seed": np.array(seed, np.int64), "rr_path": np.full(len(self.sites), -1)}
            expected = self._routes(seed)
            taken = self.session.run(["rr_path_taken"], {**feeds, **asked})[0].tolist()
            if any(route not in (-1, own) for route, own in zip(taken, expected, strict=True)):
                raise FileError(f"rr_seed {seed}: expected the routes {expected} or -1, got {taken}")

    def _routes(self, seed: int) -> list[int]:
        routes: dict[int, int] = {}
        last: dict[Any, int] = {}  # chain -> route of the step before
        for i in sorted(range(len(self.sites)), key=lambda i: self.sites[i]["policy"].get("step", 0)):
            policy = self.sites[i]["policy"]
            chain = policy.get("chain", f"site {i}")
            row = policy["thresholds"][last.get(chain, 0)]
            routes[i] = last[chain] = sum(t <= _draw(seed, i) for t in row)
        return [routes[i] for i in range(len(self.sites))]

    def _leaves(
        self, feeds: Mapping[str, Any], assigned: Assigned, ran: Ran | None = None
    ) -> Iterator[tuple[Assigned, list[Any]]]:
        """Yields the routes of the sites that a run reaches, and its outputs, for all runs.

        Args:
            feeds: the inputs.
            assigned: routes of sites; the others take route 0.
            ran: what a run with these routes gave, where there was one.
        """
        outputs, taken = ran or self._run(feeds, assigned)
        open_sites = [i for i, route in enumerate(taken) if route >= 0 and i not in assigned]
        if not open_sites:
            yield assigned, outputs
            return
        site = open_sites[0]
        for route in range(len(self.sites[site]["branches"])):
            if any(_probabilities(row)[route] for row in self.sites[site]["policy"]["thresholds"]):
                same = (outputs, taken) if route == 0 else None
                yield from self._leaves(feeds, {**assigned, site: route}, same)

    def _run(self, feeds: Mapping[str, Any], assigned: Assigned) -> Ran:
        if not self.sites:
            return self.session.run(None, dict(feeds)), []
        path = [assigned.get(i, 0) for i in range(len(self.sites))]
        forced = {"rr_seed": np.array(-1, np.int64), "rr_path": np.array(path, np.int64)}
        *outputs, reported = self.session.run(None, {**feeds, **forced})
        taken = [int(route) for route in reported]
        if any(route not in (-1, asked) for route, asked in zip(taken, path, strict=True)):
            raise FileError(f"rr_path {path}: expected these routes or -1, got {taken}")
        return outputs, taken

    def _probability(self, assigned: Assigned) -> Fraction:
        """Returns how probable it is that all these sites have these routes; steps of a chain depend on each other."""
        total, chains = Fraction(1), dict[Any, list[int]]()
        for i, site in enumerate(self.sites):
            chains.setdefault(site["policy"].get("chain", f"site {i}"), []).append(i)
        for steps in chains.values():
            state = [Fraction(1)]
            for i in sorted(steps, key=lambda i: self.sites[i]["policy"].get("step", 0)):
                rows = [_probabilities(row) for row in self.sites[i]["policy"]["thresholds"]]
                state = [
                    sum((p * row[k] for p, row in zip(state, rows, strict=True)), Fraction(0))
                    if assigned.get(i, k) == k
                    else Fraction(0)
                    for k in range(len(rows[0]))
                ]
            total *= sum(state)
        return total


def manifest_of(content: bytes) -> dict[str, Any]:
    """Returns what a file says about itself."""
    metadata = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}
    found: dict[str, Any] = json.loads(metadata["rr.manifest"])
    return found


def content_of(bundle: Bundle) -> bytes:
    """Returns the bytes of the file, as they are saved."""
    with tempfile.TemporaryDirectory(prefix="generated.") as folder:
        return bundle.save(Path(folder) / "model.onnx").read_bytes()


def law_of_file(bundle: Bundle, args: tuple[Any, ...]) -> Law:
    """Returns the law of the outputs of a bundle's file."""
    return File(content_of(bundle)).law(args)


def _probabilities(thresholds: Sequence[float]) -> list[Fraction]:
    """Returns the law of the number of thresholds that are <= a uniform draw."""
    borders = [Fraction(0), *(Fraction(t) for t in thresholds), Fraction(1)]
    return [upper - lower for lower, upper in itertools.pairwise(borders)]


def _draw(seed: int, site: int) -> float:
    """Returns the number that a seed gives a site: SplitMix64."""
    return (_mixed(_mixed(seed) + (site + 1) * 0x9E3779B97F4A7C15) >> 40) / 2**24


def _mixed(z: int) -> int:
    z %= 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options
