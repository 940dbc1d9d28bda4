"""A form in ONNX files -> the same form in the file format that is asked for."""

from __future__ import annotations

import onnx_ir as ir

from rr_export.bundle.file_names import rename_files
from rr_export.targets.forms import Form
from rr_export.targets.ort_files import to_ort
from rr_export.targets.package_request import PackageRequest


def in_format(form: Form, request: PackageRequest) -> Form:
    """Returns the form in the format that is asked for; ONNX Runtime's own comes with the list of its operators."""
    if request.format == "onnx":
        return form
    models = {file: model for file, model in form.models.items() if isinstance(model, ir.Model)}
    made, operators = to_ort(models, "fixed" if request.needs.name == "cpu" else "runtime")
    listed = f"{request.name}.required_operators.config"
    about = rename_files(form.about, {file: file.removesuffix(".onnx") + ".ort" for file in models})
    return Form({**about, "operators": listed}, {**made, listed: operators.encode()})
