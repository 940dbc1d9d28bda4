"""Smaller and rounded forms of a routed bundle, each with what runs it on a path of the bundle, and its proof."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

import rr_export as rr
from examples.tasks.task import Inputs
from rr_export.parity.against import check_points
from rr_export.parity.pruned_check import check_pruned
from rr_export.parity.target_check import verify_targets
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_export.targets.half import to_half
from rr_export.targets.package import make_target
from rr_export.targets.provider_table import share_of
from rr_runtime import Session

Run = Callable[[Inputs], Inputs]
RoutePath = tuple[int, ...]
QDQ = "qdq"
FULL = ("contract", "weights", "paths", "nearest", "streams", "law", "laziness")


@dataclass(frozen=True)
class Form:
    """A form of a routed bundle.

    Attributes:
        name: what was done to it.
        on: from a path of the bundle that it was made of to what runs it.
        megabytes: of the files that a device needs.
        profiles: those of the bundle that it has.
        proof: what the proof against the bundle says, in words.
    """

    name: str
    on: Callable[[RoutePath], Run]
    megabytes: float
    profiles: tuple[str, ...]
    proof: str


def plain_form(bundle: rr.Bundle, folder: Path) -> Form:
    """Returns the routed bundle itself, which is saved in the folder."""
    proof = "what the others are compared with"
    return Form("routed", _runs(Session(folder, threads=1)), _size(folder), tuple(bundle.profiles), proof)


def pruned_form(bundle: rr.Bundle, folder: Path, kept: Sequence[str], place: Path, *, points: Sequence[str]) -> Form:
    """Returns the bundle without what these profiles do not take, and saves it in the place."""
    made = rr.prune(bundle, kept)
    made.save(place, overwrite=True)
    wanted = ("source", "weights", "paths", "nearest", "streams", "law", "profiles", "laziness")
    checks = check_pruned(
        made, place, bundle, folder, bundle.golden[0].inputs, _terms(bundle),
        points=[point for point in wanted if points == FULL or point in (*points, "source", "weights")],
    )  # fmt: skip
    proof = _said(checks, "within the tolerance of float32")
    return Form("pruned", _runs(Session(place, threads=1)), _size(place), tuple(kept), proof)


def dynamic_form(bundle: rr.Bundle, folder: Path, file: Path, *, points: Sequence[str]) -> Form:
    """Returns the bundle's model with 8-bit weights and products (onnxruntime's dynamic quantisation)."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            folder / "model.onnx",
            file,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            reduce_range=True,
            extra_options={"EnableSubgraph": True},
        )
    finally:
        logging.disable(before)
    proof = _rounded(file, bundle, folder, QDQ, points)
    return Form("int8 dynamic", _runs(Session(file, threads=1)), _size(file), tuple(bundle.profiles), proof)


def half_form(bundle: rr.Bundle, folder: Path, place: Path, *, points: Sequence[str]) -> Form:
    """Returns the bundle's model in half precision."""
    made = replace(bundle, model=to_half(bundle.model), targets={}, parity=None, path=None)
    made.save(place, overwrite=True)
    proof = _rounded(place / "model.onnx", bundle, folder, "float16", points)
    return Form("fp16", _runs(Session(place, threads=1)), _size(place), tuple(bundle.profiles), proof)


def static_form(bundle: rr.Bundle, calibration: Sequence[Inputs], place: Path) -> Form:
    """Returns the bundle in segments with 8-bit integers inside, calibrated on inputs over its paths."""
    made = make_target(bundle, "cpu", form="segments", precision="qdq", calibration=list(calibration), name=QDQ)
    made.save(place, only=[QDQ], overwrite=True)
    try:
        report = verify_targets(made, (QDQ,))
    except rr.ParityError as error:
        report = error.report
    assert report is not None
    words = f"within {share_of('cpu', QDQ):.0%} of the deviation"
    session = Session(place, target=QDQ, threads=1)
    return Form("int8 QDQ", _runs(session), _size(place), tuple(bundle.profiles), _said(report.checks, words))


def _rounded(file: Path, bundle: rr.Bundle, folder: Path, precision: str, points: Sequence[str]) -> str:
    share = share_of("cpu", precision)  # as `package` allows
    terms = Terms.asked(rtol=None, atol=None, share=share).with_default(bundle.manifest["tolerances"])
    checks = check_points(file, bundle, folder, dict(bundle.golden[0].inputs), terms, points=points)
    return _said(checks, f"within {share:.0%} of the deviation")


def _terms(bundle: rr.Bundle) -> Terms:
    return Terms.asked(rtol=None, atol=None).with_default(bundle.manifest["tolerances"])


def _said(checks: Sequence[Check], words: str) -> str:
    """What a proof says: on how many paths, or which points do not hold."""
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        return f"does not hold {words}: {', '.join(failed)}"
    paths = next((c.figures["paths"] for c in checks if "paths" in c.figures), None)
    return f"holds on {paths} paths, {words}" if paths else f"holds, {words}"


def _runs(session: Session) -> Callable[[RoutePath], Run]:
    pruned = session.manifest.pruned

    def on(path: RoutePath) -> Run:
        own = list(path if pruned is None else pruned.path(path))
        return lambda inputs: session.run(inputs, path=own).outputs

    return on


def _size(place: Path) -> float:
    """The size of a model, or of all models and weights in a folder, in MB."""
    if place.is_file():
        return place.stat().st_size / 1e6
    return sum(file.stat().st_size for file in place.iterdir() if ".onnx" in file.name) / 1e6
