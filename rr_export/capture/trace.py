"""Model + example inputs -> one flat graph with rr:: markers, and the log of every site's calls.

While a model is captured, a site runs all its branches once, one after the other, and joins their outputs with
an ``rr::Select`` marker whose first operand is an ``rr::Route`` marker. Everything that a branch computes is
tagged with the calls and branches it was captured in (the metadata ``rr.scope``), so that lowering can put
it back where it belongs.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import threading
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
import torch.fx.traceback
from torch import nn
from torch.utils import _pytree as pytree

from rr_export.capture.python.conclude import Program, asked_route, conclude, decided_calls
from rr_export.capture.python.interpreter import Interpreter
from rr_export.capture.python.own_code import OwnCode
from rr_export.capture.python.survey import replaying, survey
from rr_export.capture.recorder import SCOPE_KEY, Call, DenseRecorder
from rr_export.capture.request import Bounds, bind_request, dotted, name_graph, suggested_bounds
from rr_export.eager.run import Choice, recording_with, remember_code
from rr_export.errors import CaptureError
from rr_export.laws.plan import Plan
from rr_export.quiet_loggers import only_errors

logger = logging.getLogger(__name__)

# torch 2.13 warns at every export that torchvision, which nobody asked for, is not installed
_CHATTY = "torch.onnx._internal.exporter._registration"

_SCOPE_MARK = "@rr:"
OPSETS = range(18, 22)
_one_at_a_time = threading.RLock()  # torch.export keeps what it traces in globals of the process


@dataclass(frozen=True)
class Captured:
    """A captured model.

    Attributes:
        model: flat graph; markers ``rr::Route`` (attribute ``site``) and ``rr::Select`` (attribute ``call``);
            every node that was computed in a branch carries ``rr.scope``: ``call:branch/call:branch/...``.
        plan: the sites with their policies and the calls that this capture saw.
        calls: the call log.
        axes: least and largest size of the dynamic axes that the model bounds, by name.
        program: what the model's own code decides, if it does.
    """

    model: ir.Model
    plan: Plan
    calls: tuple[Call, ...]
    axes: Mapping[str, Bounds]
    program: Program | None = None

    @property
    def has_gates(self) -> bool:
        """Whether conditions on the input decide."""
        return self.program is not None and any(d.kind == "gate" for d in self.program.decisions)

    @property
    def training_routes(self) -> tuple[str, ...]:
        """The paths of the modules whose training routes are kept."""
        return () if self.program is None else self.program.training

    def names(self, call: int) -> tuple[str, ...]:
        """Returns what to call a call, and then its branches."""
        made = self.calls[call]
        if made.names:
            return made.names
        site = self.plan.sites[made.site]
        return site.name, *site.branches

    def firsts(self, call: int) -> tuple[int, ...]:
        """Returns the least route of every branch of a call that a site decides."""
        made = self.calls[call]
        return made.firsts or tuple(range(self.plan.sites[made.site].policy.branches))


def capture(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    opset: int = 20,
    keep_training_routes: bool = False,
) -> Captured:
    """Returns ``model`` as one flat graph in which every site, and every decision of its own code, is a marker.

    Raises:
        CaptureError: the model cannot be captured faithfully; the text names the site and the branch.
        ValueError, TypeError: the arguments are wrong.
    """
    kwargs = dict(kwargs or {})
    _check_request(model, args, kwargs, opset)
    with _one_at_a_time:
        return _capture(model, args, kwargs, dynamic_shapes, opset, keep_training_routes)


def _capture(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    dynamic_shapes: Any,
    opset: int,
    keep_training_routes: bool,
) -> Captured:
    surveyed = survey(model, args, kwargs, training=None if keep_training_routes else ())
    remember_code(model, None if surveyed is None else OwnCode(conclude(surveyed)))
    with warnings.catch_warnings(), only_errors(_CHATTY), torch.no_grad():
        # torch 2.13 warns from inside its own exporter about its own deprecations
        warnings.simplefilter("ignore")
        program, recorder, tracing = _export_within_bounds(model, args, kwargs, dynamic_shapes, surveyed)
        request = recorder.request
        signature = request.resolve(program, recorder.fixed_axes)
        _tag_scopes(program)
        graph = _to_onnx(program, opset)
    _read_scopes(graph.model)
    name_graph(graph.model, signature)
    _name_weights(graph.model, program, model)
    if tracing is None:
        return Captured(graph.model, recorder.plan(), tuple(recorder.calls), request.bounds())
    decided = conclude(tracing)
    _name_routes(graph.model, decided)
    return Captured(graph.model, decided.plan, tuple(decided_calls(tracing, decided)), request.bounds(), decided)


def _name_routes(model: ir.Model, program: Program) -> None:
    """The markers of conditions say which route of which site they ask, now that the routes are known."""
    for node in model.graph:
        if node.domain == "rr" and node.op_type == "AtLeast":
            site, middle = asked_route(program, node.attributes["decision"].as_int(), node.attributes["cut"].as_float())
            node.attributes["site"] = ir.AttrInt64("site", site)
            node.attributes["middle"] = ir.AttrInt64("middle", middle)


def trace_plan(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    training: Collection[str] | None = (),
) -> Plan:
    """Returns the plan of ``model`` with the calls that one trace with these arguments makes.

    Args:
        model: the model.
        args: its arguments.
        kwargs: its keyword arguments.
        training: paths of modules whose training routes are kept; None: all that have any.
    """
    kwargs = dict(kwargs or {})
    with _one_at_a_time:
        surveyed = survey(model, args, kwargs, training=training)
    if surveyed is not None:
        program = conclude(surveyed)
        remember_code(model, OwnCode(program))
        return program.plan
    remember_code(model, None)
    recorder = DenseRecorder(model, bind_request(model, args, kwargs, None), markers=False)
    with recording_with(recorder), torch.no_grad():
        model(*args, **kwargs)
    return recorder.plan()


def _check_request(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], opset: int) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"export: expected a torch.nn.Module, got {type(model).__name__}; wrap it in a module")
    if not isinstance(args, tuple):
        raise TypeError(f"export: expected args to be a tuple, got {type(args).__name__}; write (x,) for one input")
    if not isinstance(opset, int) or opset not in OPSETS:
        raise ValueError(
            f"export: expected an opset from {OPSETS[0]} to {OPSETS[-1]}, got {opset!r}; ONNX Runtime has no CPU "
            "kernels for random operators from 22 on"
        )
    training = [n or "the model itself" for n, m in model.named_modules() if m.training and not isinstance(m, Choice)]
    if training:
        raise CaptureError(
            f"export: expected a model in evaluation mode, got training mode in {training[0]!r}"
            f"{f' and {len(training) - 1} more' if len(training) > 1 else ''}; call model.eval()"
        )
    tensors = [*model.named_parameters(), *model.named_buffers()]
    tensors += [(dotted(p), t) for p, t in pytree.tree_leaves_with_path((args, kwargs)) if isinstance(t, torch.Tensor)]
    for name, tensor in tensors:
        if tensor.device.type != "cpu":
            raise CaptureError(
                f"export: expected everything on the CPU, got {name!r} on {tensor.device}; export model.cpu() with "
                "arguments that are on the CPU"
            )


def _export_within_bounds(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any, surveyed: Interpreter | None
) -> tuple[torch.export.ExportedProgram, DenseRecorder, Interpreter | None]:
    """Exports with axes free of bounds; then again within those that the model turns out to have, if any."""

    def export(bounds: Mapping[str, Bounds] | None) -> tuple[torch.export.ExportedProgram, DenseRecorder, Any]:
        recorder = DenseRecorder(model, bind_request(model, args, kwargs, dynamic_shapes, bounds), markers=True)
        tracing = None
        if surveyed is not None:
            tracing = Interpreter(model, recorder, surveyed.notes.again(), surveyed.training)
        return _export_program(model, args, kwargs, recorder, tracing), recorder, tracing

    request = bind_request(model, args, kwargs, dynamic_shapes)
    try:
        return export(None)
    except CaptureError as error:
        bounds = suggested_bounds(str(error.__cause__))
        if not bounds or not bounds.keys() <= request.dims.keys():
            raise
        logger.info("the model bounds its dynamic axes: %s", bounds)
        return export(bounds)


def _export_program(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    recorder: DenseRecorder,
    tracing: Interpreter | None,
) -> torch.export.ExportedProgram:
    watch = model.register_forward_pre_hook(recorder.watch_inputs, with_kwargs=True, prepend=True)
    code = contextlib.nullcontext() if tracing is None else replaying(tracing)
    try:
        with recording_with(recorder), torch.fx.traceback.preserve_node_meta(), code:
            program = torch.export.export(model, args, kwargs, dynamic_shapes=recorder.request.shapes, strict=False)
    except CaptureError:
        raise
    except Exception as error:
        own = _own_error(error)
        if own is not None:
            raise own from error
        fixed = "".join(
            f"{where} fixes axis {axis} of {name!r}; " for (name, axis), where in recorder.fixed_axes.items()
        )
        raise CaptureError(
            f"capture: expected a model that torch.export accepts, got {fixed}{type(error).__name__}: {error}; make "
            "it export densely first: torch.export.export(model, args, strict=False) without its sites"
        ) from error
    finally:
        watch.remove()
    recorder.check_aliases()
    return program


def _to_onnx(program: torch.export.ExportedProgram, opset: int) -> torch.onnx.ONNXProgram:
    try:
        graph = torch.onnx.export(program, dynamo=True, optimize=False, opset_version=opset, verbose=False)
    except Exception as error:
        raise CaptureError(
            f"capture: expected a model that torch.onnx.export can translate, got {type(error).__name__}: {error}; "
            "replace the operator it names"
        ) from error
    assert graph is not None
    return graph


def _own_error(error: BaseException | None) -> CaptureError | None:
    """The CaptureError among the causes of ``error``."""
    while error is not None and not isinstance(error, CaptureError):
        error = error.__cause__ or error.__context__
    return error


def _tag_scopes(program: torch.export.ExportedProgram) -> None:
    """Puts each node's scope where the ONNX exporter keeps it: as one more name of its module stack."""
    for node in program.graph.nodes:
        scope = (node.meta.get("custom") or {}).get(SCOPE_KEY)
        stack = node.meta.get("nn_module_stack")
        if scope and stack is not None:
            node.meta["nn_module_stack"] = {**stack, _SCOPE_MARK: (_SCOPE_MARK + scope, "rr.Branch")}


def _name_weights(graph: ir.Model, program: torch.export.ExportedProgram, model: nn.Module) -> None:
    """A weight registered under several names carries the first; torch.export takes another."""
    first = {t.data_ptr(): n for n, t in (*model.named_parameters(), *model.named_buffers()) if t.numel()}
    for name, tensor in program.state_dict.items():
        wanted = first.get(tensor.data_ptr(), name)
        if name in graph.graph.initializers and wanted not in graph.graph.initializers:
            graph.graph.initializers[name].name = wanted


def _read_scopes(model: ir.Model) -> None:
    """Turns the exporter's name scopes into ``rr.scope``; a node without any keeps no key at all."""
    for node in model.graph:
        names = node.metadata_props.get("pkg.torch.onnx.name_scopes")
        if names is not None:
            marks = [n for n in ast.literal_eval(names) if n.startswith(_SCOPE_MARK)]
            node.metadata_props[SCOPE_KEY] = marks[-1].removeprefix(_SCOPE_MARK) if marks else ""
