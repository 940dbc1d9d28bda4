"""Tables that torch builds anew at every export, kept from one to the next as long as nothing that they hold changes.

Both take most of the time that the export of a small model needs (torch 2.13 and 2.14): the table of 500 translations
to ONNX is made from their source code, and all composite operators are looked up anew for each namespace of operators.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch._export.utils
from onnxscript.function_libs.torch_lib import registration
from torch.onnx._internal.exporter._registration import ONNXRegistry

_translations: dict[tuple[Any, int], ONNXRegistry] = {}  # by opset, and by how many are registered
_looked_up: list[str] = []  # the composite operators that torch has looked up last


@contextmanager
def tables_kept() -> Iterator[None]:
    """Inside, torch takes the tables that it made before.

    The caller sees to it that one thread at a time is inside, and registers nothing itself.
    """
    registry: Any = ONNXRegistry
    utils: Any = torch._export.utils
    make, look_up = vars(registry)["from_torchlib"], utils._materialize_cpp_cia_ops

    def translations(*args: Any, **kwargs: Any) -> ONNXRegistry:
        opset = kwargs.get("opset_version", args[0] if args else None)
        known = _translations.get((opset, _registered()))
        if known is None:
            known = make.__func__(registry, *args, **kwargs)
            _translations[opset, _registered()] = known  # the first table registers torch's own translations
        return _copy_of(known)

    def look_up_once() -> None:
        names = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
        if names != _looked_up:
            look_up()
            _looked_up[:] = names

    registry.from_torchlib = staticmethod(translations)
    utils._materialize_cpp_cia_ops = look_up_once
    try:
        yield
    finally:
        registry.from_torchlib = make
        utils._materialize_cpp_cia_ops = look_up


def _copy_of(table: ONNXRegistry) -> ONNXRegistry:
    """A table to which an export may add translations of its own."""
    own = copy.copy(table)
    own.functions = {name: list(translations) for name, translations in table.functions.items()}
    return own


def _registered() -> int:
    """How many translations are registered."""
    return sum(len(f.overloads) + len(f.complex) for f in registration.default_registry.values())
