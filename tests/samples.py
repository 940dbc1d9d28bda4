"""Samples of the generator as it is used: many short runs, each of them the first one of a seed or of a session.

A sample is a table of one row per run and one column per site. Its numbers are the draws times 2^24, whole numbers.
All seeds are written here, were chosen once, and decide everything: a sample is the same on every call.
"""

from __future__ import annotations

import atexit
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper
from torch import nn

import rr_export as rr
from rr_export.lowering import DRAWS
from rr_export.lowering.deciding_slice import RoutingSlice, routing_slice, single_thread
from rr_runtime import Session
from rr_runtime.draws import SEEDS
from tests import nets

Numbers = NDArray[np.int64]
Mixer = Callable[[NDArray[np.uint64]], NDArray[np.uint64]]

DRAW_BITS = 24
RUNS = 2**16  # where a run costs microseconds
SESSIONS = 2**12  # where it costs a session, about a millisecond
WHOLE_RUNS = 2**13  # where it costs a run of the whole file
GAMMA = 0x9E3779B97F4A7C15
NEAR = np.arange(12)
FAR = np.array([0, 1, 2, 3, 4, 5, 6, 7, 31, 255, 998, 999])  # of a model of 1000 sites
KEEPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.55, 0.05)
OPERATING_SYSTEM = 20_140_901  # seeds the generator that stands in for the operating system
LCG_PERIOD = 2**31 - 1  # onnxruntime's random node takes its seed modulo this, and 0 for 1 (libstdc++'s minstd_rand0)


@dataclass(frozen=True)
class Sample:
    """Runs in the order in which they were asked for.

    Attributes:
        routes: int64 [runs, 12], 1 where a site of keep probability ``KEEPS`` is kept.
        numbers: int64 [runs, 12], draws * 2^24, or None where only routes come out.
        streams: how many different rows the seeds of this sample could have led to if they were drawn with
            replacement; None where all of them differ.
    """

    routes: Numbers
    numbers: Numbers | None = None
    streams: int | None = None


def from_numbers(numbers: Numbers, streams: int | None = None) -> Sample:
    """A sample whose routes follow from its draws by the thresholds that an exported file has."""
    return Sample(keep_by(numbers, KEEPS), numbers, streams)


def keep_by(numbers: Numbers, keeps: Sequence[float]) -> Numbers:
    """Routes by thresholds, int64 [runs, 12]."""
    thresholds = np.array([rr.Categorical([1 - p, p]).thresholds[0, 0] for p in keeps])
    return (numbers * 2.0**-DRAW_BITS >= thresholds).astype(np.int64)


