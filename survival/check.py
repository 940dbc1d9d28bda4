"""Whether a file is still the exported one: paths, streams and law, whatever a tool did to it.

Everything is compared with the exported file, not with the eager model: ``rr_export.verify`` has proven that one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from rr_export.lowering import DRAWS, TAKEN
from rr_runtime.draws import draws
from survival.engines import open_file
from survival.law import random_bits, sampled_law, whole_runs
from survival.reference import Files, Reference, difference, with_path
from survival.tool import Tolerance

HEAVY = ("MatMul", "Gemm", "Conv", "Attention")  # parts of the names of operators with weights
SEEDS = (*range(200), 2**31 - 1, 2**31, 2**32 + 5, 2**53 + 1, 2**62, 2**63 - 1)
MIXED_SEEDS = range(1000, 1050)  # with about half of the routes forced, some above the last one


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
        failures += _thresholds(files, reference, tolerance)
    else:
        failures += sampled_law(files, reference) + random_bits(files, reference, tolerance)
    if reference.interface == "standalone":
        failures += whole_runs(files, reference, tolerance)
    return failures


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


def _paths(files: Files, reference: Reference, tolerance: Tolerance, sizes: Sequence[int]) -> list[str]:
    """Every forced path gives that path's outputs, and no other's; the path taken is exact."""
    run = open_file(with_path(files, reference, "input"), files.engine)
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
            problem = difference(reference.outputs[number][size], vector, tolerance)
            if problem:
                failures.append(f"{where}: {problem}")
            elif (nearest := reference.nearest(vector, size)) != number:
                failures.append(f"{where}: outputs are nearer to those of {list(reference.paths[nearest])}")
    return failures


def _streams(files: Files, reference: Reference, tolerance: Tolerance) -> list[str]:
    """Every seed takes the plan's path, bit for bit, also with some routes forced; outputs are that path's."""
    run = open_file(files.file, files.engine)
    plan, inputs = reference.law, reference.inputs[0]
    last = np.array([site.policy.branches - 1 for site in plan.sites])
    failures: list[str] = []
    for seed in (*SEEDS, *MIXED_SEEDS, *reference.edge_seeds):
        path = np.full(len(plan.sites), -1)
        if seed in MIXED_SEEDS:
            rng = np.random.default_rng(seed)
            path = np.where(rng.random(len(last)) < 0.5, rng.integers(0, last + 1), -1)
        asked = np.where((path == last) & (seed % 2 == 0), path + 1, path)
        drawn = draws(seed, len(last))
        if reference.is_unsure(drawn, tolerance):
            continue
        expected = plan.taken(plan.routes(drawn, path))
        *values, taken = run([*reference.names, TAKEN], reference.feeds(inputs, seed=seed, path=asked.tolist()))
        if taken.tolist() != expected.tolist():
            failures.append(f"streams: seed {seed}: expected path {expected.tolist()}, got {taken.tolist()}")
        elif (found := tuple(expected.tolist())) in reference.paths:
            number = reference.paths.index(found)
            problem = difference(reference.outputs[number][0], reference.vector(values), tolerance)
            if problem:
                failures.append(f"streams: seed {seed}: {problem}")
    return failures


def _thresholds(files: Files, reference: Reference, tolerance: Tolerance) -> list[str]:
    """A host file takes the right route for the least draw that reaches a threshold, and for the one before it.

    Of gates, whose thresholds are computed, draws farther from them are tried.
    """
    run = open_file(files.file, files.engine)
    plan = reference.law
    failures: list[str] = []
    for i, site in enumerate(plan.sites):
        away = round(2**24 * reference.away(tolerance)) if i in reference.plan.gates else 0
        for threshold in np.unique(site.policy.thresholds).tolist():
            reaching = np.ceil(threshold * 2**24)
            for number in (reaching - 1 - away, reaching + away):
                if not 0 <= number < 2**24:
                    continue
                given = np.full(len(plan.sites), 0.5, dtype=np.float32)
                given[i] = number * 2.0**-24
                expected = plan.taken(plan.routes(given)).tolist()
                got = run([TAKEN], {**reference.feeds(reference.inputs[0]), DRAWS: given})[0].tolist()
                if expected != got:
                    failures.append(f"thresholds: draws {given.tolist()}: expected path {expected}, got {got}")
    return failures
