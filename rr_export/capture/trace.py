"""Request -> one flat graph with rr:: markers, and the log of every site's calls.

While a model is captured, a site runs all its branches once, one after the other, and joins their outputs with
an ``rr::Select`` marker whose first operand is an ``rr::Route`` marker. Everything that a branch computes is
tagged with the calls and branches it was captured in (the metadata ``rr.scope``), so that lowering can put
it back where it belongs.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import warnings
from collections.abc import Collection, Iterator

import onnx_ir as ir
import torch
import torch.fx.traceback

from rr_export.capture.captured_model import Captured
from rr_export.capture.dynamic_axes import suggested_bounds
from rr_export.capture.inference_mode import left_inference_mode
from rr_export.capture.kept_tables import tables_kept
from rr_export.capture.naming import name_graph, name_weights, signature_of
from rr_export.capture.origins import note_origins
from rr_export.capture.python.conclude import Program, asked_route, conclude, decided_calls
from rr_export.capture.python.interpreter import Interpreter
from rr_export.capture.python.notes import CONDITION, NUMBER, Question
from rr_export.capture.python.own_code import OwnCode
from rr_export.capture.python.survey import replaying, survey
from rr_export.capture.recast.empty_sizes import at_least_one
from rr_export.capture.recast.recurrent_nodes import expand_recurrent
from rr_export.capture.recast.substitutes import substituted
from rr_export.capture.recorder import DenseRecorder
from rr_export.capture.refusals import in_our_words, without_printed_graphs
from rr_export.capture.request import Request
from rr_export.capture.scopes import read_scopes, tag_scopes
from rr_export.capture.size_guards import Asked, noting_guards
from rr_export.capture.translations import TRANSLATIONS
from rr_export.capture.uncompiled import refuse_scripted, uncompiled
from rr_export.capture.user_lines import interpreted_lines
from rr_export.capture.versions import warn_of_untested_torch
from rr_export.eager.choice import Choice
from rr_export.eager.code_sites import Code, code_of, remember_code
from rr_export.eager.tracers import recording_with
from rr_export.errors import CaptureError
from rr_export.laws.plan import Plan, Site
from rr_export.quiet_loggers import only_errors

logger = logging.getLogger(__name__)

# torch 2.13 warns at every export that torchvision, which nobody asked for, is not installed
_CHATTY = "torch.onnx._internal.exporter._registration"
# and tells what it could not capture, which the error says
_CHATTY_TOO = "torch.fx.experimental.symbolic_shapes"

OPSETS = range(18, 22)
_one_at_a_time = threading.RLock()  # torch.export keeps what it traces in globals of the process


def capture(request: Request, *, opset: int = 20, training: Collection[str] | None = ()) -> Captured:
    """Returns the model as one flat graph in which every site, and every decision of its own code, is a marker.

    Args:
        request: the model and its arguments.
        opset: of the graph.
        training: paths of modules whose training routes are kept; None: all that have any.

    Raises:
        CaptureError: the model cannot be captured faithfully; the text names the site and the branch.
        ValueError: the opset is not one of ``OPSETS``.
    """
    _check(request, opset)
    _check_real(request)
    _check_large_enough(request)
    warn_of_untested_torch()
    with _one_at_a_time, left_inference_mode(request.model):
        program, recorder, tracing = _trace(request, training)
        with _exporting():
            signature = signature_of(recorder.request, program, recorder.fixed_axes)
            tag_scopes(program)
            graph = _to_onnx(program, opset).model
        read_scopes(graph)
        note_origins(graph)
        name_graph(graph, signature)
        name_weights(graph, program, request.model)
        axes = at_least_one(recorder.request.bounds, expand_recurrent(graph))
        if tracing is None:
            return Captured(graph, recorder.plan(), tuple(recorder.calls), axes)
        decided = conclude(tracing)
        _check_decisions(code_of(request.model), decided.plan)
        _name_routes(graph, decided)
        return Captured(graph, decided.plan, tuple(decided_calls(tracing, decided)), axes, decided)


def trace_plan(request: Request, *, training: Collection[str] | None = ()) -> Plan:
    """Returns the plan of the model with the calls that one trace with these arguments makes.

    Args:
        request: the model and its arguments.
        training: paths of modules whose training routes are kept; None: all that have any.
    """
    warn_of_untested_torch()
    with _one_at_a_time, left_inference_mode(request.model):
        surveyed = _survey(request, training, ())
        if surveyed is not None and surveyed.notes.decides(CONDITION, NUMBER):
            _trace(request, training)
    code = code_of(request.model)
    if code is not None:
        return code.plan
    recorder = DenseRecorder(request, markers=False)
    with in_our_words(), recording_with(recorder), torch.no_grad():
        request.call()
    return recorder.plan()


def _trace(
    request: Request, training: Collection[str] | None
) -> tuple[torch.export.ExportedProgram, DenseRecorder, Interpreter | None]:
    """Surveys and exports; again where the graph shows that a number is not the same in every run, as it seemed."""
    varying: frozenset[Question] = frozenset()
    while True:
        surveyed = _survey(request, training, varying)
        mistaken: Collection[Question] = () if surveyed is None else surveyed.notes.mistaken
        try:
            with _exporting():
                traced = _export_within_bounds(request, surveyed)
        except CaptureError:
            if not mistaken:
                raise
        else:
            if not mistaken:
                return traced
        logger.info("these questions are answered by the input, or by sizes: %s", sorted(mistaken))
        varying |= frozenset(mistaken)


@contextlib.contextmanager
def _exporting() -> Iterator[None]:
    """Around torch's exporter, which warns of its own deprecations (2.13)."""
    with warnings.catch_warnings(), only_errors(_CHATTY), tables_kept(), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def _survey(request: Request, training: Collection[str] | None, varying: Collection[Question]) -> Interpreter | None:
    """The run over all ways on real numbers, if the model's own code decides; runs of the model know of it now."""
    surveyed = survey(request, training=training, varying=varying)
    remember_code(request.model, None if surveyed is None else OwnCode(conclude(surveyed)))
    return surveyed


