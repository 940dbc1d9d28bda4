"""Who watches a call: a capture of rr_export, or a tracer that would freeze a random route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, cast

import torch

from rr_export.eager.choice import Choice

F = TypeVar("F", bound=Callable[..., Any])
_WHY = "rr_export chooses routes eagerly: expected an eager call or rr.export, which keeps the random routes"


def outside_compiled_code(function: F) -> F:
    """``torch.compile`` leaves the function to Python, where it runs anew every time."""
    return cast(F, torch.compiler.disable(function, reason=_WHY))  # type: ignore[no-untyped-call]


class Recorder(Protocol):
    """What replaces the choice while a model is captured: it is handed every call of every site."""

    def call_site(self, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the outputs of the site for this call."""


recorder: ContextVar[Recorder | None] = ContextVar("rr_recorder", default=None)


@contextmanager
def recording_with(watching: Recorder) -> Iterator[None]:
    """Hands every call of every site to ``watching`` inside the block."""
    token = recorder.set(watching)
    try:
        yield
    finally:
        recorder.reset(token)


Caller = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
caller: ContextVar[Caller | None] = ContextVar("rr_caller", default=None)


@contextmanager
def calling_with(call: Caller) -> Iterator[None]:
    """Inside the block the functions of sites are called by ``call``, as the forwards of modules are."""
    token = caller.set(call)
    try:
        yield
    finally:
        caller.reset(token)


def active_tracer(arguments: Any) -> str | None:
    """Returns the name of the tracer that watches calls with these arguments, if any."""
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace"
    if torch.compiler.is_exporting():
        return "torch.export"
    if torch.fx.experimental.proxy_tensor.get_proxy_mode() is not None:
        return "make_fx"
    if any(isinstance(leaf, torch.fx.Proxy) for leaf in torch.utils._pytree.tree_leaves(arguments)):
        return "torch.fx.symbolic_trace"
    return None
