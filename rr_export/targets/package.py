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


def make_target(
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
    """Returns the bundle with one more target, of which nothing is proven; see :func:`rr_export.package`.

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
    return replace(bundle, targets={**bundle.targets, request.name: files}, golden=cases, path=None)


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
