"""Lists of which elements are there on some paths only: read, changed in every form, and joined."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.3, -0.2, 0.9, 0.1], [0.5, 0.4, -0.7, 0.8]])


class Lists(nn.Module):
    """The parts that the models share."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a = nn.Linear(4, 4)

    def pick(self) -> list[int]:
        picked = [1]
        if random.random() < 0.5:
            picked.append(2)
        return picked

    def add(self, held: list[int], p: float) -> None:
        if random.random() < p:
            held.append(2)


class MadeInOneBranch(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1]
        if random.random() < 0.5:
            own = [1]
            if random.random() < 0.5:
                own.append(2)
            held = own
        for k in held:
            x = x * 2 + k
        return x


class MadeInBoth(Lists):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            held = [1]
            if random.random() < 0.5:
                held.append(2)
        else:
            held = [3, 4, 5]
            if random.random() < 0.5:
                held.pop(1)
        for k in held:
            x = x * 2 + k
        return x


class Returned(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [4]
        if random.random() < 0.5:
            held = self.pick()
        return x + sum(held) + len(held) * 10


class Memories(Lists):
    """As x-transformers: a layer that is dropped leaves its entry to those after it."""

    def forward(self, x: Tensor) -> Tensor:
        memories: list[Tensor | None] = [None] * 2
        for _ in range(2):
            if random.random() < 0.3:
                continue
            memory = memories.pop(0) if memories else None
            x = self.a(x) if memory is None else x + memory
        return x


class TakenFromTheFront(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1, 2, 3]
        for _ in range(3):
            if random.random() < 0.3:
                continue
            x = x * 2 + held.pop(0)
        return x + len(held)


class TakenFromTheEnd(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1, 2]
        for _ in range(3):
            if random.random() < 0.3:
                continue
            x = x * 2 + (held.pop() if held else 7)
        return x + sum(held)


class OneEitherWay(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1, 2, 3, 4]
        if random.random() < 0.3:
            held.pop(0)
        else:
            held.pop()
        return x + held[0] * 10 + held[-1]


class Queue(Lists):
    def forward(self, x: Tensor) -> Tensor:
        todo = [self.a, nn.functional.relu, torch.tanh]
        while todo:
            step = todo.pop(0)
            if random.random() < 0.4:
                x = step(x)
            elif len(todo) > 1 and random.random() < 0.5:
                todo.pop()
        return x


class EveryChange(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [3, 1, 2]
        if random.random() < 0.3:
            held.append(4)
        if random.random() < 0.4:
            del held[0]
        held[0] = 5
        held.insert(1, 9)
        held.reverse()
        held.remove(5)
        held += [7]
        other = held.copy()
        held.sort()
        for k in held + other:
            x = x * 2 + k
        other.clear()
        return x + len(other) + held.index(9) * 100


class OtherNames(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1]
        if random.random() < 0.5:
            held.append(2)
        same, both = held, (held, 7)
        held.append(5)
        for k in same + both[0]:
            x = x * 2 + k
        return x


class OfAFunction(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = self.pick()
        self.add(held, 0.5)
        self.add(held, 0.3)
        for k in held:
            x = x * 2 + k
        return x


class ChangedAndRenamed(Lists):
    """A list that a branch changed has another name after it."""

    def forward(self, x: Tensor) -> Tensor:
        one, other = [1], [5]
        if random.random() < 0.5:
            one[0] = 2
            held = one
        else:
            held = other
        return x + held[0]


class Attribute(Lists):
    def forward(self, x: Tensor) -> Tensor:
        self.queue = [1, 2, 3]
        for _ in range(2):
            if random.random() < 0.5:
                self.queue.pop()
        for k in self.queue:
            x = x * 2 + k
        return x


class Filtered(Lists):
    def forward(self, x: Tensor) -> Tensor:
        kept = [i for i in range(3) if random.random() < 0.5]
        if kept:
            x = x + kept[0]
            kept.pop()
        else:
            kept = [4]
        for k in kept:
            x = x * 2 + k
        return x


class Nested(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1, 2, 3]
        if random.random() < 0.5:
            if random.random() < 0.3:
                held.pop(0)
            else:
                held.append(9)
        elif random.random() < 0.6:
            held.pop()
        return x + sum(held) + held[0] * 10


class Chain(Lists):
    """As g-mlp-pytorch drops layers in training."""

    def forward(self, x: Tensor) -> Tensor:
        dropped = torch.rand(3) > 0.7
        if all(dropped):
            dropped[random.randrange(3)] = False
        layers = [layer for layer, drop in zip([self.a, nn.Tanh(), self.a], dropped, strict=True) if not drop]
        return nn.Sequential(*layers)(x)  # type: ignore[no-any-return]


CASES = (
    *(MadeInOneBranch, MadeInBoth, Returned, Memories, TakenFromTheFront, TakenFromTheEnd, OneEitherWay, Queue),
    *(EveryChange, OtherNames, OfAFunction, ChangedAndRenamed, Attribute, Filtered, Nested, Chain),
)


@pytest.mark.parametrize("case", CASES)
def test_file_has_the_law_of_the_code(case: type[Lists]) -> None:
    model = case().eval()
    law = law_of_code(model, (X,))
    assert len(law) > 1
    assert differences(law, law_of_file(rr.export(model, (X,)), (X,))) == []


class Tensors(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [x, x + 1]
        if random.random() < 0.3:
            x = x + held.pop(0)
        return x + held[0]


class Empty(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1]
        if random.random() < 0.3:
            held.pop()
        return x + held.pop()


class Bound(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1]
        if random.random() < 0.3:
            held.append(2)
        take = held.pop
        return x + take()


class SortedWithTensors(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held: list[Any] = [1]
        if random.random() < 0.3:
            held.append(x.sum())
        held.sort()
        return x * len(held)


class Sorted(Lists):
    def forward(self, x: Tensor) -> Tensor:
        held = [1]
        if random.random() < 0.3:
            held.append(2)
        held.sort(key=lambda k: -k)
        return x + held[0]


@pytest.mark.parametrize(
    ("case", "got"),
    [
        (Tensors, "one of which an element that is computed is there on some paths only"),
        (
            Empty,
            r"one whose length varies, where .pop\(\) raises IndexError: pop from empty list; ask its length first",
        ),
        (Bound, "one whose length varies, used by .pop;"),
        (SortedWithTensors, r"one whose length varies, used by .sort\(\);"),
        (Sorted, r"one whose length varies, used by .sort\(\);"),
    ],
)
def test_what_cannot_be_one_list_is_refused_by_line(case: type[Lists], got: str) -> None:
    with pytest.raises(CaptureError, match=rf"test_ragged.py:\d+: expected .*, got {got}"):
        rr.export(case().eval(), (X,))
