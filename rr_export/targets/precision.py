"""A form in float32 -> the same form in the precision that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from rr_export.targets.calibrate import quantize_segments
from rr_export.targets.calibration_inputs import calibration_runs
from rr_export.targets.forms import Form
from rr_export.targets.half import to_half
from rr_export.targets.package_request import Arrays, PackageRequest
from rr_export.targets.qdq import quantize_static_model
from rr_runtime.json_node import Node
from rr_runtime.segment_program_reader import read_program


def in_precision(form: Form, request: PackageRequest, feeds: Sequence[Arrays]) -> Form:
    """Returns the form in the precision that is asked for.

    Args:
        form: in float32.
        request: what is asked for.
        feeds: inputs to calibrate with, in the sizes of the target; [] where nothing is quantised.
    """
    models = {file: model for file, model in form.models.items() if isinstance(model, ir.Model)}
    bits = request.activation_bits
    if bits is not None:
        return Form(form.about, _quantised(form, models, request, feeds, bits))
    if request.precision == "float16":
        return Form(form.about, {file: to_half(model) for file, model in models.items()})
    return form


def _quantised(
    form: Form, models: dict[str, ir.Model], request: PackageRequest, feeds: Sequence[Arrays], bits: int
) -> dict[str, ir.Model]:
    """Returns the models of a static form with integers inside."""
    plan, provider = request.bundle.plan, request.needs.name
    if form.about["form"] == "segments":
        program = Node(form.about["program"], request.name, "program")
        steps = read_program(program, [site.policy.branches for site in plan.sites], models)
        return quantize_segments(steps, models, calibration_runs(feeds, plan), provider, activation_bits=bits)
    return {file: quantize_static_model(model, feeds, provider, activation_bits=bits) for file, model in models.items()}
