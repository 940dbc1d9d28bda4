"""Tables that torch builds anew at every export, kept from one to the next as long as nothing that they hold changes.

They take most of the time that the export of a small model needs (torch 2.13 and 2.14): the table of 500 translations
to ONNX is made from their source code, all composite operators are looked up anew for each namespace of operators, and
each of them is given two dozen kernels for the time in which a program is traced again, decomposed.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch._export.utils
import torch.export.exported_program
from onnxscript.function_libs.torch_lib import registration
from torch.onnx._internal.exporter import _decomp, _fx_passes
from torch.onnx._internal.exporter._registration import ONNXRegistry

from rr_export.capture.undecomposed import is_decomposed, tidy

exported: Any = torch.export.exported_program

_translations: dict[tuple[Any, int, int], ONNXRegistry] = {}  # by opset, and by how much is registered
_looked_up: list[str] = []  # the composite operators that torch has looked up last
_decompositions: dict[Any, dict[Any, Any]] = {}  # by what they were made of
_splits: dict[Any, tuple[dict[Any, Any], ...]] = {}  # the same, as torch parts them


@contextmanager
def tables_kept() -> Iterator[None]:
    """Inside, torch takes the tables that it made before, and decomposes only programs that need it.

    The caller sees to it that one thread at a time is inside, and registers nothing itself.
    """
    registry: Any = ONNXRegistry
    utils: Any = torch._export.utils
    make, look_up, split = (
        vars(registry)["from_torchlib"],
        utils._materialize_cpp_cia_ops,
        exported._split_decomp_table_to_cia_and_python_decomp,
    )
    composite: list[list[str]] = []

    def names() -> list[str]:
        if not composite:
            composite.append(torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd"))
        return composite[0]

    def translations(*args: Any, **kwargs: Any) -> ONNXRegistry:
        opset = kwargs.get("opset_version", args[0] if args else None)
        known = _translations.get((opset, *_registered()))
        if known is None:
            known = make.__func__(registry, *args, **kwargs)
            _translations[opset, *_registered()] = known  # the first table registers torch's own translations
        return _copy_of(known)

    def look_up_once() -> None:
        if names() != _looked_up:
            look_up()
            _looked_up[:] = names()

    def decompose(program: torch.export.ExportedProgram, registry: ONNXRegistry) -> torch.export.ExportedProgram:
        translated = frozenset(_decomp.get_onnx_implemented_overloads(registry))
        key = translated, tuple(names()), len(torch._decomp.decomposition_table)
        if key not in _decompositions:
            _decompositions[key] = dict(_decomp.create_onnx_friendly_decomposition_table(set(translated)))
        table = _decompositions[key]
        if is_decomposed(program, translated, table):
            tidy(program)
            return program
        if key not in _splits:
            _splits[key] = split(dict(table))
        with _replaced(exported, "_split_decomp_table_to_cia_and_python_decomp", lambda _: map(dict, _splits[key])):
            decomposed: torch.export.ExportedProgram = program.run_decompositions(table)
            return decomposed

    with ExitStack() as stack:
        for owner, name, value in (
            (registry, "from_torchlib", staticmethod(translations)),
            (utils, "_materialize_cpp_cia_ops", look_up_once),
            (_fx_passes, "decompose_with_registry", decompose),
            (exported, "autograd_not_implemented", _refused_gradients),
            (torch._ops.OperatorBase, "py_impl", _kernel_added),
        ):
            stack.enter_context(_replaced(owner, name, value))
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


_refused_gradients = functools.cache(exported.autograd_not_implemented)
_add_kernel = torch._ops.OperatorBase.py_impl


def _kernel_added(operator: Any, key: Any) -> Callable[[Any], Any]:
    """As torch does, whose own function makes four annotations at each call, which take longer than all else there."""
    plain = isinstance(key, torch._C.DispatchKey) and key is not torch._C.DispatchKey.Python
    if not plain or key in operator.py_kernels:
        return _add_kernel(operator, key)

    def add(kernel: Any) -> Any:
        operator.py_kernels[key] = kernel
        operator._dispatch_cache.clear()
        return kernel

    return add


def _copy_of(table: ONNXRegistry) -> ONNXRegistry:
    """A table to which an export may add translations of its own."""
    own = copy.copy(table)
    own.functions = {name: list(translations) for name, translations in table.functions.items()}
    return own


def _registered() -> tuple[int, int]:
    """How many translations are registered, and how many operators: a table has no operator that torch lacks yet."""
    translations = sum(len(f.overloads) + len(f.complex) for f in registration.default_registry.values())
    return translations, len(torch._C._dispatch_get_all_op_names())
