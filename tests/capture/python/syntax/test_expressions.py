from __future__ import annotations

import ast
from typing import Any

import pytest

from rr_export.capture.python.coins import Coins
from rr_export.capture.python.operations import Operations
from rr_export.capture.python.syntax.dispatch import Dispatch
from rr_export.capture.python.syntax.expressions import Expressions, evaluated
from tests.capture.python.setting import Setting


def evaluator(setting: Setting) -> Dispatch:
    """Returns what evaluates expressions in which nothing varies, so that nothing need be lifted or branched."""
    evaluate, nobody = Dispatch(setting.stack), None
    operations = Operations(nobody, nobody, setting.memory, Coins(), nobody)  # type: ignore[arg-type]
    evaluate.learn(
        Expressions(evaluate, setting.stack, setting.memory, operations, nobody).expressions()  # type: ignore[arg-type]
    )
    return evaluate


def parsed(code: str) -> ast.expr:
    return ast.parse(code, mode="eval").body


VARIABLES: dict[str, Any] = {"a": 3, "b": [1, 2, 3], "c": {"k": 4}}


@pytest.mark.parametrize(
    "code",
    [
        *("1", "'x'", "...", "-a", "not a", "~a", "a + 2 * a", "a // 2", "a ** 2 % 5", "a | 4"),
        *("b[0]", "b[1:]", "b[::2]", "c['k']", "b.__class__", "(a, *b)", "[*b, a]", "{a, 4}", "{**c, 'm': a}"),
        *("f'{a}'", "f'{a:>5}|{b!r}'", "len"),
    ],
)
def test_expression_gives_what_python_gives(code: str) -> None:
    setting = Setting(variables=VARIABLES)
    assert evaluator(setting)(parsed(code)) == eval(code, {}, VARIABLES)


def test_starred_arguments_are_spread() -> None:
    setting = Setting(variables=VARIABLES)
    call = parsed("f(a, *b)")
    assert isinstance(call, ast.Call)
    assert evaluated(evaluator(setting), call.args) == [3, 1, 2, 3]


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        ("nowhere", NameError, "name 'nowhere' is not defined"),
        ("late", UnboundLocalError, "local variable 'late'"),
        ("lambda: 1", NotImplementedError, "Lambda is not interpreted"),
    ],
)
def test_what_is_not_there_is_an_error(code: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        evaluator(Setting("late = 1"))(parsed(code))


def test_code_is_at_the_node_while_it_is_evaluated() -> None:
    setting = Setting()
    evaluate, seen = Dispatch(setting.stack), []
    evaluate.learn({ast.Constant: lambda node: seen.append(setting.stack.top.node)})
    outer, node = setting.stack.top.node, parsed("1")
    evaluate(node)
    assert seen == [node]
    assert setting.stack.top.node is outer
