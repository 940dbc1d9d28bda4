"""File -> what the linter looks at: one graph without functions, with the shapes that can be inferred."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as ir_passes

from rr_export.bundle.file_names import MODEL
from rr_export.bundle.manifest import METADATA_KEY, read_plan
from rr_export.errors import LintError
from rr_export.laws.plan import Plan
from rr_export.lint.finding import RULES, Finding
from rr_export.lint.ort_format import ORT_SUFFIX, load_ort
from rr_runtime import BundleError as ManifestError
from rr_runtime.bundle import bundle_folder, check_known_hashes
from rr_runtime.manifest import Manifest
from rr_runtime.watched import Watched

ALIAS = "ai.onnx"
_MISSING = "is missing"
FUNCTION_KEY = "rr.function"  # on what was inlined: the function that held it


@dataclass
class Subject:
    """One file, read.

    Attributes:
        file: its name as it was given.
        path: where the model lies.
        model: the model, functions inlined.
        manifest: what it says about itself, or None.
        plan: the sites of the manifest, or None.
        remarks: what could not be looked at.
    """

    file: str
    path: Path
    model: ir.Model
    manifest: Mapping[str, Any] | None = None
    plan: Plan | None = None
    remarks: list[Finding] = field(default_factory=list)

    def finding(
        self, code: str, message: str, *, node: str = "", place: str = "main graph", severity: str | None = None
    ) -> Finding:
        """Returns a finding about this file, with effect and remedy of the rule."""
        rule = RULES[code]
        return Finding(code, severity or rule.severity, self.file, node, place, message, rule.effect, rule.remedy)


def read(path: str | os.PathLike[str]) -> Subject:
    """Returns the model in a ``.onnx`` or ``.ort`` file, or in a bundle folder; weights may be missing.

    Raises:
        LintError: there is none, or it is no ONNX model.
    """
    given = bundle_folder(path)
    source = given / MODEL if given.is_dir() else given
    if given.is_dir() and not source.exists():
        raise LintError(f"{given}: expected an ONNX model or a bundle, got a folder without {MODEL}; name a file in it")
    if not source.exists():
        raise LintError(f"{source}: expected an ONNX model, got nothing there; check the path")
    try:
        with _quiet("onnx_ir"):
            model = load_ort(source) if source.suffix == ORT_SUFFIX else ir.load(source)
    except LintError:
        raise
    except Exception as error:  # protobuf, onnx_ir and the file system each have their own
        reason = error.__cause__ or error
        told = f"{type(reason).__name__}: {reason}"
        raise LintError(f"{source}: expected an ONNX model, got a file that is none ({told}); name another") from error
    if not len(model.graph) and not model.graph.inputs and not model.graph.outputs:
        raise LintError(f"{source}: expected an ONNX model, got a file without a graph; name another")
    subject = Subject(str(path), source, model)
    _prepare(subject)
    _read_manifest(subject)
    _remark_missing_data(subject)
    _compare_hashes(subject)
    return subject


def _prepare(subject: Subject) -> None:
    """Functions are inlined, nodes are in execution order, values have the types and shapes that can be inferred."""
    for function in subject.model.functions.values():
        for node in function.all_nodes():
            node.metadata_props[FUNCTION_KEY] = f"{function.domain}::{function.name}"
    _use_default_domain(subject.model)
    for step in (ir_passes.InlinePass(), _Sort(), ir_passes.ShapeInferencePass(strict_mode=False, data_prop=False)):
        try:
            with _quiet("onnx_ir"):
                step(subject.model)
        except Exception as error:  # onnx's checks have no common base; what fails is looked at as it is
            name = type(step).__name__.strip("_")
            subject.remarks.append(subject.finding("RR001", f"{name} failed with {type(error).__name__}"))


def _use_default_domain(model: ir.Model) -> None:
    """``ai.onnx`` is another name of the default domain, the empty one."""
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        if ALIAS in imports:
            imports.setdefault("", imports[ALIAS])
    for graph in (*model.graphs(), *model.functions.values()):
        for node in graph:
            if node.domain == ALIAS:
                node.domain = ""


class _Sort(ir.passes.InPlacePass):
    """Some converters append nodes at the end, which onnxruntime puts in order when it loads them."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        for graph in model.graphs():
            graph.sort()
        return ir.passes.PassResult(model, modified=True)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keeps a library's messages from being shown: what matters of them is reported as a finding."""
    logger, handler = logging.getLogger(name), logging.NullHandler()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _read_manifest(subject: Subject) -> None:
    text = subject.model.metadata_props.get(METADATA_KEY)
    if text is None:
        return
    try:
        Manifest.parse(text, where=subject.file)
        subject.manifest = json.loads(text)
        subject.plan = read_plan(json.loads(text))
    except (ManifestError, ValueError) as error:
        subject.manifest = None
        subject.remarks.append(subject.finding("RR303", f"expected a manifest that can be read, got {error}"))


def _compare_hashes(subject: Subject) -> None:
    if any(remark.message.endswith(_MISSING) for remark in subject.remarks):
        return  # a model without its weights can be looked at all the same
    try:
        check_known_hashes(subject.path, Watched())
    except ManifestError as error:
        subject.remarks.append(subject.finding("RR303", str(error)))


def _remark_missing_data(subject: Subject) -> None:
    tensors = [v.const_value for graph in subject.model.graphs() for v in graph.initializers.values()]
    missing: dict[str, str] = {}
    for tensor in tensors:
        if isinstance(tensor, ir.ExternalTensor):
            file, end = Path(tensor.path), (tensor.offset or 0) + tensor.nbytes
            if not file.exists():
                missing[str(tensor.location)] = _MISSING
            elif file.stat().st_size < end:
                missing.setdefault(str(tensor.location), "is cut short")
    for location, what in sorted(missing.items()):
        subject.remarks.append(subject.finding("RR001", f"external data {location!r} {what}"))