def mix64(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def stream(seeds: Sequence[int] | NDArray, sites: NDArray = FAR, *, key: Mixer = mix64, mix: Mixer = mix64) -> Numbers:
    """What ``rr_runtime.draws`` draws for these sites, for all seeds at once, as whole numbers, int64 [runs, sites].

    A test holds that they are equal; the mixers are arguments so that sabotaged twins can leave them out.
    """
    counter = (sites.astype(np.uint64) + np.uint64(1)) * np.uint64(GAMMA)
    state = key(np.asarray(seeds, np.uint64))[:, None] + counter
    return (mix(state) >> np.uint64(64 - DRAW_BITS)).astype(np.int64)


def consecutive() -> NDArray[np.uint64]:
    """0, 1, 2, ...: what people type."""
    return np.arange(RUNS, dtype=np.uint64)


def near_powers() -> NDArray[np.uint64]:
    """Neighbours on both sides of 2^31, 2^32, 2^53 and 2^62, and the last ones below 2^63."""
    half = RUNS // 10 + 1
    starts = [2**31 - half, 2**32 - half, 2**53 - half, 2**62 - half, 2**63 - 2 * half]
    return np.concatenate([np.arange(start, start + 2 * half, dtype=np.uint64) for start in starts])


def one_bit() -> NDArray[np.uint64]:
    """Blocks of 64: a seed, and the 63 seeds that differ from it in one bit."""
    bases = operating_system(RUNS // 64, stream_of=OPERATING_SYSTEM + 1)
    flips = np.concatenate([[0], 2 ** np.arange(63, dtype=np.uint64)]).astype(np.uint64)
    return (bases[:, None] ^ flips).ravel()


def operating_system(runs: int = RUNS, *, stream_of: int = OPERATING_SYSTEM) -> NDArray[np.uint64]:
    """Uniform in [0, 2^63), from a generator with a fixed seed."""
    return np.random.default_rng(stream_of).integers(0, SEEDS, runs, dtype=np.uint64)


def golden_multiples() -> NDArray[np.uint64]:
    """Multiples of the step that leads from one site to the next, modulo 2^63."""
    return (np.arange(RUNS, dtype=np.uint64) * np.uint64(GAMMA)) % np.uint64(SEEDS)


def high_multiples() -> NDArray[np.uint64]:
    """Multiples of 2^40: the lower bits never change."""
    return np.arange(RUNS, dtype=np.uint64) << np.uint64(40)


SEED_SETS: dict[str, Callable[[], NDArray[np.uint64]]] = {
    "seeds 0, 1, 2, ...": consecutive,
    "seeds near powers of 2": near_powers,
    "seeds one bit apart": one_bit,
    "seeds of the system": operating_system,
    "seeds k * golden gamma": golden_multiples,
    "seeds k * 2^40": high_multiples,
}


@dataclass(frozen=True)
class Exported:
    """An exported file and the part of it that decides, which also gives its draws."""

    file: Path
    routing: RoutingSlice
    content: bytes

    @property
    def names(self) -> list[str]:
        """Draws, latent routes."""
        return [DRAWS, self.routing.outputs[0]]

    def session(self) -> onnxruntime.InferenceSession:
        return onnxruntime.InferenceSession(self.content, single_thread(), providers=["CPUExecutionProvider"])


@cache
def exported(interface: str) -> Exported:
    """A model of twelve layers with these keep probabilities, exported, saved and cut."""
    torch.manual_seed(0)
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(nets.WIDTH, nets.WIDTH), keep) for keep in KEEPS)).eval()
    bundle = rr.export(model, (nets.example(),), interface=interface)
    folder = Path(tempfile.mkdtemp(prefix="rr_samples_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = bundle.save(folder / "model.onnx")
    routing = routing_slice(file, bundle, {"input": nets.example().numpy()})
    proto = onnx.load_from_string(routing.content)
    proto.graph.output.append(helper.make_tensor_value_info(DRAWS, onnx.TensorProto.INT64, [len(KEEPS)]))
    return Exported(file, routing, proto.SerializeToString())


def graph_on(seeds: NDArray[np.uint64]) -> Sample:
    """Draws and routes of an exported graph, one run per seed."""
    file = exported("explicit")
    session = file.session()
    return _gathered([session.run(file.names, file.routing.feeds(int(seed), None)) for seed in seeds])


def first_runs(interface: str, node_seeds: Sequence[int] | NDArray, streams: int | None = None) -> Sample:
    """Draws and routes by the random node: the first run of a fresh session for each of onnxruntime's seeds."""
    file = exported(interface)
    feeds = file.routing.feeds(None, None)
    with reseeding() as reseed:
        found = []
        for seed in node_seeds:
            reseed(int(seed))
            found.append(file.session().run(file.names, feeds))
    return _gathered(found, streams)


def long_run(interface: str, node_seed: int) -> Sample:
    """Draws and routes by the random node: many runs of one session."""
    file = exported(interface)
    feeds = file.routing.feeds(None, None)
    with reseeding() as reseed:
        reseed(node_seed)
        session = file.session()
    return _gathered([session.run(file.names, feeds) for _ in range(RUNS)])


def ensemble() -> Sample:
    """Routes of the whole file as the runtime's ensemble runs it, across the last seed."""
    result = Session(exported("explicit").file, threads=1).ensemble(
        {"input": nets.example().numpy()}, runs=WHOLE_RUNS, seed=SEEDS - WHOLE_RUNS // 2
    )
    return Sample(result.paths)


@contextmanager
def reseeding() -> Iterator[Callable[[int], None]]:
    """Yields what sets onnxruntime's seed, which is one per process; afterwards it is fresh again."""
    try:
        yield onnxruntime.set_seed
    finally:
        onnxruntime.set_seed(secrets.randbits(31))


def node_numbers(nodes: int, each: int, node_seeds: Sequence[int] | NDArray) -> Numbers:
    """First runs of a handmade file with bare random nodes of onnxruntime, as numbers [sessions, nodes * each]."""
    source = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [each])
    names = [f"noise{i}" for i in range(nodes)]
    graph = helper.make_graph(
        [helper.make_node("RandomUniformLike", ["x"], [name]) for name in names],
        "nodes",
        [source],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [each]) for name in names],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    feeds = {"x": np.zeros(each, np.float32)}
    found = []
    with reseeding() as reseed:
        for seed in node_seeds:
            reseed(int(seed))
            session = onnxruntime.InferenceSession(content, single_thread(), providers=["CPUExecutionProvider"])
            found.append(np.concatenate(session.run(names, feeds)))
    return _whole(np.stack(found))


def _whole(draws: NDArray[np.float32]) -> Numbers:
    return np.floor(draws.astype(np.float64) * 2**DRAW_BITS).astype(np.int64)


def _gathered(found: Sequence[Sequence[NDArray]], streams: int | None = None) -> Sample:
    draws, routes = (np.stack([row[k] for row in found]) for k in (0, 1))
    return Sample(routes, draws, streams)
