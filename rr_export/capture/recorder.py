"""Runs every branch of every site that a model calls while it is captured, and joins what they return.

All branches are computed once, one after the other; an ``rr::Select`` marker joins their outputs. What a branch
computes is tagged with the calls and branches it was computed in.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx.traceback
from torch import nn
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.utils import _pytree as pytree

from rr_export.capture.origins import SCOPE_KEY
from rr_export.capture.python import diagram as dd
from rr_export.capture.python.shapes import is_apart
from rr_export.capture.python.values import is_symbolic, tracer, varies
from rr_export.capture.request import Request, dotted
from rr_export.eager.choice import Choice, identity, sites_of
from rr_export.eager.gate import gate_limits, gate_logits, gate_probabilities
from rr_export.eager.module_tree import plan_with_calls
from rr_export.eager.skip_results import same_shape
from rr_export.errors import CaptureError, RunError
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Gated


@dataclass(frozen=True)
class Call:
    """One call of a site during capture, or one decision of the model's own code.

    Attributes:
        site: index of the site whose route decides; -1: a condition that the graph computes.
        enclosing: (call, branch) pairs around it, outermost first.
        firsts: the least route of every branch, ascending; (): branch k is route k.
        names: what to call it, and then its branches; (): as the site and its branches are called.
        which: from the decisions of the model's own code to the position of the branch; None: it decides nothing.
    """

    site: int
    enclosing: tuple[tuple[int, int], ...]
    firsts: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    which: dd.Diagram | None = None


@dataclass
class DenseRecorder:
    """Runs every branch of every called site, and watches what the branches do.

    Attributes:
        request: the model and its arguments.
        markers: whether a graph is made.
        calls: of sites, and decisions of the model's own code.
        fixed_axes: which axes that are to stay dynamic were fixed, and where.
        around: what a branch of a call runs in.
        apart: from the number of a call and tensors of different shapes, one for each branch, to the value that stands
            for them; None: they are refused.
    """

    request: Request
    markers: bool
    calls: list[Call] = field(default_factory=list)
    fixed_axes: dict[tuple[str, int], str] = field(default_factory=dict)
    around: Callable[[int, int], AbstractContextManager[None]] = lambda call, branch: nullcontext()
    apart: Callable[[int, Sequence[Any]], Any] | None = None

    def __post_init__(self) -> None:
        self.root = self.request.model
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
        self.inputs = self.request.tensors(args, kwargs)

    def call_site(self, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the joined outputs of all branches, and logs the call."""
        index = self.index.get(identity(site))
        if index is None:
            raise CaptureError(
                f"{type(site).__name__}: expected a site inside the exported module, got one that is not registered "
                "there; make it an attribute of a module, or put it into an nn.ModuleList"
            )
        if varies((args, kwargs)):  # by code that is not interpreted
            return tracer().lift(site, args, kwargs)
        decided = self._gate(site, index, args, kwargs) if isinstance(site.law, Gated) else None
        number = self.open_call(index)
        # from the last to the first: a skip (branch 0) hands on what the layer (branch 1) was seen to return
        order = reversed(range(len(site.branch_names)))
        outputs = [self._run_branch(site, index, number, k, args, kwargs) for k in order][::-1]
        leaves = [pytree.tree_leaves_with_path(output) for output in outputs]
        self._check_agreement(site, index, outputs, leaves)
        flat = [leaf for _, leaf in leaves[0]]
        columns = [[branch[i][1] for branch in leaves] for i in range(len(flat))]
        joined = [i for i, column in enumerate(columns) if _are_alike(column)]
        if joined:
            operands = [[branch[i][1] for i in joined] for branch in leaves]
            given = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
            results = self.select(number, decided, operands, self.names[index], given)
            for i, value in zip(joined, results, strict=True):
                flat[i] = value
        for i, column in enumerate(columns):
            if _is_tensor(column[0]) and i not in joined:
                assert self.apart is not None
                flat[i] = self.apart(number, column)
        return pytree.tree_unflatten(flat, pytree.tree_structure(outputs[0]))

    def _gate(self, site: Choice, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        """The route of a site whose gate decides: a marker that holds the limits of the routes."""
        where = f"site {self.names[index]!r}"
        if any(call.site == index for call in self.calls):
            raise CaptureError(
                f"{where}: expected one call of a site with a gate, got a second one, for which the gate could decide "
                "otherwise; make a site for each call"
            )
        assert isinstance(site.law, Gated)
        try:
            logits = gate_logits(site, site.law, where, args, kwargs)
        except RunError as error:
            raise CaptureError(str(error)) from error
        limits = gate_limits(logits, site.law.decision)
        reported = [gate_probabilities(logits)] if getattr(site.law, "report", False) else []
        if not self.markers:
            return limits
        attributes: dict[str, Any] = {"site": index}
        return torch.onnx.ops.symbolic(
            "rr::Route", (limits, *reported), attrs=attributes, dtype=torch.int64, shape=(), version=1
        )

    def open_call(self, site: int) -> int:
        """Returns the number of a new call, written down where it is made."""
        self.calls.append(Call(site, tuple(self.stack)))
        self.check_aliases()
        return len(self.calls) - 1

    def select(
        self,
        number: int,
        decided: torch.Tensor | None,
        operands: Sequence[Sequence[torch.Tensor]],
        name: str,
        given: Sequence[torch.Tensor],
    ) -> Sequence[torch.Tensor]:
        """Returns, for each result, the marker's value that is one of the operands of all branches.

        Args:
            number: of the call.
            decided: bool [], which of two branches is taken, or the route of a gated site; None: the route of a site.
            operands: for every branch its tensors.
            name: of the site, for messages.
            given: tensors that were there before the branches.
        """
        if not self.markers:
            return [t.clone() for t in operands[0]]
        for tensor in (t for t in operands[0] if t.is_complex()):
            raise CaptureError(
                f"{name!r}: expected real results of every branch, got {tensor.dtype}, which no If of ONNX hands on; "
                "return torch.view_as_real(result), and put torch.view_as_complex behind the branches"
            )
        if decided is None:
            attributes: dict[str, Any] = {"site": self.calls[number].site}
            decided = torch.onnx.ops.symbolic("rr::Route", (), attrs=attributes, dtype=torch.int64, shape=(), version=1)
        joined = torch.onnx.ops.symbolic_multi_out(
            "rr::Select",
            (decided, *(tensor for branch in operands for tensor in branch)),
            attrs={"call": number},
            dtypes=[t.dtype for t in operands[0]],
            shapes=[t.shape for t in operands[0]],
            version=1,
        )
        for branch in operands:
            self._watch_aliases(name, given, branch, joined)
        return joined

    def _run_branch(
        self, site: Choice, index: int, number: int, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        watched = [(dotted(p), t) for p, t in pytree.tree_leaves_with_path((args, kwargs)) if torch.is_tensor(t)]
        watched = [(f"its input {name!r}", t) for name, t in watched]
        watched += [(f"parameter {name!r}", t) for name, t in self.root.named_parameters()]
        watched += [(f"buffer {name!r}", t) for name, t in self.root.named_buffers()]
        before = [t._version for _, t in watched]
        where = f"site {self.names[index]!r}, branch {site.branch_names[k]!r}"
        with self.inside(number, k):
            try:
                output = site.branch(k, *args, **kwargs)
            except RunError as error:
                raise CaptureError(f"{where}: {error}") from error
        for (name, tensor), version in zip(watched, before, strict=True):
            if tensor._version != version:
                raise CaptureError(
                    f"{where}: expected a branch that changes nothing, got one that changes {name} in place; "
                    "use the operation that returns a new tensor"
                )
        self.note_fixed_axes(where)
        return output

    def note_fixed_axes(self, where: str) -> None:
        """Writes down which axes that are to stay dynamic are fixed by now."""
        for name, tensor in self.inputs:
            for axis, size in enumerate(tensor.shape):
                if isinstance(size, torch.SymInt) and size.node.maybe_as_int() is not None:
                    self.fixed_axes.setdefault((name, axis), where)

    @contextmanager
    def inside(self, call: int, branch: int) -> Iterator[None]:
        """What is computed in the block belongs to this branch of this call."""
        self.stack.append((call, branch))
        tag = "/".join(f"{c}:{k}" for c, k in self.stack)
        tagged = torch.fx.traceback.annotate({SCOPE_KEY: tag}) if self.markers else nullcontext()
        try:
            with self.around(call, branch), tagged:
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
                if not _is_tensor(a) or not _is_tensor(b):
                    same = type(a) is type(b) and not _is_tensor(a) and statically_known_true(a == b)
                    if not same:
                        raise CaptureError(
                            f"{at}: expected tensors, or equal constants, got {_shown(a)} and {_shown(b)}; "
                            "return tensors, in tuples, lists or dicts, or route a part that does"
                        )
                    continue
                if a.dtype != b.dtype:
                    raise CaptureError(f"{at}: expected one dtype, got {a.dtype} and {b.dtype}; cast one of them")
                if self.apart is None and not same_shape(a, b):
                    raise CaptureError(
                        f"{at}: expected one shape, got {list(a.shape)} and {list(b.shape)}; make the branches "
                        "return the same shape for every size of the dynamic axes"
                    )

    def _watch_aliases(
        self,
        name: str,
        given: Sequence[torch.Tensor],
        operands: Sequence[torch.Tensor],
        joined: Sequence[torch.Tensor],
    ) -> None:
        """Remembers values that a branch hands on: eagerly the result is that memory, so neither may change later.

        These are the site's inputs and the model's own tensors, views of them, and what a branch returns twice.
        """
        shared = {_memory(t) for t in (*given, *self.root.parameters(), *self.root.buffers())}
        own = [_memory(operand) for operand in operands]
        for operand, memory, result in zip(operands, own, joined, strict=True):
            if memory in shared or own.count(memory) > 1:
                self.aliases += [(name, t, t._version) for t in (operand, result)]

    def check_aliases(self) -> None:
        """Raises if a value that a site handed on was changed in place afterwards."""
        for name, tensor, version in self.aliases:
            if tensor._version != version:
                raise CaptureError(
                    f"site {name!r}: expected its result to stay as it is, got an in-place change after the "
                    "site, which eagerly also changes what a branch handed on; use the operation "
                    "that returns a new tensor"
                )


def _is_tensor(value: Any) -> bool:
    """Whether a value is a tensor, or one of several."""
    return isinstance(value, torch.Tensor) or is_apart(value)


def _are_alike(column: Sequence[Any]) -> bool:
    """Whether values are tensors of one shape."""
    return all(isinstance(v, torch.Tensor) and same_shape(v, column[0]) for v in column)


def _memory(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"a dict with {sorted(map(str, value))}"
    if is_symbolic(value):
        return "numbers that are drawn"
    plain = value is None or isinstance(value, bool | int | float | str)
    return f"{type(value).__name__} {reprlib.repr(value)}" if plain else f"an object of class {type(value).__name__}"
