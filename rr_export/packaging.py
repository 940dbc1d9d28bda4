"""One more form of a bundle's model, and, where its numbers are rounded, the proof that it is near enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from rr_export.bundle.bundle import Bundle
from rr_export.errors import PackageError, ParityError
from rr_export.parity.target_check import verify_targets
from rr_export.targets.frozen_paths import Metric
from rr_export.targets.golden_runs import GoldenWanted
from rr_export.targets.package import make_target
from rr_export.targets.package_request import ACTIVATION_BITS, Arrays

MOST_INPUTS = 4  # of calibration on which a quantised form is proven, beside the first golden case


def package(
    bundle: Bundle,
    target: str,
    *,
    form: str | None = None,
    frozen: int | None = None,
    best: Metric | None = None,
    sizes: Mapping[str, int] | None = None,
    precision: str = "float32",
    calibration: Sequence[Arrays] | None = None,
    name: str | None = None,
    format: str = "onnx",
    golden: GoldenWanted = None,
) -> Bundle:
    """Returns the bundle with one more target; its own model and its other targets stay, over the same weights.

    Made from the bundle alone: the PyTorch model and its source are not needed. Where no golden case fits the target,
    runs of the bundle's own model at the target's sizes are added to them.

    Args:
        bundle: a bundle with a routed model.
        target: what it is for: a name in ``TARGETS``, which says what form the model gets.
        form: "routed" or "segments" in place of the form that the target says; a routed form has the target's
            interface, or "host" where it has none.
        frozen: instead of that form, static files of this many paths, of which the runtime chooses one per run. Their
            law is as near to the plan's as that many paths allow; the distance stands in the manifest.
        best: take the frozen paths for which this is largest; None: paths drawn from the plan.
        sizes: sizes of symbolic axes to fix, by name; engines that want static shapes need all of them.
        precision: "float32", "float16" (inside; inputs and outputs stay), "qdq" (8-bit integers; static forms only) or
            "qdq16" (the same with activations of 16 bits, which transformers need; opset 21).
        calibration: for "qdq" and "qdq16": inputs to calibrate with; each is run on paths that reach every branch.
            Larger ones are cut into pieces of the target's sizes. None: the inputs of the golden cases.
        name: the target's name; None: ``target``.
        format: "onnx", or "ort" for ONNX Runtime's own format, with weights inside each file and the list of operators
            that a reduced build needs.
        golden: which runs the bundle gets for the target, to be compared with on a device: how many, or inputs by name
            to record them on, cut or repeated to the target's sizes. None: what it needs, where it can run none yet.

    Raises:
        PackageError: the target does not take such a form, the name is taken, the model has no such form, or
            a quantised form does not hold what ``verify`` proves of targets, on the first golden case and on inputs of
            calibration; the text says what holds.
        ValueError: a name, size or number is wrong; raised before any work.
    """
    options: dict[str, Any] = {"form": form, "frozen": frozen, "best": best, "sizes": sizes, "format": format}
    options |= {"calibration": calibration, "name": name}
    options |= {"golden": list(map(deepcopy, golden)) if isinstance(golden, Iterator) else golden}
    made = make_target(bundle, target, precision=precision, **options)
    if precision not in ACTIVATION_BITS:
        return made
    failure = _failure(made, name or target, calibration)
    if failure is not None:
        remedy = _what_holds(bundle, target, precision, options)
        raise PackageError(
            f"target {name or target!r}: expected that precision {precision!r} is as near to the model as verify wants "
            f"it, got {failure}; {remedy}"
        )
    return made


def _failure(made: Bundle, name: str, calibration: Sequence[Arrays] | None) -> str | None:
    """What the proof of a target says first against it, None where it holds."""
    inputs = [*(made.golden[0].inputs for _ in made.golden[:1]), *(calibration or ())[:MOST_INPUTS]]
    for given in inputs:
        try:
            verify_targets(made, [name], inputs=given)
        except ParityError as error:
            failures = [text for check in error.report.checks for text in check.failures]
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            return f"{failures[0]}{more}"
    return None


def _what_holds(bundle: Bundle, target: str, precision: str, options: Mapping[str, Any]) -> str:
    """What to do where a precision does not hold: what was tried, and what can be."""
    data = "calibrate with more inputs such as those that it will see (calibration=[...], --calibration FILE.npz)"
    if precision == "qdq" and target == "qnn":
        try:
            made = make_target(bundle, target, precision="qdq16", **options)
        except PackageError as error:
            return f"{data}; precision 'qdq16' cannot be made here: {error}"
        failure = _failure(made, options["name"] or target, options["calibration"])
        if failure is None:
            return f"precision 'qdq16' was tried, and holds (precision='qdq16', --precision qdq16); or {data}"
        return f"{data}; precision 'qdq16' was tried, and does not hold either: {failure}"
    return f"{data}, or take precision 'float32'"
