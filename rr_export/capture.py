"""Model + example inputs -> one flat graph with rr:: markers, and the log of every site's calls.

While a model is captured, a site runs all its branches once, one after the other, and joins their outputs with
an ``rr::Select`` marker whose first operand is an ``rr::Route`` marker. Everything that a branch computes is
tagged with the calls and branches it was captured in (the metadata ``rr.scope``), so that lowering can put
it back where it belongs.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir
import torch
import torch.fx.traceback
from torch import nn
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils import _pytree as pytree

from rr_export.errors import CaptureError
from rr_export.plan import Plan
from rr_export.quiet import only_errors
from rr_export.run import Choice, identity, plan_with_calls, recording_with, sites_of
from rr_export.signature import Bounds, Request, bind_request, dotted, name_graph, suggested_bounds

logger = logging.getLogger(__name__)

# torch 2.13 warns at every export that torchvision, which nobody asked for, is not installed
_CHATTY = "torch.onnx._internal.exporter._registration"

SCOPE_KEY = "rr.scope"
_SCOPE_MARK = "@rr:"
OPSETS = range(18, 22)


@dataclass(frozen=True)
class Call:
    """One call of a site during capture.

    Attributes:
        site: index of the site.
        enclosing: (call, branch) pairs around it, outermost first.
    """

    site: int
    enclosing: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Captured:
    """A captured model.

    Attributes:
        model: flat graph; markers ``rr::Route`` (attribute ``site``) and ``rr::Select`` (attribute ``call``);
            every node that was computed in a branch carries ``rr.scope``: ``call:branch/call:branch/...``.
        plan: the sites with their policies and the calls that this capture saw.
        calls: the call log.
        axes: least and largest size of the dynamic axes that the model bounds, by name.
    """

    model: ir.Model
    plan: Plan
    calls: tuple[Call, ...]
    axes: Mapping[str, Bounds]


def capture(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    opset: int = 20,
) -> Captured:
    """Returns ``model`` as one flat graph in which every site is a marker.

    Raises:
        CaptureError: the model cannot be captured faithfully; the text names the site and the branch.
        ValueError, TypeError: the arguments are wrong.
    """
    kwargs = dict(kwargs or {})
    _check_request(model, args, kwargs, opset)
    with warnings.catch_warnings(), only_errors(_CHATTY), torch.no_grad():
        # torch 2.13 warns from inside its own exporter about its own deprecations
        warnings.simplefilter("ignore")
        program, recorder = _export_within_bounds(model, args, kwargs, dynamic_shapes)
        request = recorder.request
        signature = request.resolve(program, recorder.fixed_axes)
        _tag_scopes(program)
        graph = _to_onnx(program, opset)
    _read_scopes(graph.model)
    name_graph(graph.model, signature)
    _name_weights(graph.model, program, model)
    return Captured(graph.model, recorder.plan(), tuple(recorder.calls), request.bounds())


def trace_plan(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> Plan:
    """Returns the plan of ``model`` with the calls that one trace with these arguments makes."""
    recorder = _DenseRecorder(model, bind_request(model, args, dict(kwargs or {}), None), markers=False)
    with recording_with(recorder), torch.no_grad():
        model(*args, **dict(kwargs or {}))
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
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any
) -> tuple[torch.export.ExportedProgram, _DenseRecorder]:
    """Exports with axes free of bounds; then again within those that the model turns out to have, if any."""
    request = bind_request(model, args, kwargs, dynamic_shapes)
    recorder = _DenseRecorder(model, request, markers=True)
    try:
        return _export_program(model, args, kwargs, recorder), recorder
    except CaptureError as error:
        bounds = suggested_bounds(str(error.__cause__))
        if not bounds or not bounds.keys() <= request.dims.keys():
            raise
        logger.info("the model bounds its dynamic axes: %s", bounds)
        recorder = _DenseRecorder(model, bind_request(model, args, kwargs, dynamic_shapes, bounds), markers=True)
        return _export_program(model, args, kwargs, recorder), recorder


def _export_program(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    recorder: _DenseRecorder,
) -> torch.export.ExportedProgram:
    watch = model.register_forward_pre_hook(recorder.watch_inputs, with_kwargs=True, prepend=True)
    try:
        with recording_with(recorder), torch.fx.traceback.preserve_node_meta():
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


@dataclass
class _DenseRecorder:
    """Runs every branch of every called site, and watches what the branches do."""

    root: nn.Module
    request: Request
    markers: bool
    calls: list[Call] = field(default_factory=list)
    fixed_axes: dict[tuple[str, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sites = sites_of(self.root)
        self.names = list(self.sites)
        self.index = {identity(site): i for i, site in enumerate(self.sites.values())}
        self.stack: list[tuple[int, int]] = []
        self.inputs: list[tuple[str, torch.Tensor]] = []
        self.aliases: list[tuple[str, torch.Tensor, int]] = []

    def plan(self) -> Plan:
        """The plan of the sites with the calls seen."""
        calls: list[list[tuple[tuple[int, int], ...]]] = [[] for _ in self.sites]
        for call in self.calls:
            enclosing = tuple((self.calls[c].site, k) for c, k in call.enclosing)
            if enclosing not in calls[call.site]:
                calls[call.site].append(enclosing)
        return plan_with_calls(self.sites, calls)

    def watch_inputs(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Forward pre-hook of the root: remembers the inputs whose axes are to stay dynamic."""
        self.inputs = [
            (self.request.input_name(path), leaf)
            for path, leaf in pytree.tree_leaves_with_path((args, kwargs))
            if isinstance(leaf, torch.Tensor)
        ]

    def call_site(self, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the joined outputs of all branches, and logs the call."""
        index = self.index.get(identity(site))
        if index is None:
            raise CaptureError(
                f"{type(site).__name__}: expected a site inside the exported module, got one that is not registered "
                "there; make it an attribute of a module, or put it into an nn.ModuleList"
            )
        number = len(self.calls)
        self.calls.append(Call(index, tuple(self.stack)))
        self.check_aliases()
        # from the last to the first: a skip (branch 0) hands on what the layer (branch 1) was seen to return
        order = reversed(range(site.policy.branches))
        outputs = [self._run_branch(site, index, number, k, args, kwargs) for k in order][::-1]
        leaves = [pytree.tree_leaves_with_path(output) for output in outputs]
        self._check_agreement(site, index, outputs, leaves)
        if not self.markers:
            return outputs[0]
        tensors = [i for i, (_, leaf) in enumerate(leaves[0]) if isinstance(leaf, torch.Tensor)]
        first = [leaves[0][i][1] for i in tensors]
        if not first:
            return outputs[0]
        route = torch.onnx.ops.symbolic("rr::Route", (), attrs={"site": index}, dtype=torch.int64, shape=(), version=1)
        joined = torch.onnx.ops.symbolic_multi_out(
            "rr::Select",
            (route, *(branch[i][1] for branch in leaves for i in tensors)),
            attrs={"call": number},
            dtypes=[t.dtype for t in first],
            shapes=[t.shape for t in first],
            version=1,
        )
        for branch in leaves:
            self._watch_aliases(index, args, kwargs, [branch[i][1] for i in tensors], joined)
        flat = [leaf for _, leaf in leaves[0]]
        for i, value in zip(tensors, joined, strict=True):
            flat[i] = value
        return pytree.tree_unflatten(flat, pytree.tree_structure(outputs[0]))

    def _run_branch(
        self, site: Choice, index: int, number: int, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        watched = [(dotted(p), t) for p, t in pytree.tree_leaves_with_path((args, kwargs)) if torch.is_tensor(t)]
        watched = [(f"its input {name!r}", t) for name, t in watched]
        watched += [(f"parameter {name!r}", t) for name, t in self.root.named_parameters()]
        watched += [(f"buffer {name!r}", t) for name, t in self.root.named_buffers()]
        before = [t._version for _, t in watched]
        with self._inside(number, k):
            output = site.branch(k, *args, **kwargs)
        where = f"site {self.names[index]!r}, branch {site.branch_names[k]!r}"
        for (name, tensor), version in zip(watched, before, strict=True):
            if tensor._version != version:
                raise CaptureError(
                    f"{where}: expected a branch that changes nothing, got one that changes {name} in place; "
                    "use the operation that returns a new tensor"
                )
        for name, tensor in self.inputs:
            for axis, size in enumerate(tensor.shape):
                if isinstance(size, torch.SymInt) and size.node.maybe_as_int() is not None:
                    self.fixed_axes.setdefault((name, axis), where)
        return output

    @contextmanager
    def _inside(self, call: int, branch: int) -> Iterator[None]:
        self.stack.append((call, branch))
        tag = "/".join(f"{c}:{k}" for c, k in self.stack)
        try:
            with torch.fx.traceback.annotate({SCOPE_KEY: tag}):
                yield
        finally:
            self.stack.pop()

    def _check_agreement(
        self,
        site: Choice,
        index: int,
        outputs: Sequence[Any],
        leaves: Sequence[Sequence[tuple[Any, Any]]],
    ) -> None:
        """Raises unless all branches return the same structure, dtypes and shapes."""
        first = site.branch_names[0]
        for k in range(1, len(outputs)):
            where = f"site {self.names[index]!r}, branches {first!r} and {site.branch_names[k]!r}"
            specs = [pytree.tree_structure(outputs[j]) for j in (0, k)]
            if specs[0] != specs[1]:
                raise CaptureError(
                    f"{where}: expected outputs of one structure, got {_shown(outputs[0])} and {_shown(outputs[k])}; "
                    "make the branches return the same nesting"
                )
            for (path, a), (_, b) in zip(leaves[0], leaves[k], strict=True):
                at = f"{where}, output {dotted(path)!r}" if path else where
                if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
                    same = type(a) is type(b) and not isinstance(a, torch.Tensor) and statically_known_true(a == b)
                    if not same:
                        raise CaptureError(
                            f"{at}: expected tensors, or equal constants, got {_shown(a)} and {_shown(b)}; "
                            "return tensors"
                        )
                    continue
                if a.dtype != b.dtype:
                    raise CaptureError(f"{at}: expected one dtype, got {a.dtype} and {b.dtype}; cast one of them")
                if a.dim() != b.dim() or not all(
                    statically_known_true(m == n) for m, n in zip(a.shape, b.shape, strict=True)
                ):
                    raise CaptureError(
                        f"{at}: expected one shape, got {list(a.shape)} and {list(b.shape)}; make the branches "
                        "return the same shape for every size of the dynamic axes"
                    )

    def _watch_aliases(
        self,
        index: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        operands: Sequence[torch.Tensor],
        joined: Sequence[torch.Tensor],
    ) -> None:
        """Remembers values that a branch hands on: eagerly the result is that memory, so neither may change later.

        These are the site's inputs and the model's own tensors, views of them, and what a branch returns twice.
        """
        given = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        shared = {_memory(t) for t in (*given, *self.root.parameters(), *self.root.buffers())}
        own = [_memory(operand) for operand in operands]
        for operand, memory, result in zip(operands, own, joined, strict=True):
            if memory in shared or own.count(memory) > 1:
                self.aliases += [(self.names[index], t, t._version) for t in (operand, result)]

    def check_aliases(self) -> None:
        """Raises if a value that a site handed on was changed in place afterwards."""
        for name, tensor, version in self.aliases:
            if tensor._version != version:
                raise CaptureError(
                    f"site {name!r}: expected its result to stay as it is, got an in-place change after the "
                    "site, which eagerly also changes what a branch handed on; use the operation "
                    "that returns a new tensor"
                )


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"a dict with {sorted(map(str, value))}"
    return f"{type(value).__name__} {value!r}"
