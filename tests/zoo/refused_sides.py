"""Refused: sides of a decision that cannot be joined, and what they leave behind; the message names the line."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.parts import Layered, case, linears

calls = 0


skipped: list[str] = []


class OtherDtype(Layered):
    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if torch.rand(()) < 0.5:
            y = y.double()
        return y.sin()


class OtherShape(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.layer(x).mean(0, keepdim=True)
        return x + 0.0


class OtherRank(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if random.random() < 0.5 else self.other(x).sum(-1)


# The number of columns is drawn.
class ShapeDrawn(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[:, : torch.randint(1, 4, ()).item()]


class OtherType(Layered):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        aux = None
        if torch.rand(()) < 0.5:
            aux = self.other(x)
        return self.layer(x), aux


class NumberOrTensor(Layered):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        penalty = 0.0 if torch.rand(()) < 0.5 else self.other(x).sum()
        return self.layer(x), penalty


class TupleOrTensor(Layered):
    def forward(self, x: Tensor) -> Any:
        if random.random() < 0.5:
            return self.layer(x), x
        return self.layer(x)


class AppendedInOne(Layered):
    def forward(self, x: Tensor) -> list[Tensor]:
        hidden = [x]
        if torch.rand(()) < 0.5:
            x = self.layer(x)
            hidden.append(x)
        return hidden


class KeyInOne(Layered):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs = {"logits": self.layer(x)}
        if torch.rand(()) < 0.5:
            outputs["aux"] = self.other(x)
        return outputs


class FlagReturned(Layered):
    def forward(self, x: Tensor) -> tuple[Tensor, bool]:
        kept = False
        if torch.rand(()) < 0.5:
            x, kept = self.layer(x), True
        return x, kept


class Prints(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            print("layer skipped")
        else:
            x = self.layer(x)
        return x


class CountsGlobally(Layered):
    def forward(self, x: Tensor) -> Tensor:
        global calls
        if torch.rand(()) < 0.5:
            calls += 1
            x = self.layer(x)
        return x


class LogsGlobally(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            skipped.append("layer")
            return x
        return self.layer(x)


# The number of calls lives on from run to run.
class CountsOnSelf(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            self.calls += 1
            x = self.layer(x)
        return x


class CountsInBuffer(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            self.seen += 1
            x = self.layer(x)
        return x


class ChangesInput(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x.mul_(2)
        return self.layer(x)


class AssignsToInput(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            x[:, 0] = 0
        return self.layer(x)


# Not the input, but what both sides share.
class ChangesShared(Layered):
    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        z = y.t()
        if torch.rand(()) < 0.5:
            y += 1
        return z.sin()


class DefinedInOne(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            y = self.layer(x)
        return y + x


# What is yielded is computed in a branch: how many there are depends on the draws.
class YieldsTensors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def kept(self, x: Tensor) -> Iterator[Tensor]:
        for layer in self.layers:
            if torch.rand(()) < 0.7:
                yield layer(x)

    def forward(self, x: Tensor) -> Tensor:
        for y in self.kept(x):
            x = x + y
        return x


# The list has another length on every path, though it does not leave the model.
class ListConsumed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                seen.append(layer(x))
        return torch.stack(seen).sum(0)


class CountsAlways(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("step", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.step += 1
        return self.layer(x) if random.random() < 0.5 else x


class LogsAlways(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.log.append(1)
        return self.layer(x) if random.random() < 0.5 and len(self.log) < 40 else x


HERE = r"refused_sides\.py:\d+.*"


TYPE = HERE + r"\btype"


SHAPE = HERE + r"\bshape"


EFFECT = HERE + r"side effect"


CASES = [
    case("refused_sides/other_dtype", OtherDtype, 0, refuses=HERE + r"\bdtype"),
    case("refused_sides/other_shape", OtherShape, 0, refuses=SHAPE, default=True),
    case("refused_sides/other_rank", OtherRank, 0, refuses=SHAPE),
    case("refused_sides/shape_drawn", ShapeDrawn, 0, refuses=SHAPE),
    case("refused_sides/other_type", OtherType, 0, refuses=TYPE),
    case("refused_sides/number_or_tensor", NumberOrTensor, 0, refuses=TYPE),
    case("refused_sides/tuple_or_tensor", TupleOrTensor, 0, refuses=TYPE),
    case(
        "refused_sides/appended_in_one",
        AppendedInOne,
        0,
        refuses=HERE + "a list of the same values",
    ),
    case("refused_sides/key_in_one", KeyInOne, 0, refuses=HERE + r"entry 'aux'"),
    case("refused_sides/flag_returned", FlagReturned, 0, refuses=HERE + r"\b(type|tensor|number)"),
    case("refused_sides/prints", Prints, 0, refuses=EFFECT, default=True),
    case("refused_sides/counts_globally", CountsGlobally, 0, refuses=EFFECT),
    case("refused_sides/logs_globally", LogsGlobally, 0, refuses=EFFECT),
    case("refused_sides/counts_on_self", CountsOnSelf, 0, refuses=EFFECT),
    case("refused_sides/counts_in_buffer", CountsInBuffer, 0, refuses=HERE + r"(side effect|in.place)"),
    case("refused_sides/changes_input", ChangesInput, 0, refuses=HERE + r"(\binput|in.place)"),
    case("refused_sides/assigns_to_input", AssignsToInput, 0, refuses=HERE + r"(\binput|in.place)"),
    case("refused_sides/changes_shared", ChangesShared, 0, refuses=HERE + r"(side effect|in.place)"),
    case("refused_sides/defined_in_one", DefinedInOne, 0, refuses=HERE + r"'y' to be set on every path"),
    case("refused_sides/yields_tensors", YieldsTensors, 0, refuses=HERE + r"\ba list whose length"),
    case(
        "refused_sides/list_consumed",
        ListConsumed,
        0,
        refuses=HERE + "a list of the same values",
    ),
    case("refused_sides/counts_always", CountsAlways, 0, refuses=r"side effect.*'step'"),
    case("refused_sides/logs_always", LogsAlways, 0, refuses=r"side effect.*self\.log"),
]
