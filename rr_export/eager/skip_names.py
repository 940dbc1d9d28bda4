"""What a skip returns where ``skip=`` says so: a function of the arguments, or names of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from rr_export.eager.skip_default import Arguments
from rr_export.eager.skip_results import Nested, Part, Passed, ZeroResult, called, children, is_container, shown
from rr_export.errors import RunError

ZEROS, ZEROS_LIKE = "zeros", "zeros like "
Skip = Callable[..., Any] | str | tuple[Any, ...] | list[Any] | Mapping[str, Any]


def check_skip(layer: nn.Module, skip: Any) -> None:
    """Raises unless ``skip`` is a function, or a nesting of names of arguments of ``layer``, zeros and None.

    Raises:
        TypeError: it is something else.
        ValueError: it names an argument that the layer does not have.
    """
    if isinstance(skip, nn.Module):
        raise TypeError(
            f"{called(layer)}: expected skip= to be a function of the arguments, got a module; route the two with "
            "rr.OperationChoice"
        )
    if callable(skip):
        return
    for entry in _entries(skip):
        if entry is None:
            continue
        if not isinstance(entry, str):
            raise TypeError(
                f"{called(layer)}: expected skip= to be a function, or names of arguments, 'zeros', 'zeros like NAME' "
                f"and None in the nesting that the layer returns, got {entry!r} in it; mend it"
            )
        name = entry.removeprefix(ZEROS_LIKE)
        known = _known(layer)
        if entry != ZEROS and known is not None and name not in known:
            raise ValueError(
                f"{called(layer)}: expected skip= to name arguments among {sorted(known)}, got {name!r}; mend it"
            )


def asks_for_result(skip: Any) -> bool:
    """Returns whether a skip needs to know the shape of a result."""
    return not callable(skip) and ZEROS in list(_entries(skip))


def named_part(layer: nn.Module, skip: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Part:
    """Returns what a skip returns, with the names found among the arguments.

    Args:
        layer: the layer.
        skip: names.
        args: positional arguments of a call.
        kwargs: keyword arguments of it.
        output: what the layer returned for it, where ``skip`` asks for it.

    Raises:
        RunError: an argument is not given, or ``skip`` has another nesting than the results.
    """
    if isinstance(skip, str):
        return _entry(layer, skip, args, kwargs, output)
    if skip is None:
        return None
    names, inner, spec = children(skip)
    results: list[Any] = [None] * len(inner)
    if asks_for_result(skip):
        others, found, _ = children(output) if is_container(output) else ([], [], None)
        by_name = dict(zip(others, found, strict=True))
        results = [by_name[name] for name in names if name in by_name] if any(names) else found
        if len(results) != len(inner):
            raise RunError(
                f"{called(layer)}: expected skip= to have the nesting of what the layer returns, {shown(output)}, "
                f"got {shown(skip)}; make them the same"
            )
    pairs = zip(inner, results, strict=True)
    return Nested(spec, tuple(named_part(layer, entry, args, kwargs, result) for entry, result in pairs))


def _entry(layer: nn.Module, entry: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Part:
    if entry == ZEROS:
        if not isinstance(output, torch.Tensor):
            raise RunError(
                f"{called(layer)}: expected a tensor where skip= says 'zeros', got {shown(output)}; name an argument, "
                "or route a part of the layer that returns tensors"
            )
        return ZeroResult(None, tuple(output.shape), output.dtype, output.device)
    name = entry.removeprefix(ZEROS_LIKE)
    found: list[tuple[Passed, Any]] = [(p, v) for p, v in Arguments(layer, args, kwargs).named() if p.name == name]
    value = found[0][1] if found else None
    if not found or (name != entry and value is None):
        raise RunError(
            f"{called(layer)}: expected the argument {name!r} that skip= names, got {'None' if found else 'none'}; "
            "hand it in, or make skip= a function"
        )
    return found[0][0] if name == entry else ZeroResult(found[0][0])


def _entries(skip: Any) -> list[Any]:
    if isinstance(skip, tuple | list):
        return [entry for inner in skip for entry in _entries(inner)]
    if isinstance(skip, Mapping):
        return [entry for inner in skip.values() for entry in _entries(inner)]
    return [skip]


def _known(layer: nn.Module) -> set[str] | None:
    """The names of the layer's arguments; None: any."""
    try:
        parameters = inspect.signature(layer.forward).parameters
    except (TypeError, ValueError):
        return None
    kinds = {p.kind for p in parameters.values()}
    return None if inspect.Parameter.VAR_KEYWORD in kinds else set(parameters)