def _check_decisions(code: Code | None, traced: Plan) -> None:
    """Raises unless the graph has the decisions that runs of the model know of."""
    assert code is not None
    for known, site in itertools.zip_longest(code.plan.sites, traced.sites):
        if known is None or site is None or _shown(known) != _shown(site):
            name = (known or site).name
            raise CaptureError(
                f"{name}: expected the same decisions when torch.export runs the code as when it runs by itself, got "
                f"{'none' if site is None else _shown(site)} instead of {'none' if known is None else _shown(known)}; "
                "remove what makes the code decide in another way while it is exported, such as "
                "torch.compiler.is_compiling()"
            )


def _shown(site: Site) -> str:
    """What makes a site one that runs can follow: its name, its branches with their law, and where it is called."""
    return f"{site.name!r} of {', '.join(site.branches)} ({site.policy.table.tolist()}, called at {site.calls})"


def _name_routes(model: ir.Model, program: Program) -> None:
    """The markers of conditions say which route of which site they ask, now that the routes are known."""
    for node in model.graph:
        if node.domain == "rr" and node.op_type == "AtLeast":
            site, middle = asked_route(program, node.attributes["decision"].as_int(), node.attributes["cut"].as_float())
            node.attributes["site"] = ir.AttrInt64("site", site)
            node.attributes["middle"] = ir.AttrInt64("middle", middle)


def check_opset(opset: int) -> None:
    """Raises a ValueError where no file can be of that opset."""
    if not isinstance(opset, int) or opset not in OPSETS:
        raise ValueError(
            f"export: expected an opset from {OPSETS[0]} to {OPSETS[-1]}, got {opset!r}; ONNX Runtime has no CPU "
            "kernels for random operators from 22 on"
        )


