"""Whole numbers that a model's own code names: sizes at which it may decide, whatever a capture saw of that."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Any

from torch import nn

from rr_export.capture.python.plain_access import attributes_of
from rr_export.capture.python.source_code import is_library_code

MOST, LARGEST = 8, 1024  # numbers; and up to which they are taken for sizes


def numbers_named(model: nn.Module) -> list[int]:
    """Returns whole numbers in the code of the author's modules, and those that these hold: a few, from 2 on.

    Numbers within texts count too, such as the ``16`` of ``self.heads["16"]``.
    """
    found: dict[int, None] = {}
    for module in model.modules():
        methods = [f for kind in type(module).__mro__ for f in vars(kind).values() if isinstance(f, types.FunctionType)]
        own = [f for f in methods if f.__name__ != "__init__" and not is_library_code(f.__code__)]
        for value in (c for f in own for c in _constants(f.__code__) if c != f.__doc__):
            found |= dict.fromkeys(_numbers_in(value))
        for value in (attributes_of(module) or {}).values() if own else ():
            found |= dict.fromkeys(_numbers_in(value))
        if isinstance(module, nn.ModuleDict | nn.ParameterDict):
            found |= dict.fromkeys(n for key in module for n in _numbers_in(key))
    return [n for n in found if 1 < n <= LARGEST][:MOST]


def _constants(code: types.CodeType) -> Iterator[Any]:
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _constants(value)
        else:
            yield value


def _numbers_in(value: Any) -> list[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    if isinstance(value, str):
        return [int(digits) for digits in re.findall(r"\d{1,4}", value)]
    return [n for item in value for n in _numbers_in(item)] if isinstance(value, tuple) else []
