"""Containers of which one may be another one: a change under one name is seen under the others, where they are one."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])
GRID = 10  # all probabilities are multiples of a tenth

Function = Callable[[Any, Tensor], Tensor]


@dataclasses.dataclass
class State:
    hidden: Tensor
    count: int = 0


class Holder(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b, self.function = nn.Linear(4, 4), nn.Linear(4, 4), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def coin(p: float = 0.5) -> bool:
    return random.random() < p


def weighed(*lists: list[Any]) -> Any:
    """Returns a number that tells what numbers, and how many, each list holds."""
    total = 0
    for i, one in enumerate(lists):
        for j, value in enumerate(one):
            total = total + value * (j + 1) * 31**i
    return total


def one_of_two(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q
    r[0] = 7
    return x * weighed(p, q, r)


def a_source(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q
    p[1] = 9
    q[0] += 1
    return x * weighed(p, q, r)


def two_that_may_be_one(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q
    s = p if coin(0.3) else q
    r[0] = 7
    s[1] = 8
    return x * weighed(p, q, r, s)


def one_of_one_of_two(m: Any, x: Tensor) -> Tensor:
    p, q, other = [1], [2], [3]
    r = p if coin() else q
    s = r if coin(0.3) else other
    s[0] += 10
    r[0] += 100
    other[0] += 1000
    return x * weighed(p, q, other, r, s)


def one_of_two_in_a_branch(m: Any, x: Tensor) -> Tensor:
    p, q = [2, 1], [4, 3]
    if coin():
        r = p if coin(0.3) else q
        r[0] = 5
    else:
        r = [0, 0]
    r[1] = 6
    p[0] += 1
    return x * weighed(p, q, r)


def longer_and_shorter(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q
    if coin(0.3):
        r.append(5)
    if coin(0.6):
        q.pop()
    return x * weighed(p, q, r)


def of_different_lengths(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [1, 2, 3]
    r = p if coin() else q
    r.pop(0) if coin(0.3) else None
    r.sort()
    r.reverse()
    return x * weighed(p, q, r)


def in_an_expression(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q
    r.append(9) if coin(0.3) else None
    return x * weighed(p, q, r)


def read_in_the_same_expression(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q
    first = (r.insert(0, 9), p[0] + 5 * q[0])[1]
    second = (p.pop(0), r[0])[1]
    return x * weighed([first, second], p, q, r)


def longer_ones_of_other_lists(m: Any, x: Tensor) -> Tensor:
    p, q, other = [1, 2], [3], [5, 6, 7]
    r = p if coin() else q
    s = r if coin(0.3) else other
    s[0] = 8
    q.append(9)
    s.append(4)
    if coin(0.6):
        r.insert(1, 10)
    other.pop()
    return x * weighed(p, q, other, r, s)


def lists_of_lists(m: Any, x: Tensor) -> Tensor:
    p, q = [[1], [2]], [[3], [4]]
    r = p if coin() else q
    r[0].append(5)
    r[1] = [6]
    p[1].append(1)
    return x * weighed([weighed(*p), weighed(*q), weighed(*r)])


def dictionaries(m: Any, x: Tensor) -> Tensor:
    p, q = {"k": 1}, {"k": 2}
    r = p if coin() else q
    r["k"] += 5
    return x * (p["k"] + 10 * q["k"] + 100 * r["k"])


def objects_with_tensors(m: Any, x: Tensor) -> Tensor:
    p, q = State(x, 1), State(m.a(x), 2)
    r = p if coin() else q
    r.hidden = r.hidden + 1
    r.count += 3
    if coin(0.3):
        p.hidden = m.b(p.hidden)
    return p.hidden + 2 * q.hidden + 4 * r.hidden + p.count + 10 * q.count + 100 * r.count


def the_first_that_ran(m: Any, x: Tensor) -> Tensor:
    first = None
    for i in range(3):
        if coin():
            continue
        state = State(m.a(x), i)
        if first is None:
            first = state
        state.count = 5 + i
        state.hidden = state.hidden * 2
        x = x + state.hidden
    return x if first is None else x + first.hidden * first.count


def which_the_input_says(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if x.sum() > 0 else q
    s = p if coin() else q
    r[0] = 7
    s[1] = 8
    return x * weighed(p, q, r, s)


def grown_in_place(m: Any, x: Tensor) -> Tensor:
    p, q = [6], [4]
    r = q if coin() else p
    q = p if coin(0.3) else r
    r += [4]
    same = p
    p += [1, 2]
    return x * weighed(p, q, r, same)


def held_and_grown(m: Any, x: Tensor) -> Tensor:
    m.p, extra = [1 if coin() else 2], [5]
    p, entries = m.p, {"k": 1 if coin(0.3) else 2}
    same = entries
    if coin(0.6):
        extra.append(6)
    m.p += extra
    m.p *= 2
    entries |= {"j": 3}
    return x * (weighed(p, m.p, extra) + len(same) * same["k"])


def swapped(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q
    p[0], r[0] = r[1], p[1]
    return x * weighed(p, q, r)


def in_functions(m: Any, x: Tensor) -> Tensor:
    p, q = [1, 2], [3, 4]
    r = p if coin() else q

    def change(one: list[int], other: list[int]) -> None:
        one[0] = other[0] + 1
        other[1] = one[1] + 1

    change(r, p)
    return x * weighed(p, q, r)


def what_the_model_holds(m: Any, x: Tensor) -> Tensor:
    m.p, m.q = [2, 1], [4, 3]
    r = m.p if coin() else m.q
    r[0] = 5
    return x * weighed(m.p, m.q, r)


@pytest.mark.parametrize(
    "function",
    [
        *(one_of_two, a_source, two_that_may_be_one, one_of_one_of_two, one_of_two_in_a_branch, longer_and_shorter),
        *(read_in_the_same_expression, longer_ones_of_other_lists),
        *(of_different_lengths, in_an_expression, lists_of_lists, dictionaries, objects_with_tensors),
        *(
            the_first_that_ran,
            which_the_input_says,
            in_functions,
            grown_in_place,
            swapped,
            held_and_grown,
            what_the_model_holds,
        ),
    ],
)
def test_change_under_one_name_is_one_under_all(function: Function) -> None:
    model = Holder(function).eval()
    laws = [law_of_code(model, (x,), GRID) for x in (X, -X)]
    bundle = rr.export(model, (X,))
    for x, law in zip((X, -X), laws, strict=True):
        assert differences(law, law_of_file(bundle, (x,))) == []


def a_new_entry(m: Any, x: Tensor) -> Tensor:
    p, q = {"k": 1}, {"k": 2}
    r = p if coin() else q
    r["j"] = 5
    return x * (len(p) + 10 * len(q) + 100 * r["j"])


def a_set(m: Any, x: Tensor) -> Tensor:
    p, q = [{1}], [{2}]
    r = p if coin() else q
    r[0].add(3)
    return x * (len(p[0]) + 10 * len(q[0]))


def tensors_appended(m: Any, x: Tensor) -> Tensor:
    p, q = [x, m.a(x)], [m.b(x), x]
    r = p if coin() else q
    r.append(x * 3)
    return torch.stack(p).sum(0)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (a_new_entry, "a change of a dict that has other names too on some paths only"),
        (a_set, "one type and length of element 0 of the value"),
        (tensors_appended, "one of which an element that is computed is there on some paths only"),
    ],
)
def test_change_that_some_paths_alone_cannot_have_is_refused(function: Function, said: str) -> None:
    with pytest.raises(CaptureError, match=rf"^test_aliases\.py:\d+: expected .*{said}"):
        rr.export(Holder(function).eval(), (X,))
