"""How statements may end, read off their syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from rr_export.capture.python.frames import BREAK, CONTINUE, RETURN


def may_go_on(statements: Sequence[ast.stmt]) -> bool:
    """Returns whether the statement after these may run."""
    for statement in statements:
        if isinstance(statement, ast.Return | ast.Break | ast.Continue | ast.Raise):
            return False
        if isinstance(statement, ast.If) and not (may_go_on(statement.body) or may_go_on(statement.orelse)):
            return False
        if isinstance(statement, ast.With) and not may_go_on(statement.body):
            return False
    return True


def ends(statements: Sequence[ast.stmt]) -> set[str]:
    """Returns how statements that do not go on may end: return, break, continue."""
    names = {ast.Return: RETURN, ast.Break: BREAK, ast.Continue: CONTINUE}
    return {names[type(n)] for s in statements for n in _of_this_loop(s) if type(n) in names}


def _of_this_loop(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.For | ast.While) and child not in node.orelse:  # break and continue there are its own
            yield from (n for n in _of_this_loop(child) if isinstance(n, ast.Return))
            continue
        yield from _of_this_loop(child)
