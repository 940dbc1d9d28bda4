"""Model -> bundle: capture, lowering, passes, manifest, golden cases and targets, in that order."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.contents import GoldenCase
from rr_export.bundle.manifest import TensorRow, write_manifest
from rr_export.capture.python.detect import streams_kept
from rr_export.capture.request import bind_request, flat_inputs, flat_outputs
from rr_export.capture.trace import capture
from rr_export.eager.run import forced, open_runs_at, seeded
from rr_export.errors import CaptureError
from rr_export.laws.plan import Plan
from rr_export.lowering import INTERFACES, RESERVED, lower
from rr_export.lowering.sink import sites_without_if
from rr_export.parity.recheck import recheck
from rr_export.passes import place_weights, simplify
from rr_export.targets import find_target, package

GOLDEN_SEEDS = (0, 1)
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
            the exported model too; everything else, such as dropout, stays in evaluation mode.

    Raises:
        PackageError: the model has no form for a target.
        CaptureError: the model cannot be captured faithfully.
        LoweringError: a value leaves a branch other than as its result.
        ValueError, TypeError: the arguments are wrong; raised before any work.
    """
    if interface not in INTERFACES:
        raise ValueError(f"interface: expected one of {', '.join(INTERFACES)}, got {interface!r}; choose one")
    targets = [find_target(name).name for name in ([target] if isinstance(target, str) else target)]
    if len(set(targets)) != len(targets):
        raise ValueError(f"target: expected every target once, got {', '.join(targets)}; name each once")
    if sizes and not targets:
        raise ValueError("sizes: expected a target beside them, got none; the routed model keeps its named axes")
    with streams_kept():
        bundle = _routed(model, args, dict(kwargs or {}), dynamic_shapes, opset, interface, keep_training_routes)
    for name in targets:
        bundle = package(bundle, name, sizes=sizes)
    return bundle


def _routed(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    dynamic_shapes: Any,
    opset: int,
    interface: str,
    keep_training_routes: bool,
) -> Bundle:
    """The bundle of the routed model, without targets."""
    captured = capture(
        model, args, kwargs, dynamic_shapes=dynamic_shapes, opset=opset, keep_training_routes=keep_training_routes
    )
    if not captured.plan.sites and captured.program is None:
        warnings.warn(
            f"export: expected a model with sites, got {type(model).__name__} without any; it is exported as it is, "
            "without inputs or outputs of rr_export",
            stacklevel=3,
        )
    lowered = lower(captured, interface=interface)
    gated = lowered.clone() if captured.has_gates else None
    idle = sites_without_if(lowered, captured.plan)
    simplify(lowered)
    place_weights(lowered)
    manifest = write_manifest(
        captured.plan,
        interface=interface,
        opset=opset,
        inputs=_rows(lowered.graph.inputs),
        outputs=_rows(lowered.graph.outputs),
        producer={name: version(name) for name in PRODUCERS},
        rtol=1e-4,
        atol=1e-5,
        idle=idle,
        axes=captured.axes,
        training_routes=captured.training_routes,
    )
    bundle = Bundle(lowered, manifest)
    if captured.program is not None:
        recheck(bundle, model, args, kwargs, gated)
    bundle.golden = _golden(model, args, kwargs, captured.plan)
    return bundle


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


def _golden(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], plan: Plan) -> list[GoldenCase]:
    """The eager model on its most probable path, and on the draws of a few seeds."""
    request = bind_request(model, args, kwargs, None)
    inputs = flat_inputs(request, args, kwargs)

    def case(seed: int | None, path: tuple[int, ...] | None, taken: tuple[int, ...]) -> GoldenCase:
        with torch.no_grad():
            outputs = flat_outputs(model(*args, **kwargs), inputs)
        return GoldenCase(seed, path, taken, inputs, outputs)

    if not plan.sites:
        return [case(None, None, ())]
    open_runs_at(model)
    path = plan.most_probable()
    with forced(model, path):
        cases = [case(None, path, path)]
    for seed in GOLDEN_SEEDS:
        with seeded(model, seed) as record:
            done = case(seed, None, ())
        cases.append(GoldenCase(seed, None, tuple(map(int, record.path)), done.inputs, done.outputs))
    return cases
