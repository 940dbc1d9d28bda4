"""What the decisions leave behind: tuples, dicts, attributes, flags and counters."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tests.zoo.parts import WIDTH, case, example, linears


class TupleState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        state = (x, x * 2)
        if torch.rand(()) < 0.5:
            state = (self.up(state[0]), state[1])
        if torch.rand(()) < 0.5:
            h, c = state
            state = (h, self.down(c))
        h, c = state
        return h + c


class TupleOfLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, c = torch.zeros_like(x), torch.ones_like(x)
        for _ in range(2):
            if random.random() < 0.6:
                h, c = self.cell(x, (h, c))
            else:
                h, c = c, h + 1
        return h, c


class Point(NamedTuple):
    value: Tensor
    weight: Tensor


class NamedTupleState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        point = Point(x, x.abs())
        if torch.rand(()) < 0.5:
            point = point._replace(value=self.layer(point.value))
        return point.value * point.weight


class DictState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        state = {"hidden": x, "memory": x.cos()}
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                state = {"hidden": layer(state["hidden"]), "memory": state["hidden"]}
        return torch.cat([state["hidden"], state["memory"]], -1)


class DictEntryReplaced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        outputs = dict(inputs)
        if torch.rand(()) < 0.4:
            outputs["a"] = self.layer(outputs["a"])
        else:
            outputs["b"] = outputs["a"] - outputs["b"]
        return outputs


class AttributeMode(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mode = "train"
        self.fast, self.slow = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        self.mode = "fast" if torch.rand(()) < 0.6 else "slow"
        return self.apply_mode(x)

    def apply_mode(self, x: Tensor) -> Tensor:
        if self.mode == "fast":
            return self.fast(x)
        return self.slow(self.slow(x))


class AttributeTensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cached = torch.zeros(1)
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        self.cached = x
        if torch.rand(()) < 0.5:
            self.cached = self.layers[0](x)
        y = self.layers[1](x)
        return y + self.cached


class AttributeOfChild(nn.Module):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.skip = False
            self.layer = nn.Linear(WIDTH, WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return x if self.skip else self.layer(x)

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(self.Block() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            block.skip = random.random() < 0.3
        for block in self.blocks:
            x = block(x)
        return x


class ListInBoth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            y = self.layers[0](x)
            parts = [x, y]
        else:
            parts = [self.layers[1](x), x]
        return torch.cat(parts, -1)


class ListAppendedInBoth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        hidden = [x]
        for layer in self.layers:
            if random.random() < 0.5:
                hidden.append(layer(hidden[-1]))
            else:
                hidden.append(hidden[-1] + 1)
        return hidden


@dataclass
class Hidden:
    states: Tensor
    residual: Tensor
    skipped: int = 0


class DataclassState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = Hidden(x, torch.zeros_like(x))
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                hidden.residual = hidden.states
                hidden.states = layer(hidden.states)
            else:
                hidden.skipped += 1
        return hidden.states + hidden.residual * (1 + hidden.skipped)


class DataclassReplaced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        hidden = Hidden(states=x, residual=x * 3)
        if random.random() < 0.5:
            hidden = replace(hidden, states=self.layer(hidden.states))
        return hidden.states - hidden.residual


class SeveralOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head, self.aux = linears(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if torch.rand(()) < 0.5:
            x = self.layer(x)
            return self.head(x), self.aux(x)
        return self.head(x), x


class DictOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = linears(2)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        hidden = self.layer(x) if np.random.rand() < 0.5 else x
        logits = self.head(hidden)
        result = {"logits": logits}
        result["loss"] = (logits - labels[:, None]).square().mean()
        if torch.rand(()) < 0.5:
            result["hidden"] = hidden
        else:
            result["hidden"] = logits
        return result


class IntegerOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.arange(WIDTH)
        if torch.rand(()) < 0.5:
            x, order = self.layer(x), order.flip(0)
        return x, order[:2]


class Flag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)
        self.adapter = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        skipped = False
        if torch.rand(()) < 0.4:
            skipped = True
        else:
            x = self.layers[0](x)
        x = self.layers[1](x).tanh()
        if skipped:
            x = self.adapter(x)
        return x


class FlagOfLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        previous = True
        for layer in self.layers:
            # Never two skips in a row.
            if previous and random.random() < 0.5:
                previous = False
                continue
            x = layer(x)
            previous = True
        return x


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)
        self.rescue = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        skipped = 0
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                x = layer(x)
            else:
                skipped += 1
        if skipped >= 2:
            x = self.rescue(x)
        return x


class CounterAsNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        used, total = 0, torch.zeros_like(x)
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                used += 1
                total = total + layer(x)
        return total / max(used, 1)


class TwoFlags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        wide = deep = False
        if random.random() < 0.5:
            wide = True
            x = self.layers[0](x)
        if random.random() < 0.5:
            deep = True
            x = x + 1
        if wide and deep:
            x = self.layers[1](x)
        elif not (wide or deep):
            x = self.layers[2](x)
        return x


class Budget(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(4)

    # At most two layers run; when they have, no more coins are thrown.
    def forward(self, x: Tensor) -> Tensor:
        left = 2
        for layer in self.layers:
            if left > 0 and torch.rand(()) < 0.5:
                x = layer(x)
                left -= 1
        return x


class ModeString(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"a": nn.Linear(WIDTH, WIDTH), "b": nn.Linear(WIDTH, WIDTH)})

    def forward(self, x: Tensor) -> Tensor:
        mode = "none"
        r = random.random()
        if r < 0.3:
            mode = "a"
        elif r < 0.7:
            mode = "b"
        x = x.sin()
        if mode != "none":
            x = self.layers[mode](x)
        return x


# None on one side, and tested for it later.
class OptionalState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        residual = None
        if torch.rand(()) < 0.5:
            residual = self.layers[0](x)
        x = self.layers[1](x)
        if residual is not None:
            x = x + residual
        return x


def pair_of_inputs() -> dict[str, Tensor]:
    return {"a": example(), "b": example(shift=0.5)}


# None until a layer has run.
class LastOrNone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)
        self.__rate = 0.5

    def forward(self, x: Tensor) -> Tensor:
        last = None
        for layer in self.layers:
            if random.random() < self.__rate:
                last = layer(x)
        if last is None:
            last = x
        return last * 2


CASES = [
    case("state/last_or_none", LastOrNone, 4),
    case("state/tuple", TupleState, 4),
    case("state/tuple_of_layer", TupleOfLayer, 4),
    case("state/named_tuple", NamedTupleState, 2),
    case("state/dict", DictState, 4),
    case("state/dict_entry_replaced", DictEntryReplaced, 2, pair_of_inputs()),
    case("state/attribute_mode", AttributeMode, 2, default=True),
    case("state/attribute_tensor", AttributeTensor, 2),
    case("state/attribute_of_child", AttributeOfChild, 8),
    case("state/list_in_both", ListInBoth, 2),
    case("state/list_appended_in_both", ListAppendedInBoth, 4),
    case("state/dataclass", DataclassState, 4),
    case("state/dataclass_replaced", DataclassReplaced, 2),
    case("state/several_outputs", SeveralOutputs, 2),
    case("state/dict_outputs", DictOutputs, 4, example(), torch.tensor([0, 3])),
    case("state/integer_output", IntegerOutput, 2),
    case("state/flag", Flag, 2),
    case("state/flag_of_loop", FlagOfLoop, 5),
    case("state/counter", Counter, 8, default=True),
    case("state/counter_as_number", CounterAsNumber, 8),
    case("state/two_flags", TwoFlags, 4),
    case("state/budget", Budget, 11),
    case("state/mode_string", ModeString, 3),
    case("state/optional", OptionalState, 2),
]
