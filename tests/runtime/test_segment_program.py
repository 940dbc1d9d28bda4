"""The walk of a program: every step once, values before what is made of them, and where each step stands."""

from __future__ import annotations

import pytest

from rr_runtime import BundleError
from rr_runtime.segment_program import Branch, Choose, Run, Step, walk
from rr_runtime.segment_program_reader import check_values


def run(name: str, source: str) -> Run:
    return Run(f"{name}.onnx", (source,), (name,))


INNER = Choose(1, ("inner",), (Branch((), ("a",)), Branch((run("c", "a"),), ("c",))))
OUTER = Choose(0, ("outer",), (Branch((run("b", "a"),), ("b",)), Branch((INNER,), ("inner",))))
PROGRAM: tuple[Step, ...] = (run("a", "x"), OUTER, run("y", "outer"))


def test_every_step_comes_after_the_steps_of_its_branches() -> None:
    assert list(walk(PROGRAM)) == [
        (PROGRAM[0], ()),
        (run("b", "a"), ((0, 0),)),
        (run("c", "a"), ((0, 1), (1, 1))),
        (INNER, ((0, 1),)),
        (OUTER, ()),
        (PROGRAM[2], ()),
    ]


def test_one_branch_is_walked_where_a_route_is_given() -> None:
    asked = []

    def route(choice: Choose) -> int:
        asked.append(choice.site)
        return 0

    assert [step for step, _ in walk(PROGRAM, route)] == [PROGRAM[0], run("b", "a"), OUTER, PROGRAM[2]]
    assert asked == [0]
    assert [around for _, around in walk([INNER], lambda _: 1, ((7, 2),))] == [((7, 2), (1, 1)), ((7, 2),)]


def test_a_program_that_makes_all_its_values_is_right() -> None:
    check_values(PROGRAM, {"x"}, {"y", "a"}, "here")
    check_values((*PROGRAM, OUTER), {"x"}, {"y"}, "here")  # the same site again


@pytest.mark.parametrize(
    ("program", "missing"),
    [
        (PROGRAM[1:], "a"),
        (PROGRAM[:2], "y"),
        ((*PROGRAM[:2], run("y", "b")), "b"),  # of a branch, outside it
        ((PROGRAM[0], Choose(0, ("y",), (Branch((run("b", "a"),), ("b",)), Branch((), ("b",))))), "b"),  # in the next
        ((PROGRAM[0], OUTER, Choose(0, ("y",), (Branch((), ("b",)), Branch((), ("a",))))), "b"),  # of the call before
    ],
)
def test_a_value_that_is_not_there_is_found(program: tuple[Step, ...], missing: str) -> None:
    with pytest.raises(BundleError, match=f"^here: expected steps that make the value '{missing}' before it is used"):
        check_values(program, {"x"}, {"y"}, "here")
