"""Which functions the interpreter can run: their source as a syntax tree, and the names that are theirs."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNSUPPORTED = (
    *(ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.TryStar, ast.MatchSequence, ast.MatchMapping, ast.MatchClass, ast.MatchStar),
)
_NATIVE = {*sys.stdlib_module_names, "torch", "numpy", "onnx", "onnxruntime", "onnxscript", "onnx_ir", "rr_export"}
_NATIVE |= {"rr_runtime", "einops", "scipy", "sympy", "functorch"}
_DRAWS = {
    *(
        "rand",
        "rand_like",
        "bernoulli",
        "bernoulli_",
        "uniform_",
        "randint",
        "multinomial",
        "random",
        "uniform",
        "choice",
    ),
    *("choices", "randrange", "binomial", "sample", "shuffle"),
}
_INSTALLED = frozenset({"site-packages", "dist-packages"})  # also of users, of the system, of other environments
_deciding: set[types.CodeType] = set()  # code of packages that was seen to decide
_SITE_PACKAGES = tuple(str(Path(sysconfig.get_paths()[k]).resolve()) for k in ("purelib", "platlib"))


@dataclass(frozen=True)
class Source:
    """The syntax tree of a function.

    Attributes:
        node: its definition; line numbers are those of the file.
        file: its path.
        own: the names that it binds.
        outer: the names that it declares global.
        enclosing: the names that it declares nonlocal.
        used: all names in it.
        yields: whether it is a generator.
    """

    node: ast.FunctionDef | ast.Lambda
    file: str
    own: frozenset[str]
    outer: frozenset[str] = frozenset()
    enclosing: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    yields: bool = False


def source_of(function: Callable[..., Any]) -> Source | None:
    """Returns the source of a plain Python function; None where it has none, or one that cannot be interpreted."""
    if not isinstance(function, types.FunctionType):
        return None
    return _source_of(function.__code__, function.__code__.co_filename)


@functools.cache
def _source_of(code: types.CodeType, file: str) -> Source | None:
    """The source of code in this file: equal code of two files is equal for Python."""
    if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        return None
    try:
        lines, first = inspect.getsourcelines(code)
    except (OSError, TypeError):
        return None
    text = textwrap.dedent("".join(lines))
    found: ast.AST | None = None
    tree: ast.Module | None
    try:
        tree = ast.parse(text)
        ast.increment_lineno(tree, first - 1)
    except SyntaxError:  # a lambda in the middle of an expression
        tree = _whole_file(code.co_filename)
        if tree is None:
            return None
    if code.co_name == "<lambda>":
        found = _lambda(tree, code) or _lambda(_whole_file(code.co_filename), code)
    else:
        found = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == code.co_name), None)
    if found is None or any(isinstance(n, UNSUPPORTED) for n in ast.walk(found)):
        return None
    assert isinstance(found, ast.FunctionDef | ast.Lambda)
    _mangle(found, code.co_qualname)
    return analysed(found, code.co_filename)


def _mangle(node: ast.AST, qualname: str) -> None:
    """Private names are those that the class around the function makes of them."""
    owner = next((part for part in reversed(qualname.split(".")[:-1]) if part != "<locals>"), "").lstrip("_")
    for inner in ast.walk(node) if owner else ():
        name = inner.id if isinstance(inner, ast.Name) else inner.attr if isinstance(inner, ast.Attribute) else ""
        if name.startswith("__") and not name.endswith("__"):
            setattr(inner, "id" if isinstance(inner, ast.Name) else "attr", f"_{owner}{name}")


@functools.cache
def _whole_file(path: str) -> ast.Module | None:
    try:
        return ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return None


def _lambda(tree: ast.AST | None, code: types.CodeType) -> ast.Lambda | None:
    """The only lambda that starts where the code says."""
    if tree is None:
        return None
    wanted = next((p for p in code.co_positions() if p[0] is not None and p[2] is not None), None)
    lambdas = [n for n in ast.walk(tree) if isinstance(n, ast.Lambda) and n.lineno == code.co_firstlineno]
    if len(lambdas) > 1 and wanted is not None:
        names = code.co_varnames[: code.co_argcount]
        lambdas = [n for n in lambdas if tuple(a.arg for a in n.args.args) == names]
    return lambdas[0] if len(lambdas) == 1 else None


def analysed(node: ast.FunctionDef | ast.Lambda, file: str) -> Source:
    """Returns the source with the names that it binds."""
    own = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    own |= {a.arg for a in (node.args.vararg, node.args.kwarg) if a is not None}
    outer: set[str] = set()
    enclosing: set[str] = set()
    inside = list(_of_this_function(node))
    for inner in inside:
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store | ast.Del):
            own.add(inner.id)
        elif isinstance(inner, ast.FunctionDef) or (isinstance(inner, ast.ExceptHandler | ast.MatchAs) and inner.name):
            own.add(inner.name or "")
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            own |= {(a.asname or a.name).partition(".")[0] for a in inner.names}
        elif isinstance(inner, ast.Global):
            outer |= set(inner.names)
        elif isinstance(inner, ast.Nonlocal):
            enclosing |= set(inner.names)
    return Source(
        node,
        file,
        frozenset(own - outer - enclosing),
        frozenset(outer),
        frozenset(enclosing),
        frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name)),
        any(isinstance(n, ast.Yield) for n in inside),
    )


def _of_this_function(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions in it."""
    body = node.body if isinstance(node, ast.FunctionDef) else [node.body]  # type: ignore[attr-defined]
    todo: list[ast.AST] = list(body)
    while todo:
        inner = todo.pop()
        yield inner
        if isinstance(inner, ast.FunctionDef):
            todo += [*inner.decorator_list, *inner.args.defaults, *(d for d in inner.args.kw_defaults if d)]
        elif isinstance(inner, ast.Lambda):
            todo += [*inner.args.defaults, *(d for d in inner.args.kw_defaults if d)]
        elif isinstance(inner, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            todo += [n for n in ast.walk(inner) if isinstance(n, ast.NamedExpr)]
        else:
            todo += list(ast.iter_child_nodes(inner))


def is_library_code(code: types.CodeType) -> bool:
    """Returns whether code belongs to an installed package rather than to the model's author."""
    return is_library_file(code.co_filename)


@functools.cache
def is_library_file(path: str) -> bool:
    """Returns whether a file belongs to an installed package."""
    place = Path(path).resolve()
    return str(place).startswith(_SITE_PACKAGES) or not _INSTALLED.isdisjoint(place.parts)


def wants_interpreter(function: types.FunctionType) -> bool:
    """Returns whether a function may decide: any of the author's own, and those of packages that draw or decide."""
    if (function.__module__ or "").partition(".")[0] in _NATIVE or source_of(function) is None:
        return False
    return not is_library_code(function.__code__) or function.__code__ in _deciding or draws(function)


def saw_deciding(frame: types.FrameType) -> bool:
    """What a package runs here decides: it is interpreted from now on; returns whether it was not before."""
    code, module = frame.f_code, str(frame.f_globals.get("__name__", ""))
    if code in _deciding or module.partition(".")[0] in _NATIVE or not is_library_code(code):
        return False
    if _source_of(code, code.co_filename) is None:
        return False
    _deciding.add(code)
    return True


def draws(function: types.FunctionType, methods: Mapping[str, types.FunctionType] | None = None) -> bool:
    """Returns whether a function names a random one, or names a function of its package that draws.

    Args:
        function: the function.
        methods: functions that it may call by these names, as methods.
    """
    return _draws(function, methods or {}, set())


def _draws(function: types.FunctionType, methods: Mapping[str, types.FunctionType], seen: set[types.CodeType]) -> bool:
    if function.__code__ in seen:
        return False
    seen.add(function.__code__)
    names = names_in(function.__code__)
    if names & _DRAWS:
        return True
    package = (function.__module__ or "").partition(".")[0]
    for name in names:
        for other in (function.__globals__.get(name), methods.get(name)):
            inner = inspect.unwrap(other) if isinstance(other, types.FunctionType) else None
            same = isinstance(inner, types.FunctionType) and (inner.__module__ or "").partition(".")[0] == package
            if same and _draws(inner, methods, seen):  # type: ignore[arg-type]
                return True
    return False


@functools.cache
def names_in(code: types.CodeType) -> frozenset[str]:
    """Returns the names of globals and attributes that code uses, functions inside it included."""
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return frozenset(code.co_names).union(*map(names_in, inner))
