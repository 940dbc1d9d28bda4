"""Whether a file is still the exported one: paths, streams and law, whatever a tool did to it.

Everything is compared with the exported file, not with the eager model: ``rr_export.verify`` has proven that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

import rr_export as rr
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.parity.law import count_tests, deviation, law_failures
from rr_export.parity.paths import choose_paths
from rr_runtime.draws import draws
from survival.tool import Tolerance

Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[Sequence[str], Arrays], list[NDArray[Any]]]

HEAVY = ("MatMul", "Gemm", "Conv", "Attention")  # parts of the names of operators with weights
MAX_PATHS = 32
SEEDS = (*range(200), 2**31 - 1, 2**31, 2**32 + 5, 2**53 + 1, 2**62, 2**63 - 1)
MIXED_SEEDS = range(1000, 1050)  # with about half of the routes forced, some above the last one
FALSE_ALARM = 1e-6  # of one cell
FIRST_RUNS, LONG_RUNS = 200, 2000  # of the routing part alone
WHOLE_FIRST_RUNS, WHOLE_LONG_RUNS = 40, 400  # of whole files
SLOW_FIRST_RUNS = 12  # of engines that take long to load a file
SEARCHED = 2**14  # seeds among which those are found whose draws lie nearest to the thresholds


class UnusableError(Exception):
    """The file fails loudly: it does not load, or a run raises.

    Attributes:
        stage: "load" or "run".
    """

    def __init__(self, stage: str, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.stage = stage


@dataclass(frozen=True)
class Files:
    """A rewritten file, and where its own routing cannot be reached, copies made before the tool.

    Attributes:
        file: the rewritten file.
        engine: what runs it: "onnxruntime", "onnxruntime unoptimised" or "openvino".
        twins: makes the same tool's result of a copy that has ``rr_path_taken`` as an "input" or as an "output".
    """

    file: Path
    engine: str
    twins: Callable[[str], Path]


@dataclass(frozen=True)
class Reference:
    """What the exported file gives on each path.

    Attributes:
        bundle: the exported file.
        inputs: the model's own inputs, at each size of the dynamic axis.
    """

    bundle: rr.Bundle
    inputs: Sequence[Arrays]

    @property
    def interface(self) -> str:
        """Of the file."""
        return str(self.bundle.manifest["interface"])

    @property
    def file(self) -> Path:
        """The exported file."""
        assert self.bundle.path is not None
        return self.bundle.path

    @cached_property
    def plan(self) -> rr.Plan:
        """Its sites."""
        return self.bundle.plan

    @cached_property
    def names(self) -> list[str]:
        """The model's own outputs."""
        return [row["name"] for row in self.bundle.manifest["outputs"]]

    @cached_property
    def paths(self) -> list[tuple[int, ...]]:
        """All paths, or a covering set of them."""
        paths, total, every = choose_paths(self.plan, MAX_PATHS)
        return paths if every else list(self.plan.paths()) if total <= 4 * MAX_PATHS else paths

    @cached_property
    def outputs(self) -> list[list[NDArray[np.float64]]]:
        """The outputs of each path at each size, all outputs of a run as one float64 vector."""
        if self.interface == "standalone":
            content: Path | bytes = _serialized(with_path_as(self.file, "input"))
        else:
            content = self.file
        run = open_file(content, "onnxruntime")
        return [[self.vector(run(self.names, self.feeds(x, path=p))) for x in self.inputs] for p in self.paths]

    def feeds(self, inputs: Arrays, *, seed: int | None = None, path: Sequence[int] | None = None) -> Arrays:
        """Returns what a file is fed; standalone, ``path`` is for a copy that takes it."""
        count = len(self.plan.sites)
        asked = np.full(count, -1, np.int64) if path is None else np.array(path, dtype=np.int64)
        if self.interface == "explicit":
            return {**inputs, SEED: np.array(-1 if seed is None else seed), PATH: asked}
        if self.interface == "host":
            return {**inputs, DRAWS: draws(0 if seed is None else seed, count), PATH: asked}
        return {**inputs} if path is None else {**inputs, TAKEN: asked}

    def vector(self, values: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Returns all values of one run, one after the other."""
        return np.concatenate([v.astype(np.float64).ravel() for v in values])

    @cached_property
    def lanes(self) -> NDArray[np.int64]:
        """What each of the random node's numbers counts for in the seed that they spell."""
        (found,) = [v for n, v in ir.load(self.file).graph.initializers.items() if n.endswith("lanes")]
        assert found.const_value is not None
        return found.const_value.numpy()

    @cached_property
    def edge_seeds(self) -> list[int]:
        """Seeds below ``SEARCHED`` that draw just below and just above each threshold: within some 2^-14 of it."""
        drawn = np.stack([draws(seed, len(self.plan.sites)) for seed in range(SEARCHED)])
        found: set[int] = set()
        for i, site in enumerate(self.plan.sites):
            for threshold in np.unique(site.policy.thresholds):
                beyond = drawn[:, i] >= threshold
                for side in (beyond, ~beyond):
                    if side.any():
                        distance = np.where(side, np.abs(drawn[:, i] - threshold), np.inf)
                        found.add(int(np.argmin(distance)))
        return sorted(found)

    def nearest(self, vector: NDArray[np.float64], size: int) -> int:
        """Returns the number of the path whose outputs are nearest."""
        distances = [float(np.linalg.norm(vector - other[size])) for other in self.outputs]
        return int(np.argmin(distances))


def check(files: Files, reference: Reference, tolerance: Tolerance, *, fixed_batch: bool = False) -> list[str]:
    """Returns one sentence per way in which the rewritten file is another model.

    Raises:
        UnusableError: the file fails loudly.
    """
    open_file(files.file, files.engine)
    sizes = [0] if fixed_batch else list(range(len(reference.inputs)))
    failures = _signature(files, reference) + _laziness(files, reference)
    failures += _paths(files, reference, tolerance, sizes)
    if reference.interface != "standalone":
        failures += _streams(files, reference, tolerance)
    if reference.interface == "host":
        failures += _thresholds(files, reference)
    else:
        failures += _law(files, reference) + _random_bits(files, reference)
    if reference.interface == "standalone":
        failures += _whole_runs(files, reference, tolerance)
    return failures


def open_file(source: Path | bytes, engine: str) -> Run:
    """Returns the function that runs a file, from names of outputs and inputs to outputs.

    Raises:
        UnusableError: it does not load.
    """
    try:
        opened = _open_openvino(source) if engine == "openvino" else _open_onnxruntime(source, engine)
    except Exception as error:  # engines' own exceptions have no common base
        raise UnusableError("load", error) from error

    def run(names: Sequence[str], feeds: Arrays) -> list[NDArray[Any]]:
        try:
            return opened(names, feeds)
        except Exception as error:
            raise UnusableError("run", error) from error

    return run


def _open_onnxruntime(source: Path | bytes, engine: str) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if engine == "onnxruntime unoptimised":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = source if isinstance(source, bytes) else str(source)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda names, feeds: session.run(list(names), dict(feeds))


def _open_openvino(source: Path | bytes) -> Run:
    import openvino

    model = openvino.Core().read_model(source)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(names: Sequence[str], feeds: Arrays) -> list[NDArray[Any]]:
        results = compiled(dict(feeds))
        found = {name: results[port] for port in compiled.outputs for name in port.get_names()}
        return [np.array(found[name]) for name in names]

    return run


def with_path_as(source: Path, side: str) -> ir.Model:
    """Returns a standalone model whose value ``rr_path_taken`` is an "input" or an "output" of the graph.

    Raises:
        KeyError: it has no such value in its main graph.
    """
    model = ir.load(source)
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = ir.tensor(value.const_value.numpy(), name=value.name)
    found = {v.name: v for node in model.graph for v in node.outputs}
    if TAKEN not in found:
        raise KeyError(TAKEN)
    taken = found[TAKEN]
    if side == "output":
        taken.dtype = taken.dtype or ir.DataType.INT64
        model.graph.outputs.append(taken)
        return model
    given = ir.Value(name=TAKEN, type=ir.TensorType(ir.DataType.INT64), shape=taken.shape)
    taken.name = f"{TAKEN}.cut"
    ir.convenience.replace_all_uses_with(taken, given)
    model.graph.inputs.append(given)
    return model


def _serialized(model: ir.Model) -> bytes:
    return bytes(ir.to_proto(model).SerializeToString())


def _with_path(files: Files, reference: Reference, side: str) -> Path | bytes:
    """The rewritten file with its path as an input or output."""
    if reference.interface != "standalone":
        return files.file
    try:
        if files.engine.startswith("onnxruntime") and files.file.suffix == ".onnx":
            return _serialized(with_path_as(files.file, side))
    except KeyError:
        pass
    return files.twins(side)


def _signature(files: Files, reference: Reference) -> list[str]:
    """Inputs and outputs that others rely on, and only those."""
    if files.file.suffix != ".onnx":
        return []
    before, after = ir.load(reference.file).graph, ir.load(files.file).graph
    failures = []
    for side in ("inputs", "outputs"):
        a, b = ([v.name for v in getattr(g, side) if v.name not in g.initializers] for g in (before, after))
        if a != b:
            failures.append(f"signature: expected {side} {a}, got {b}")
    return failures


def _laziness(files: Files, reference: Reference) -> list[str]:
    """No computation has left its branch: the main graph has no more nodes with weights than before."""
    if files.file.suffix != ".onnx":
        return []
    before, after = (
        sum(any(part in node.op_type for part in HEAVY) for node in ir.load(file).graph)
        for file in (reference.file, files.file)
    )
    if after <= before:
        return []
    return [f"laziness: expected at most {before} nodes with weights outside all branches, got {after}"]


def _difference(expected: NDArray[np.float64], got: NDArray[np.float64], tolerance: Tolerance) -> str | None:
    if expected.shape != got.shape:
        return f"expected {expected.size} numbers, got {got.size}"
    if np.allclose(got, expected, rtol=tolerance.rtol, atol=tolerance.atol):
        return None
    share = float(np.sqrt(np.mean((got - expected) ** 2)) / expected.std())
    if share <= tolerance.share:
        return None
    return f"expected outputs within {tolerance}, got {share:.2g} of their deviation apart"


def _paths(files: Files, reference: Reference, tolerance: Tolerance, sizes: Sequence[int]) -> list[str]:
    """Every forced path gives that path's outputs, and no other's; the path taken is exact."""
    run = open_file(_with_path(files, reference, "input"), files.engine)
    shown = reference.interface != "standalone"
    names = [*reference.names, TAKEN] if shown else reference.names
    failures: list[str] = []
    for number, path in enumerate(reference.paths):
        for size in sizes:
            values = run(names, reference.feeds(reference.inputs[size], seed=0, path=path))
            where = f"paths: {list(path)}"
            if shown and values.pop().tolist() != list(path):
                failures.append(f"{where}: another path was taken")
            vector = reference.vector(values)
            problem = _difference(reference.outputs[number][size], vector, tolerance)
            if problem:
                failures.append(f"{where}: {problem}")
            elif (nearest := reference.nearest(vector, size)) != number:
                failures.append(f"{where}: outputs are nearer to those of {list(reference.paths[nearest])}")
    return failures


def _streams(files: Files, reference: Reference, tolerance: Tolerance) -> list[str]:
    """Every seed takes the plan's path, bit for bit, also with some routes forced; outputs are that path's."""
    run = open_file(files.file, files.engine)
    plan, inputs = reference.plan, reference.inputs[0]
    last = np.array([site.policy.branches - 1 for site in plan.sites])
    failures: list[str] = []
    for seed in (*SEEDS, *MIXED_SEEDS, *reference.edge_seeds):
        path = np.full(len(plan.sites), -1)
        if seed in MIXED_SEEDS:
            rng = np.random.default_rng(seed)
            path = np.where(rng.random(len(last)) < 0.5, rng.integers(0, last + 1), -1)
        asked = np.where((path == last) & (seed % 2 == 0), path + 1, path)
        expected = plan.taken(plan.routes(draws(seed, len(last)), path))
        *values, taken = run([*reference.names, TAKEN], reference.feeds(inputs, seed=seed, path=asked.tolist()))
        if taken.tolist() != expected.tolist():
            failures.append(f"streams: seed {seed}: expected path {expected.tolist()}, got {taken.tolist()}")
        elif (found := tuple(expected.tolist())) in reference.paths:
            number = reference.paths.index(found)
            problem = _difference(reference.outputs[number][0], reference.vector(values), tolerance)
            if problem:
                failures.append(f"streams: seed {seed}: {problem}")
    return failures


def _thresholds(files: Files, reference: Reference) -> list[str]:
    """A host file takes the right route for the least draw that reaches a threshold, and for the one before it."""
    run = open_file(files.file, files.engine)
    plan = reference.plan
    failures: list[str] = []
    for i, site in enumerate(plan.sites):
        for threshold in np.unique(site.policy.thresholds).tolist():
            reaching = np.ceil(threshold * 2**24)
            for number in (reaching - 1, reaching):
                if not 0 <= number < 2**24:
                    continue
                given = np.full(len(plan.sites), 0.5, dtype=np.float32)
                given[i] = number * 2.0**-24
                expected = plan.taken(plan.routes(given)).tolist()
                got = run([TAKEN], {**reference.feeds(reference.inputs[0]), DRAWS: given})[0].tolist()
                if expected != got:
                    failures.append(f"thresholds: draws {given.tolist()}: expected path {expected}, got {got}")
    return failures


def _random_bits(files: Files, reference: Reference) -> list[str]:
    """What follows from given random numbers: the paths of the seeds that they spell, exactly.

    The random node's output is cut into an input; where a file has no such node, there is nothing to cut.
    """
    try:
        content = _with_path(files, reference, "output")
    except UnusableError:
        return []
    part = routing_part(content, from_random=True)
    if part is None or part.noise is None:
        return []
    (name, dtype), lanes = part.noise, reference.lanes
    run, plan = open_file(part.content, "onnxruntime"), reference.plan
    given = {n: v for n, v in reference.feeds(reference.inputs[0]).items() if n in part.inputs}
    failures: list[str] = []
    for seed in (*range(64), *reference.edge_seeds):
        noise = np.zeros(lanes.shape, dtype=dtype)
        rest = seed
        for place in np.argsort(-lanes, kind="stable"):
            if lanes[place] > 0:
                noise[place], rest = divmod(rest, int(lanes[place]))
        expected = plan.taken(plan.routes(draws(seed, len(plan.sites)))).tolist()
        got = run([TAKEN], {**given, name: noise})[0].tolist()
        if expected != got:
            failures.append(f"random bits: of seed {seed}: expected path {expected}, got {got}")
    return failures


def _law(files: Files, reference: Reference) -> list[str]:
    """The random node's first runs in many sessions, and one long run, follow the plan."""
    content = _with_path(files, reference, "output")
    part = routing_part(content)
    feeds = reference.feeds(reference.inputs[0])
    sessions = SLOW_FIRST_RUNS if files.engine == "openvino" else WHOLE_FIRST_RUNS
    if part is not None and files.engine != "openvino":
        content, sessions = part.content, FIRST_RUNS
        feeds = {name: feeds[name] for name in part.inputs}
    sample = partial(_sample, content, files.engine, feeds)
    samples = {"first runs": sample(sessions=sessions, runs=1), "a long run": sample(sessions=1, runs=LONG_RUNS)}
    failures: list[str] = []
    for name, taken in samples.items():
        failures += [f"law: {name}: {text}" for text in path_law_failures(reference.plan, taken, len(samples))]
    return failures


@dataclass(frozen=True)
class Part:
    """The part of a file that decides, as a model of its own.

    Attributes:
        content: the model.
        inputs: the file's inputs that it has.
        noise: name and numpy type of the random numbers, where they are an input of it.
    """

    content: bytes
    inputs: tuple[str, ...]
    noise: tuple[str, np.dtype[Any]] | None = None


def routing_part(content: Path | bytes, *, from_random: bool = False) -> Part | None:
    """Returns what decides, from the file's inputs or from its random numbers on; None where it cannot be cut out."""
    if isinstance(content, Path) and content.suffix != ".onnx":
        return None
    try:
        model = ir.from_proto(onnx.load_from_string(content)) if isinstance(content, bytes) else ir.load(content)
        part = _cut_from(model, _random_value(model.graph) if from_random else None)
        _open_onnxruntime(part.content, "onnxruntime")
    except Exception:  # whatever a tool wrote that cannot be cut: the whole file is sampled then
        return None
    return part


def _random_value(graph: ir.Graph) -> ir.Value:
    (node,) = [n for n in graph if n.op_type == "RandomUniformLike"]
    value = node.outputs[0]
    value.dtype = ir.DataType(node.attributes["dtype"].as_int())
    return value


def _cut_from(model: ir.Model, noise: ir.Value | None) -> Part:
    graph = model.graph
    taken = next(v for v in graph.outputs if v.name == TAKEN)
    needed = _sources(taken, noise)
    inputs = tuple(v.name for v in graph.inputs if v in needed and v.name and v.name not in graph.initializers)
    given = [] if noise is None else [noise.name or ""]
    cut = ir.convenience.extract(graph, [*inputs, *given], [TAKEN])
    cut.opset_imports.update(graph.opset_imports)
    read = None
    if noise is not None and noise.dtype is not None:
        (value,) = [v for v in cut.inputs if v.name == noise.name]
        value.type = ir.TensorType(noise.dtype)
        read = (given[0], noise.dtype.numpy())
    content = _serialized(ir.Model(cut, ir_version=model.ir_version, functions=list(model.functions.values())))
    return Part(content, inputs, read)


def _sources(value: ir.Value, stop: ir.Value | None) -> set[ir.Value]:
    """All values that a value depends on, without looking behind ``stop``."""
    found: set[ir.Value] = set()
    todo = [value]
    while todo:
        value = todo.pop()
        if value not in found:
            found.add(value)
            producer = None if value is stop else value.producer()
            todo += [] if producer is None else [v for v in producer.inputs if v is not None]
    return found


def _sample(content: Path | bytes, engine: str, feeds: Arrays, *, sessions: int, runs: int) -> NDArray[np.int64]:
    """Paths taken, int64 [sessions * runs, S]; every session has a seed of its own."""
    seeds = np.random.default_rng(7).integers(0, 2**31, size=sessions)
    found = []
    for seed in seeds:
        onnxruntime.set_seed(int(seed))
        run = open_file(content, engine)
        found += [run([TAKEN], feeds)[0] for _ in range(runs)]
    return np.stack(found)


def path_law_failures(plan: rr.Plan, taken: NDArray[np.int64], samples: int) -> list[str]:
    """Returns one sentence per path, marginal and pair whose frequency contradicts the plan.

    The two-sided Chernoff bound of :mod:`rr_export.parity.law`, at ``FALSE_ALARM`` for all ``samples`` together.

    Args:
        plan: the law.
        taken: int64 [runs, S], paths taken.
        samples: how many such samples share the false-alarm rate.
    """
    law = {path: plan.probability(path) for path in plan.paths()}
    seen = dict.fromkeys(law, 0)
    failures: list[str] = []
    for row in map(tuple, taken.tolist()):
        if row not in seen:
            return [f"expected a path of the plan, got {list(row)}"]
        seen[row] += 1
    nested = any(() not in site.calls for site in plan.sites)
    rate = FALSE_ALARM / samples / (len(law) + (0 if nested else count_tests(plan)))
    for path, probability in law.items():
        if len(taken) * deviation(seen[path] / len(taken), probability) > np.log(2 / rate):
            failures.append(
                f"expected path {list(path)} with probability {probability:.3g}, got {seen[path] / len(taken):.3g}"
            )
    return failures if nested else failures + law_failures(plan, taken, rate)


def _whole_runs(files: Files, reference: Reference, tolerance: Tolerance) -> list[str]:
    """The very file, without any cut: every output is some path's, and the paths found so follow the plan."""
    slow = files.engine == "openvino"
    seeds = np.random.default_rng(8).integers(0, 2**31, size=SLOW_FIRST_RUNS if slow else WHOLE_FIRST_RUNS)
    found: dict[str, list[int]] = {"first runs": [], "a long run": []}
    failures: list[str] = []
    run: Run | None = None
    for number in range(len(seeds) + WHOLE_LONG_RUNS):
        first = number < len(seeds)
        if first or run is None:
            onnxruntime.set_seed(int(seeds[number]))
            run = open_file(files.file, files.engine)
        vector = reference.vector(run(reference.names, reference.feeds(reference.inputs[0])))
        nearest = reference.nearest(vector, 0)
        problem = _difference(reference.outputs[nearest][0], vector, tolerance)
        if problem:
            return [*failures, f"whole runs: nearest to path {list(reference.paths[nearest])}: {problem}"]
        found["first runs" if first else "a long run"].append(nearest)
    for name, numbers in found.items():
        taken = np.array([reference.paths[n] for n in numbers])
        failures += [f"whole runs: {name}: {t}" for t in path_law_failures(reference.plan, taken, len(found))]
    return failures
