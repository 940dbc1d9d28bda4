from __future__ import annotations

import ast
from typing import Any

import pytest

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.frames import Frame
from rr_export.capture.python.heap import FLOW, RESULT, Scope
from rr_export.capture.python.sequences import Sequences
from rr_export.capture.python.source_code import Source
from rr_export.capture.python.syntax.dispatch import Dispatch
from rr_export.capture.python.syntax.endings import ends, may_go_on
from rr_export.capture.python.syntax.flow import Flow
from rr_export.capture.python.syntax.iterations import Iterations
from rr_export.capture.python.syntax.loops import Loops
from rr_export.capture.python.values import Varying
from tests.capture.python.setting import Setting


class NothingVaries:
    """Conditions that are always known."""

    def as_condition(self, value: Any) -> bool:
        return bool(value)


def trail_of(code: str, **variables: Any) -> tuple[str, Any]:
    """Returns the names that stand alone in the code, in the order in which they were met, and what it returns."""
    setting, met = Setting(code, variables), []
    stack, names = setting.stack, setting.variables
    evaluate, execute = Dispatch(stack), Dispatch(stack)
    flow = Flow(evaluate, execute, stack, NothingVaries(), lambda: None)  # type: ignore[arg-type]
    sequences = Sequences(setting.memory, setting.whereabouts, None, None)  # type: ignore[arg-type]
    iterations = Iterations(
        lambda target, value: names.update({ast.unparse(target): value}),
        *(stack, setting.memory, None, sequences),  # type: ignore[arg-type]
    )
    loops = Loops(evaluate, iterations, flow, stack, NothingVaries(), setting.ledger, setting.whereabouts)  # type: ignore[arg-type]
    evaluate.learn(
        {
            kind: lambda node: eval(ast.unparse(node), {}, names)
            for kind in (ast.Name, ast.Compare, ast.Constant, ast.Tuple)
        }
    )
    execute.learn(flow.statements())
    execute.learn(loops.statements())
    execute.learn({ast.Expr: lambda node: met.append(ast.unparse(node))})
    flow.function(setting.body)
    assert stack.top.pending == []
    return " ".join(met), names[RESULT]


@pytest.mark.parametrize(
    ("code", "trail", "result"),
    [
        ("a\nb", "a b", None),
        ("a\nreturn 1\nb", "a", 1),
        ("if n == 0:\n    a\nelse:\n    b\nc", "a c", None),
        ("if n == 1:\n    a\n    return 1\nc", "c", None),
        ("for i in (1, 2):\n    a\nelse:\n    b\nreturn i", "a a b", 2),
        ("for i in (1, 2):\n    a\n    if i == 1:\n        continue\n    b", "a a b", None),
        ("for i in (1, 2):\n    a\n    break\nelse:\n    b\nc", "a c", None),
        ("for i in (1, 2):\n    for j in (1, 2):\n        a\n        break\n    b", "a b a b", None),
        ("for i in (1, 2):\n    while n == 0:\n        a\n        return i\n    b", "a", 1),
        ("while n == 1:\n    a\nelse:\n    b", "b", None),
    ],
)
def test_statements_are_met_as_python_meets_them(code: str, trail: str, result: Any) -> None:
    assert trail_of(code, n=0) == (trail, result)


def frame_with(flow: Any) -> Frame:
    node = ast.parse("def f(): pass").body[0]
    assert isinstance(node, ast.FunctionDef)
    return Frame(Source(node, "model.py", frozenset()), Scope({FLOW: flow}, "f"), None, {}, {}, node)


def test_flow_is_replaced_only_where_it_is_the_old_one() -> None:
    frame = frame_with("break")
    frame.replace_flow("next", "return")
    assert frame.flow == "break"
    frame.replace_flow("break", "next")
    assert frame.flow == "next"


def test_flow_that_varies_is_replaced_way_by_way() -> None:
    setting = Setting()
    which = setting.coin()
    frame = frame_with(Varying(dd.apply(lambda k: ("break", "return")[k], which)))
    with setting.tracing():
        frame.replace_flow("break", "next")
        assert dd.leaves(frame.flow.diagram) == ["next", "return"]


@pytest.mark.parametrize(
    ("code", "goes_on", "kinds"),
    [
        ("a", True, set()),
        ("return 1", False, {"return"}),
        ("if a:\n    break\nelse:\n    return", False, {"break", "return"}),
        ("if a:\n    break", True, {"break"}),
        ("with a:\n    for i in b:\n        break\n    continue", False, {"continue"}),
        ("with a:\n    return", False, {"return"}),
        ("with a:\n    def f():\n        return\n    break", False, {"break"}),
    ],
)
def test_endings_are_read_off_the_syntax(code: str, goes_on: bool, kinds: set[str]) -> None:
    statements = ast.parse(code).body
    assert (may_go_on(statements), ends(statements)) == (goes_on, kinds)
