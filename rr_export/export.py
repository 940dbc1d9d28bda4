"""Model -> bundle: capture, lowering, passes, manifest, golden cases and targets, in that order."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import onnx_ir as ir
from torch import nn

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.manifest import TensorRow, write_manifest
from rr_export.capture.captured_model import Captured
from rr_export.capture.python.training_notice import training_routes_in
from rr_export.capture.refusals import model_runs
from rr_export.capture.request import bind
from rr_export.capture.trace import capture
from rr_export.eager.code_sites import many_runs
from rr_export.eager.kept_streams import streams_kept
from rr_export.errors import CaptureError
from rr_export.lowering import INTERFACES, RESERVED
from rr_export.lowering.lower import lower
from rr_export.lowering.sink import sites_without_if
from rr_export.parity.axis_bounds import bound_axes
from rr_export.parity.eager_model import Eager
from rr_export.parity.golden_cases import golden_cases_at, record_golden
from rr_export.parity.golden_inputs import GoldenAsked, check_golden_inputs, golden_of, golden_requests
from rr_export.parity.loading import check_loads
from rr_export.parity.recheck import recheck
from rr_export.parity.tolerances import tolerances_of
from rr_export.parity.training_mode import check_training_mode
from rr_export.passes.place_weights import place_weights
from rr_export.passes.simplify import simplify
from rr_export.targets.package import make_target
from rr_export.targets.provider_table import find_target
from rr_export.targets.sizes import check_sizes

PRODUCERS = ("rr-export", "torch", "onnx", "onnxscript", "onnx-ir")


def export(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    opset: int = 20,
    interface: str = "explicit",
    target: str | Sequence[str] = (),
    sizes: Mapping[str, int] | None = None,
    keep_training_routes: bool = False,
    require_sites: bool = False,
    golden: GoldenAsked = None,
) -> Bundle:
    """Returns the model as a bundle whose every routing decision is an explicit ``If``.

    Args:
        model: a model in evaluation mode on the CPU.
        args: example positional arguments of ``model.forward``.
        kwargs: example keyword arguments.
        dynamic_shapes: as for ``torch.export.export``; an axis may also be named by a string, such as
            ``{"x": {0: "batch"}}``. Axes not named are fixed.
        opset: 18 to 21.
        interface: "explicit" (inputs ``rr_seed``, ``rr_path``), "host" (``rr_draws``, ``rr_path``; no random
            node) or "standalone" (the model's own signature).
        target: execution providers for which the bundle holds a form of its own, beside the routed model: one or
            several of "cpu", "cuda", "xnnpack", "nnapi", "coreml", "qnn", "openvino", "webgpu" (see
            :func:`rr_export.package`, which adds more, and other precisions).
        sizes: sizes of named axes to fix in these forms; engines that want static shapes need all of them.
        keep_training_routes: modules that decide at random in training only (layer drop, stochastic depth) do so in
            the exported model too; everything else, such as dropout, stays in evaluation mode. Where they are left
            out, a warning names them.
        require_sites: a model that decides nothing is an error, not a warning.
        golden: which runs of the model the bundle carries, to be compared with on a device: how many, or inputs to
            record them on, each a tuple in place of ``args`` or a dictionary of arguments or inputs by name. None: on
            the example, the most probable path, the fewest further paths that take every branch, and two seeds.

    Raises:
        PackageError: the model has no form for a target.
        CaptureError: the model cannot be captured faithfully, or has no sites where they are required.
        LoweringError: a value leaves a branch other than as its result.
        ValueError, TypeError: the arguments are wrong; raised before any work.
    """
    targets = checked_targets(interface, target, sizes)
    request = bind(model, args, kwargs, dynamic_shapes)
    others, count = golden_requests(golden, request)
    with streams_kept():
        captured = capture(request, opset=opset, training=None if keep_training_routes else ())
        if not keep_training_routes:
            _warn_of_training_routes(training_routes_in(request))
        if not captured.plan.sites and captured.program is None:
            _tell_of_no_sites(model, required=require_sites)
        lowered = lower(captured, interface=interface)
        gated = lowered.clone() if captured.has_gates else None
        idle = sites_without_if(lowered, captured.plan)
        simplify(lowered)
        place_weights(lowered)
        check_loads(lowered)
        bundle = Bundle(lowered, _manifest(captured, lowered, interface, opset, idle))
        eager = Eager(request)
        with many_runs(model), model_runs():
            bundle.manifest["tolerances"] = tolerances_of(eager, captured.plan)
            if captured.program is not None:
                recheck(bundle, eager, gated)
            if keep_training_routes:
                routes, tolerances = captured.training, bundle.manifest["tolerances"]
                check_training_mode(eager, kept=routes.kept, left_out=routes.left_out, **tolerances)
            bound_axes(bundle, eager)
        recorded = golden_of(eager, others, count)
        check_golden_inputs(recorded, bundle.manifest)
        with many_runs(model), model_runs():
            record_golden(bundle, recorded, captured.program)
        if sizes:
            check_sizes(bundle.manifest, sizes)
            axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
            bundle.golden = [*bundle.golden, *golden_cases_at(recorded, bundle.plan, sizes, axes)]
    for name in targets:
        bundle = make_target(bundle, name, sizes=sizes)
    return bundle


def checked_targets(interface: str, target: str | Sequence[str], sizes: Mapping[str, int] | None) -> list[str]:
    """Returns the names of the targets that are asked for, after all options but the model's own were checked."""
    if interface not in INTERFACES:
        raise ValueError(f"interface: expected one of {', '.join(INTERFACES)}, got {interface!r}; choose one")
    targets = [find_target(name).name for name in ([target] if isinstance(target, str) else target)]
    if len(set(targets)) != len(targets):
        raise ValueError(f"target: expected every target once, got {', '.join(targets)}; name each once")
    if sizes and not targets:
        raise ValueError("sizes: expected a target beside them, got none; the routed model keeps its named axes")
    return targets


def _tell_of_no_sites(model: nn.Module, *, required: bool) -> None:
    text = f"export: expected a model with sites, got {type(model).__name__} without any"
    if required:
        raise CaptureError(f"{text}; route layers (route_layers, --route), or drop require_sites (--require-sites)")
    warnings.warn(f"{text}; it is exported as it is, without inputs or outputs of rr_export", stacklevel=3)


def _warn_of_training_routes(found: Sequence[str]) -> None:
    if found:
        warnings.warn(
            f"export: expected no routes of training alone, got some of {', '.join(found)}; they are not in the file: "
            "pass keep_training_routes=True (--keep-training-routes) to keep them",
            stacklevel=3,
        )


def _manifest(captured: Captured, model: ir.Model, interface: str, opset: int, idle: list[str]) -> dict[str, Any]:
    """Returns what the file says about itself."""
    return write_manifest(
        captured.plan,
        interface=interface,
        opset=opset,
        inputs=_rows(model.graph.inputs),
        outputs=_rows(model.graph.outputs),
        producer={name: version(name) for name in PRODUCERS},
        idle=idle,
        axes=captured.axes,
        training_routes=captured.training.kept,
    )


def _rows(values: Iterable[ir.Value]) -> list[TensorRow]:
    rows: list[TensorRow] = []
    for value in values:
        if value.name in RESERVED:
            continue
        assert value.name is not None and value.dtype is not None and value.shape is not None
        dtype = value.dtype.numpy()
        if dtype.kind not in "fiub" or dtype.name == "bfloat16":
            raise CaptureError(
                f"export: expected inputs and outputs of numpy's own number types, got {dtype.name} for "
                f"{value.name!r}; cast it inside the model"
            )
        rows.append((value.name, dtype.name, [d if isinstance(d, int) else str(d.value) for d in value.shape]))
    return rows
