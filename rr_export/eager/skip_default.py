"""What a skip returns where nobody said: read off one call of the layer, or refused where it could be read two ways.

The first result is what is skipped: the first positional argument, or the one called ``hidden``. Any other result is
the argument of its name, the very object that was handed in, or the only argument of its shape; None is None.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from rr_export.eager.skip_results import Nested, Part, Passed, ZeroResult, alike, called, children, is_container, shown
from rr_export.errors import RunError


@dataclass
class Arguments:
    """The arguments of a call by their names.

    Attributes:
        layer: whose call it is.
        args: positional arguments.
        kwargs: keyword arguments.
    """

    layer: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def named(self) -> list[tuple[Passed, Any]]:
        """Returns every argument with the way to it."""
        names = parameters_of(self.layer)
        names += [str(i) for i in range(len(names), len(self.args))]
        found: list[tuple[Passed, Any]] = [(Passed(names[i], i), value) for i, value in enumerate(self.args)]
        return found + [(Passed(name, None), value) for name, value in self.kwargs.items()]

    def all(self) -> Iterator[tuple[Passed, Any]]:
        """Yields every argument, and every part of one, with the way to it."""
        todo = self.named()[::-1]
        while todo:
            passed, value = todo.pop()
            yield passed, value
            if is_container(value):
                inner = enumerate(children(value)[1])
                todo += [(Passed(passed.name, passed.position, (*passed.inner, i)), child) for i, child in inner]


def parameters_of(layer: nn.Module) -> list[str]:
    """Returns the names of the positional parameters of the layer's forward, in order."""
    try:
        parameters = inspect.signature(layer.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


@dataclass
class Derivation:
    """Reads off a call what a skip returns.

    Attributes:
        arguments: of the call.
        hidden: the argument that is skipped.
        by_shape: whether anything was told by its shape alone: then it holds for these sizes only.
        problems: what could not be told, and why.
    """

    arguments: Arguments
    hidden: tuple[Passed, Any]
    by_shape: bool = False
    problems: list[str] = field(default_factory=list)

    def part(self, output: Any) -> Part:
        """Returns what a skip returns, where the layer returns ``output``.

        Raises:
            RunError: a result could be nothing, or several things, that was handed in.
        """
        skipped, value = self.hidden
        if isinstance(output, torch.Tensor):
            self._check_skipped(output)
            return skipped
        if not is_container(output) or not children(output)[1]:
            self._refuse(None, f"a {type(output).__name__}")
        if alike(output, value):
            return skipped
        whole = [p for p, a in self._distinct(self.arguments.all()) if alike(a, output)]
        names, inner, spec = children(output)
        first = isinstance(output, tuple | list) and not any(names)
        if len(whole) == 1 and not (first and alike(inner[0], value)):
            self.by_shape = True
            return whole[0]
        if first and all(child is None for child in inner[1:]):
            if not isinstance(inner[0], torch.Tensor):
                self._refuse(None, f"a tuple whose element 0 is {shown(inner[0])}")
            self._check_skipped(inner[0])
            return Nested(spec, (skipped, *[None] * (len(inner) - 1)))
        known = names if any(names) else _returned_names(self.arguments.layer, len(inner))
        parts = [
            self._element(child, known[i], str(names[i] or i), first=first and i == 0) for i, child in enumerate(inner)
        ]
        if self.problems:
            self._refuse(Nested(spec, tuple(parts)), self.problems[0])
        return Nested(spec, tuple(parts))

    def _check_skipped(self, result: torch.Tensor) -> None:
        skipped, value = self.hidden
        if not alike(result, value, dtypes=False):
            self._refuse(None, f"{shown(result)} where {skipped.shown!r} is {shown(value)}")

    def _element(self, result: Any, name: str, where: str, *, first: bool = False) -> Part:
        """What stands for one result; where nothing does, zeros, and a problem is noted."""
        if result is None:
            return None
        same = [(p, a) for p, a in self.arguments.named() if name and p.name == name]
        for passed, value in same:
            if _equal(result, value):
                return passed
            self.problems.append(f"{shown(result)} as result {where} and {shown(value)} as argument {name!r}")
            return ZeroResult(None)
        if first and alike(result, self.hidden[1], dtypes=False):
            return self.hidden[0]
        handed = [p for p, a in self.arguments.all() if a is result]
        if handed:
            return handed[0]
        fitting = [p for p, a in self._distinct(self.arguments.all()) if alike(a, result) and _telling(result)]
        if len(fitting) == 1:
            self.by_shape = True
            return fitting[0]
        if not fitting and is_container(result) and children(result)[1]:
            names, inner, spec = children(result)
            return Nested(
                spec, tuple(self._element(c, names[i], f"{where}.{names[i] or i}") for i, c in enumerate(inner))
            )
        several = f"arguments {' and '.join(repr(p.shown) for p in fitting)} that could stand for it"
        self.problems.append(
            f"{shown(result)} as result {where} and {several if fitting else 'no argument of that name or shape'}"
        )
        return ZeroResult(None)

    def _distinct(self, found: Iterator[tuple[Passed, Any]]) -> Iterator[tuple[Passed, Any]]:
        """One way to every object."""
        seen: set[int] = set()
        for passed, value in found:
            if id(value) not in seen:
                seen.add(id(value))
                yield passed, value

    def _refuse(self, best: Nested | None, got: str) -> None:
        layer = self.arguments.layer
        such = "a function of the layer's arguments"
        if best is not None:
            such = f"skip={_written(best)}, or {such}"
        raise RunError(
            f"{called(layer)}: expected results that a skipped layer can hand on, got {got}; say what a skip returns: "
            f"{such}, as skip= of LayerChoice or route_layers"
        )


def _written(part: Part) -> str:
    if isinstance(part, Nested):
        inner = [_written(p) for p in part.parts]
        names, _, _ = children(_unflattened(part))
        if any(names):
            return "{" + ", ".join(f"{n!r}: {w}" for n, w in zip(names, inner, strict=True)) + "}"
        return f"({', '.join(inner)}{',' * (len(inner) == 1)})"
    if isinstance(part, ZeroResult):
        return "'zeros'"
    return "None" if part is None else repr(part.name)


def _unflattened(part: Nested) -> Any:
    return part.spec.unflatten(list(range(len(part.parts))))


def _equal(result: Any, value: Any) -> bool:
    """Whether an argument stands for the result of its name."""
    if isinstance(result, bool | int | str):
        return type(value) is type(result) and bool(value == result)
    return value is result or alike(value, result, dtypes=False)


def _telling(result: Any) -> bool:
    """Whether a shape says anything: that of a single number does not."""
    if isinstance(result, torch.Tensor):
        return result.dim() > 0 and not all(isinstance(n, int) and n == 1 for n in result.shape)
    return all(_telling(child) for child in children(result)[1])


def _returned_names(layer: nn.Module, count: int) -> list[str]:
    """What the layer's forward calls its ``count`` results, "" where it does not say, or says different things."""
    unnamed = [""] * count
    try:
        function = inspect.unwrap(type(layer).forward)
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return unnamed
    found: list[list[str]] = []
    todo: list[ast.AST] = list(getattr(tree.body[0], "body", []))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return):
            if not isinstance(node.value, ast.Tuple) or len(node.value.elts) != count:
                return unnamed
            found.append([e.id if isinstance(e, ast.Name) else "" for e in node.value.elts])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo.extend(ast.iter_child_nodes(node))
    if not found:
        return unnamed
    return [of[0] if len(set(of)) == 1 else "" for of in zip(*found, strict=True)]
