"""What export makes sure of where a model's own code decides: the file and the code are the same on the example.

Every path is taken by both (a covering set where there are many), by draws at either end of their intervals, and the
laws that the code gives its draws are the file's. Free runs of the code must take paths that the file has, also on
inputs far from the example. Conditions on the input are turned both ways: in a copy of the file they are inputs, in the
code they are told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.capture.python.own_code import turned_gates
from rr_export.eager.kept_streams import streams_kept
from rr_export.errors import CaptureError, RunError
from rr_export.lowering.deciding_slice import cut_at_path
from rr_export.lowering.sink import GATE_KEY
from rr_export.parity.code_laws import CodeLaws
from rr_export.parity.compare import Comparison
from rr_export.parity.eager_model import Eager
from rr_export.parity.executed import proving_options
from rr_export.parity.far_inputs import FarRuns
from rr_export.parity.paths import paths_to_compare
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Answer, File, forcing_feeds

FREE_RUNS, GATED_PATHS, MOST_TURNS = 16, 6, 16


def recheck(bundle: Bundle, eager: Eager, gated: ir.Model | None) -> None:
    """The file gives what the model's own code gives, on every way through it that was tried.

    Args:
        bundle: the exported file.
        eager: the eager model with the example.
        gated: the lowered model, where conditions depend on the input; else None.

    Raises:
        CaptureError: they differ.
    """
    tolerances = bundle.manifest["tolerances"]
    comparison = Comparison(tolerances["rtol"], tolerances["atol"])
    laws = CodeLaws(eager, bundle.plan)
    try:
        with streams_kept(), bundle.folder() as folder:
            file = File(folder, bundle)
            laws.compare(eager, file, comparison)
            with laws.watching():
                for run in range(FREE_RUNS):
                    found = eager.free_run()
                    path = found.path.tolist()
                    got = file.on_path(eager.inputs, path)
                    _compare(comparison, f"free run {run}", found, got, rounding(eager, found, got, path))
                FarRuns(comparison).compare(eager, file)
        if gated is not None:
            with laws.watching():
                _turn_gates(comparison, eager, bundle, gated)
    except RunError as error:
        _refuse_laws(laws.failures)
        raise CaptureError(f"export: expected code that decides the same way when it runs again: {error}") from error
    _refuse_laws(laws.failures)
    if comparison.failures:
        _refuse_laws(laws.suspects)
        raise CaptureError(
            "export: expected the captured code to be the same as the model, got differences: "
            f"{'; '.join(comparison.failures[:3])}; the code does something that was not captured: write the decision "
            "plainly, or put it into rr.OperationChoice or rr.LayerChoice"
        )


def _refuse_laws(differences: Sequence[str]) -> None:
    """Raises where the law of a draw is another in the code than in the file."""
    if differences:
        raise CaptureError(
            f"{differences[0]}; what the law is made of is changed in a way that was not captured: keep it in local "
            "names, or compute it anew from the decisions"
        )


def _compare(
    comparison: Comparison, where: str, expected: Answer, got: Answer, is_rounding: Callable[[], bool]
) -> None:
    comparison.add(where, expected.outputs, got.outputs, unless=is_rounding)
    if not np.array_equal(expected.path, got.path):
        comparison.failures.append(f"{where}: expected path taken {expected.path.tolist()}, got {got.path.tolist()}")


def with_gate_inputs(lowered: ir.Model) -> tuple[ir.Model, dict[int, str]]:
    """Returns a copy of a lowered model in which conditions on the input are inputs, and their names by decision."""
    model = lowered.clone()
    names: dict[int, str] = {}
    for node in list(ir.traversal.RecursiveGraphIterator(model.graph)):
        if GATE_KEY in node.metadata_props:
            number = int(node.metadata_props[GATE_KEY])
            if number not in names:
                names[number] = f"rr_turned_{number}"
                made = ir.Value(name=names[number], type=ir.TensorType(ir.DataType.BOOL), shape=ir.Shape([]))
                model.graph.inputs.append(made)
            value = next(v for v in model.graph.inputs if v.name == names[number])
            node.replace_input_with(0, value)
    return model, names


def _turn_gates(comparison: Comparison, eager: Eager, bundle: Bundle, lowered: ir.Model) -> None:
    """Compares some paths with the conditions on the input turned all ways, or many."""
    model, names = with_gate_inputs(lowered)
    interface, plan = bundle.manifest["interface"], bundle.plan
    if interface == "standalone":
        content = cut_at_path(model, len(plan.sites))
    else:
        content = ir.serde.serialize_model(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, proving_options(), providers=["CPUExecutionProvider"])
    outputs = [row["name"] for row in bundle.manifest["outputs"]]
    for path in paths_to_compare(plan, GATED_PATHS)[0][:GATED_PATHS]:
        for turned in _turns(list(names)):
            feeds = forcing_feeds(interface, eager.inputs, path)
            feeds |= {names[number]: np.array(outcome) for number, outcome in turned.items()}
            got = dict(zip(outputs, session.run(outputs, feeds), strict=True))
            with turned_gates(turned):
                expected = eager.on_path(path)
            comparison.add(f"path {list(path)}, conditions {turned}", expected.outputs, got)


def _turns(gates: Sequence[int]) -> Iterator[dict[int, bool]]:
    """All outcomes of the gates, or, of many, all alike and seeded random ones."""
    if 2 ** len(gates) <= MOST_TURNS:
        yield from (dict(zip(gates, way, strict=True)) for way in itertools.product((False, True), repeat=len(gates)))
        return
    random = np.random.default_rng(0)
    rows: list[NDArray[np.bool_]] = [np.zeros(len(gates), bool), np.ones(len(gates), bool)]
    rows += [random.random(len(gates)) < 0.5 for _ in range(MOST_TURNS - 2)]
    yield from (dict(zip(gates, map(bool, row), strict=True)) for row in rows)
