"""A trial run of a layer, which shows what it returns and leaves nothing behind.

The layer really runs, so that whatever runs eagerly can be tried: conditions on the input, ``nonzero``, numpy, compiled
parts. It gets copies of its arguments; its attributes, the containers in them, its buffers and all generators are put
back. It runs without a gradient and in an empty context: no run of a model, block of ``forced`` or ``seeded``, or
collector of another library sees it.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import random
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from rr_export.eager.choice import Choice
from rr_export.eager.kept_streams import streams_kept
from rr_export.eager.tracers import outside_compiled_code, recording_with

_CONTAINERS = (dict, OrderedDict, list, set, deque)
_one_at_a_time = threading.RLock()  # two trials of one layer would put back what the other changed


@outside_compiled_code
def try_layer(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Returns copies of the arguments, and what the layer makes of them."""
    with _one_at_a_time:
        return contextvars.Context().run(_try_layer, layer, args, kwargs)


def _try_layer(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
    with torch.no_grad(), recording_with(_LastBranch()), streams_kept(), state_kept(layer):
        args, kwargs = copied_arguments(args, kwargs)
        return args, kwargs, layer(*args, **kwargs)


class _LastBranch:
    """Sites inside a layer that is tried: any branch would do; the last of a layer runs it."""

    def call_site(self, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return site.branch(len(site.branch_names) - 1, *args, **kwargs)


def copied_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns copies of arguments, among which those are the same object that were."""
    memo: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) not in memo:
                memo[id(value)] = value.detach().clone()
            return memo[id(value)]
        return value if isinstance(value, nn.Module) else copy.deepcopy(value, memo)

    return tuple(pytree.tree_map(copied, args)), {key: pytree.tree_map(copied, value) for key, value in kwargs.items()}


@contextlib.contextmanager
def state_kept(layer: nn.Module) -> Iterator[None]:
    """After the block the layer's attributes, the containers in them, its buffers and its generators are as before."""
    stores: dict[int, tuple[Any, Any]] = {}
    undo: list[Callable[[], None]] = []
    todo: list[Any] = [vars(module) for module in layer.modules()]
    while todo:
        value = todo.pop()
        if type(value) in _CONTAINERS:
            if id(value) not in stores:
                stores[id(value)] = (value, value.copy())
                todo.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, tuple):
            todo.extend(value)
        elif isinstance(value, random.Random | np.random.Generator | np.random.RandomState | torch.Generator):
            undo.append(_put_back(value))
    buffers = [(buffer, buffer.detach().clone()) for buffer in layer.buffers()]
    try:
        yield
    finally:
        for store, content in stores.values():
            _refill(store, content)
        for step in undo:
            step()
        for buffer, content in buffers:  # versions do not tell: batch norm changes its buffers without a new one
            if buffer.layout != torch.strided or not torch.equal(buffer, content):
                buffer.copy_(content)


def _put_back(generator: Any) -> Callable[[], None]:
    """What gives a generator the state that it has now."""
    if isinstance(generator, random.SystemRandom):
        return lambda: None
    if isinstance(generator, random.Random):
        python = generator.getstate()
        return lambda: generator.setstate(python)
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        numpy = copy.deepcopy(bits.state)
        return lambda: setattr(bits, "state", numpy)
    state = generator.get_state()
    return lambda: generator.set_state(state)


def _refill(store: Any, content: Any) -> None:
    if isinstance(store, dict):
        same = store.keys() == content.keys() and all(store[key] is content[key] for key in content)
    else:
        same = len(store) == len(content) and all(a is b for a, b in zip(store, content, strict=True))
    if not same:
        store.clear()
        store.extend(content) if isinstance(store, list | deque) else store.update(content)