def _check(request: Request, opset: int) -> None:
    model = request.model
    refuse_scripted(model)
    check_opset(opset)
    training = [n or "the model itself" for n, m in model.named_modules() if m.training and not isinstance(m, Choice)]
    if training:
        raise CaptureError(
            f"export: expected a model in evaluation mode, got training mode in {training[0]!r}"
            f"{f' and {len(training) - 1} more' if len(training) > 1 else ''}; call model.eval()"
        )
    tensors = [*model.named_parameters(), *model.named_buffers()]
    tensors += request.tensors(request.args, request.kwargs)
    for name, tensor in tensors:
        if tensor.device.type != "cpu":
            raise CaptureError(
                f"export: expected everything on the CPU, got {name!r} on {tensor.device}; export model.cpu() with "
                "arguments that are on the CPU"
            )


def _check_real(request: Request) -> None:
    for name, tensor in request.tensors(request.args, request.kwargs):
        if tensor.is_complex():
            raise CaptureError(
                f"input {name!r}: expected real numbers, got {tensor.dtype}, which ONNX Runtime does not have; give "
                "the model torch.view_as_real(...) of it, and begin its forward with torch.view_as_complex"
            )


def _check_large_enough(request: Request) -> None:
    for name, tensor in request.tensors(request.args, request.kwargs):
        small = next((i for i, size in enumerate(tensor.shape) if size < 2 and (name, i) in request.axes), None)
        if small is not None:
            raise CaptureError(
                f"input {name!r}: expected an example of size 2 or more at axis {small}, which is to stay dynamic, got "
                f"{tensor.shape[small]}, a size that torch.export fixes; give a larger example"
            )


def _export_within_bounds(
    request: Request, surveyed: Interpreter | None
) -> tuple[torch.export.ExportedProgram, DenseRecorder, Interpreter | None]:
    """Exports with axes free of bounds; then again within those that the model turns out to have, if any."""
    try:
        return _export(request, surveyed)
    except CaptureError as error:
        bounds = suggested_bounds(str(error.__cause__))
        if not bounds or not bounds.keys() <= request.dims.keys():
            raise
        logger.info("the model bounds its dynamic axes: %s", bounds)
        return _export(request.within(bounds), surveyed)


def _export(
    request: Request, surveyed: Interpreter | None
) -> tuple[torch.export.ExportedProgram, DenseRecorder, Interpreter | None]:
    recorder, tracing = DenseRecorder(request, markers=True), None
    if surveyed is not None:
        tracing = Interpreter(request.model, recorder, surveyed.notes.again(), surveyed.training)
    return _export_program(recorder, tracing), recorder, tracing


def _export_program(recorder: DenseRecorder, tracing: Interpreter | None) -> torch.export.ExportedProgram:
    request = recorder.request
    watch = request.model.register_forward_pre_hook(recorder.watch_inputs, with_kwargs=True, prepend=True)
    code = contextlib.nullcontext() if tracing is None else replaying(tracing)
    asked: Asked = []
    try:
        with (
            in_our_words(recorder.fixed_axes, asked=asked),
            noting_guards(asked),
            interpreted_lines(),
            without_printed_graphs(),
            only_errors(_CHATTY_TOO),
            uncompiled(),
            substituted(),
            recording_with(recorder),
            torch.fx.traceback.preserve_node_meta(),
            code,
        ):
            program = torch.export.export(
                request.model, request.args, request.kwargs, dynamic_shapes=request.shapes, strict=False
            )
    finally:
        watch.remove()
    recorder.check_aliases()
    return program


def _to_onnx(program: torch.export.ExportedProgram, opset: int) -> torch.onnx.ONNXProgram:
    with in_our_words(program=program):
        graph = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,
            opset_version=opset,
            verbose=False,
            custom_translation_table=TRANSLATIONS,
        )
    assert graph is not None
    return graph
