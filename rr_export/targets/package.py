"""A routed bundle -> the same bundle with one more form of its model, as an execution provider wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.contents import TargetFiles
from rr_export.errors import PackageError
from rr_export.targets.calibration_inputs import calibration_inputs
from rr_export.targets.file_format import in_format
from rr_export.targets.forms import Form, make_form
from rr_export.targets.frozen_paths import Metric
from rr_export.targets.golden_runs import GoldenWanted, golden_runs, golden_wanted
from rr_export.targets.marks import mark_sites
from rr_export.targets.package_request import Arrays, PackageRequest
from rr_export.targets.precision import in_precision
from rr_export.targets.provider_table import share_of
from rr_export.targets.sizes import fix_sizes


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
        PackageError: the target does not take such a form, the name is taken, or the model has no such form.
        ValueError: a name, size or number is wrong; raised before any work.
    """
    request = PackageRequest.resolved(
        bundle,
        target,
        form=form,
        frozen=frozen,
        best=best,
        sizes=sizes,
        precision=precision,
        calibration=calibration,
        name=name,
        format=format,
    )
    request = replace(request, golden=golden_wanted(golden, bundle))
    feeds = calibration_inputs(request)
    model = bundle.model.clone()
    mark_sites(model, bundle.plan, bundle.manifest.get("idle", ()))
    fix_sizes(model, request.sizes)
    made = make_form(model, request)
    made = in_precision(made, request, feeds)
    made = in_format(made, request)
    _check_files(made, request)
    files = TargetFiles(_about(made, request), made.models)
    cases = [*bundle.golden, *golden_runs(request, files.about)]
    return replace(bundle, targets={**bundle.targets, request.name: files}, golden=cases, parity=None, path=None)


def _check_files(made: Form, request: PackageRequest) -> None:
    """Raises a PackageError where another target has a file of the same name."""
    for other, target in request.bundle.targets.items():
        for file in target.models:
            if file in made.models:
                raise PackageError(
                    f"name: expected files of their own, got {file!r} of target {other!r} for {request.name!r}; "
                    "choose another name"
                )


def _about(made: Form, request: PackageRequest) -> dict[str, Any]:
    """Returns what the manifest says about the target."""
    share = share_of(request.needs.name, request.precision)
    return {
        "provider": request.needs.name,
        "precision": request.precision,
        **request.bundle.manifest["tolerances"],
        **({"share": share} if share else {}),
        **({"sizes": request.sizes} if request.sizes else {}),
        **({} if request.needs.reads_weight_file else {"weights_inside": True}),
        **made.about,
    }
