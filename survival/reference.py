"""What a rewritten file is compared with: the exported file, and what it gives on each path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import rr_export as rr
from rr_export.eager.gate import reported_name
from rr_export.laws.policies import Gated
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.parity.paths import paths_to_compare
from rr_runtime.draws import draws
from survival.engines import Arrays, open_file
from survival.tool import Tolerance

MAX_PATHS = 32
LEAST_AWAY = 1e-3  # how near to a border of a gate's probabilities nothing is expected
SEARCHED = 2**14  # seeds among which those are found whose draws lie nearest to the thresholds


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
    def law(self) -> rr.Plan:
        """The plan in which gates have the probabilities that the exported file tells for the first inputs."""
        policies: dict[str, rr.Categorical] = {}
        run = open_file(self.file, "onnxruntime") if self.plan.gates else None
        for site in (self.plan.sites[i] for i in self.plan.gates):
            assert run is not None and isinstance(site.policy, Gated)
            told = next(
                values
                for path in self.paths
                for (values,) in [run([reported_name(site.name)], self.feeds(self.inputs[0], path=path))]
                if values.any()  # else it is not reached
            ).astype(np.float64)
            chosen = told / told.sum() if site.policy.decision == "sample" else np.eye(len(told))[told.argmax()]
            policies[site.name] = rr.Categorical(chosen)
        return self.plan.with_policies(policies)

    def is_unsure(self, drawn: NDArray[np.float32], tolerance: Tolerance) -> bool:
        """Tells whether a draw is so near to a border of a gate's probabilities that the tolerance may decide."""
        away = self.away(tolerance)
        return any(np.abs(drawn[i] - self.law.sites[i].policy.thresholds).min() < away for i in self.plan.gates)

    def away(self, tolerance: Tolerance) -> float:
        """Returns how far from a border of a gate's probabilities a draw decides whatever the tolerance allows."""
        return LEAST_AWAY + tolerance.rtol + tolerance.share / 10

    @cached_property
    def names(self) -> list[str]:
        """The model's own outputs."""
        return [row["name"] for row in self.bundle.manifest["outputs"]]

    @cached_property
    def paths(self) -> list[tuple[int, ...]]:
        """All paths, or a covering set of them."""
        paths, total, every = paths_to_compare(self.plan, MAX_PATHS)
        return paths if every else list(self.plan.evenly().paths()) if total <= 4 * MAX_PATHS else paths

    @cached_property
    def outputs(self) -> list[list[NDArray[np.float64]]]:
        """The outputs of each path at each size, all outputs of a run as one float64 vector."""
        if self.interface == "standalone":
            content: Path | bytes = serialized(with_path_as(self.file, "input"))
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
            for threshold in () if i in self.plan.gates else np.unique(site.policy.thresholds):
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


def with_path(files: Files, reference: Reference, side: str) -> Path | bytes:
    """Returns the rewritten file with its path as an "input" or "output"."""
    if reference.interface != "standalone":
        return files.file
    try:
        if files.engine.startswith("onnxruntime") and files.file.suffix == ".onnx":
            return serialized(with_path_as(files.file, side))
    except KeyError:
        pass
    return files.twins(side)


def serialized(model: ir.Model) -> bytes:
    """Returns the bytes of a model."""
    return bytes(ir.to_proto(model).SerializeToString())


def difference(expected: NDArray[np.float64], got: NDArray[np.float64], tolerance: Tolerance) -> str | None:
    """Returns in which way the outputs of a run are not the expected ones; None where they are."""
    if expected.shape != got.shape:
        return f"expected {expected.size} numbers, got {got.size}"
    if np.allclose(got, expected, rtol=tolerance.rtol, atol=tolerance.atol):
        return None
    share = float(np.sqrt(np.mean((got - expected) ** 2)) / expected.std())
    if share <= tolerance.share:
        return None
    return f"expected outputs within {tolerance}, got {share:.2g} of their deviation apart"
