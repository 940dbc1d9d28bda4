"""What cannot be captured faithfully; the message names the line and what to do instead."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.parts import case, example, linears

calls = 0
skipped: list[str] = []
rng = np.random.default_rng(0)


class Layered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.other = linears(2)


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


class Scale(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * torch.rand(())


class ScaleInBranch(Layered):
    def forward(self, x: Tensor) -> Tensor:
        r = torch.rand(())
        if r < 0.5:
            x = self.layer(x) * r
        return x


class ScaleByPython(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * random.random()


class ScaleByNumpy(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + np.random.uniform(-1, 1)


class DrawReturned(Layered):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r = torch.rand(())
        return (self.layer(x) if r < 0.5 else x), r


class Noise(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x + 0.1 * torch.randn_like(x))


class Dropout(Layered):
    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.layer(x), 0.5, training=True)
        return x if torch.rand(()) < 0.5 else self.other(x)


class MaskOfElements(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (torch.rand_like(x) < 0.5)


# Another route for every row.
class PerRow(Layered):
    def forward(self, x: Tensor) -> Tensor:
        keep = torch.rand(len(x), 1) < 0.5
        return torch.where(keep, self.layer(x), x)


class PermutedRows(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[torch.randperm(len(x))])


class ShuffledLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        order = list(self.layers)
        random.shuffle(order)
        for layer in order:
            x = layer(x)
        return x


class SortedByDraw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in sorted(self.layers, key=lambda _: random.random()):
            x = layer(x)
        return x


class GumbelSoftmax(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        w = F.gumbel_softmax(self.alpha, hard=True)
        return w[0] * self.layer(x) + w[1] * self.other(x)


class TorchGenerator(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand((), generator=self.generator) < 0.5:
            x = self.layer(x)
        return x


class NumpyGenerator(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng()

    def forward(self, x: Tensor) -> Tensor:
        if self.rng.random() < 0.5:
            x = self.layer(x)
        return x


class NumpyGeneratorOfFile(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return [self.layer, self.other][rng.integers(2)](x)


class PythonGenerator(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(0)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if self.random.random() < 0.5 else self.other(x)


class SystemGenerator(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if random.SystemRandom().random() < 0.5 else self.other(x)


class SeedsItself(Layered):
    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return self.layer(x) if torch.rand(()) < 0.5 else self.other(x)


class OsRandom(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if os.urandom(1)[0] < 128 else self.other(x)


class Secrets(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return [self.layer, self.other][secrets.randbelow(2)](x)


class Uuid(Layered):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if uuid.uuid4().int % 2 else self.other(x)


class Unbounded(Layered):
    def forward(self, x: Tensor) -> Tensor:
        while torch.rand(()) < 0.9:
            x = self.layer(x).tanh()
        return x


class UnboundedBreak(Layered):
    def forward(self, x: Tensor) -> Tensor:
        for _ in itertools.count():
            x = self.layer(x).tanh()
            if random.random() < 0.5:
                break
        return x


class UnboundedGate(Layered):
    def forward(self, x: Tensor) -> Tensor:
        while x.norm() > 1:
            x = 0.5 * self.layer(x)
        return x


class UnboundedRecursion(Layered):
    def again(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            return x
        return self.again(self.layer(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.again(x)


_made: dict[str, Any] = {"torch": torch}
exec("def coin(p):\n    if torch.rand(()) < p:\n        return True\n    return False\n", _made)


class NoSource(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if _made["coin"](0.5):
            x = self.layer(x)
        return x


class ProbabilityOfInput(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if torch.bernoulli(torch.sigmoid(self.other(x)).mean()):
            x = self.layer(x)
        return x


class ThresholdOfInput(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < x.mean().sigmoid().item():
            x = self.layer(x)
        return x


class LogitsOfInput(Layered):
    def forward(self, x: Tensor) -> Tensor:
        logits = self.other(x).mean(0)[:2]
        k = torch.distributions.Categorical(logits=logits).sample().item()
        return [self.layer, self.other][k](x)


# The third law depends on both coins before it, each combination another.
class TwoEarlier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(3)

    def forward(self, x: Tensor) -> Tensor:
        a = int(random.random() < 0.5)
        if a:
            x = self.layers[0](x)
        b = int(random.random() < 0.5)
        if b:
            x = self.layers[1](x)
        if random.random() < 0.1 + 0.5 * a + 0.3 * b:
            x = self.layers[2](x)
        return x


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


class ProbabilityWritten(Layered):
    def forward(self, x: Tensor) -> Tensor:
        notes = torch.zeros(2)
        notes[0] = x.mean().sigmoid()
        return self.layer(x) if random.random() < notes[0] else x


class NumbersOfInput(Layered):
    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x) if random.random() < 0.5 else x
        return self.other(x) if sum(x.flatten().tolist()) > 0 else x


class EqualInputs(Layered):
    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x) if random.random() < 0.5 else x
        return self.other(x) if torch.equal(x, x.abs()) else x


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


class DrawsIntoAttribute(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.coin = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.coin.bernoulli_(0.5)
        return self.layer(x) if self.coin > 0 else x


class Raises(Layered):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.01:
            raise RuntimeError("unlucky")
        return self.layer(x)


class Asserts(Layered):
    def forward(self, x: Tensor) -> Tensor:
        r = random.randint(0, 5)
        assert r < 5, "unlucky"
        return self.layer(x) if r < 2 else self.other(x)


HERE = r"refused\.py:\d+.*"
TYPE = HERE + r"\btype"
SHAPE = HERE + r"\bshape"
EFFECT = HERE + r"side effect"
NUMBER = HERE + r"\bnumber"
GENERATOR = HERE + r"\bgenerator"
SOURCE = HERE + r"\bsource"
BOUND = HERE + r"bound"
INPUT = HERE + r"\binput"

CASES = [
    case("refused/other_dtype", OtherDtype, 0, refuses=HERE + r"\bdtype"),
    case("refused/other_shape", OtherShape, 0, refuses=SHAPE, default=True),
    case("refused/other_rank", OtherRank, 0, refuses=SHAPE),
    case("refused/shape_drawn", ShapeDrawn, 0, refuses=SHAPE),
    case("refused/other_type", OtherType, 0, refuses=TYPE),
    case("refused/number_or_tensor", NumberOrTensor, 0, refuses=TYPE),
    case("refused/tuple_or_tensor", TupleOrTensor, 0, refuses=TYPE),
    case("refused/appended_in_one", AppendedInOne, 0, refuses=HERE + r"a list .* longer"),
    case("refused/key_in_one", KeyInOne, 0, refuses=HERE + r"entry 'aux'"),
    case("refused/flag_returned", FlagReturned, 0, refuses=HERE + r"\b(type|tensor|number)"),
    case("refused/prints", Prints, 0, refuses=EFFECT, default=True),
    case("refused/counts_globally", CountsGlobally, 0, refuses=EFFECT),
    case("refused/logs_globally", LogsGlobally, 0, refuses=EFFECT),
    case("refused/counts_on_self", CountsOnSelf, 0, refuses=EFFECT),
    case("refused/counts_in_buffer", CountsInBuffer, 0, refuses=HERE + r"(side effect|in.place)"),
    case("refused/changes_input", ChangesInput, 0, refuses=HERE + r"(\binput|in.place)"),
    case("refused/assigns_to_input", AssignsToInput, 0, refuses=HERE + r"(\binput|in.place)"),
    case("refused/changes_shared", ChangesShared, 0, refuses=HERE + r"(side effect|in.place)"),
    case("refused/scale", Scale, 0, refuses=NUMBER, default=True),
    case("refused/scale_in_branch", ScaleInBranch, 0, refuses=NUMBER),
    case("refused/scale_by_python", ScaleByPython, 0, refuses=NUMBER),
    case("refused/scale_by_numpy", ScaleByNumpy, 0, refuses=NUMBER),
    case("refused/draw_returned", DrawReturned, 0, refuses=NUMBER),
    case("refused/noise", Noise, 0, refuses=NUMBER),
    case("refused/dropout", Dropout, 0, refuses=HERE + r"\b(number|dropout)"),
    case("refused/mask_of_elements", MaskOfElements, 0, refuses=NUMBER),
    case("refused/per_row", PerRow, 0, refuses=HERE + r"\b(number|row)"),
    case("refused/permuted_rows", PermutedRows, 0, refuses=HERE + r"\b(number|permutation)"),
    case("refused/shuffled_layers", ShuffledLayers, 0, refuses=HERE + r"\b(number|permutation|shuffle|order)"),
    case("refused/sorted_by_draw", SortedByDraw, 0, refuses=HERE + r"\b(number|order|sort|condition|converted)"),
    case("refused/gumbel_softmax", GumbelSoftmax, 0, refuses=NUMBER),
    case("refused/torch_generator", TorchGenerator, 0, refuses=GENERATOR, default=True),
    case("refused/numpy_generator", NumpyGenerator, 0, refuses=GENERATOR),
    case("refused/numpy_generator_of_file", NumpyGeneratorOfFile, 0, refuses=GENERATOR),
    case("refused/python_generator", PythonGenerator, 0, refuses=GENERATOR),
    case("refused/system_generator", SystemGenerator, 0, refuses=HERE + r"\b(generator|source)"),
    case("refused/seeds_itself", SeedsItself, 0, refuses=HERE + r"(\bseed|\bgenerator|side effect)"),
    case("refused/os_random", OsRandom, 0, refuses=HERE + r"\b(source|urandom)"),
    case("refused/secrets", Secrets, 0, refuses=HERE + r"\b(source|secrets)"),
    case("refused/uuid", Uuid, 0, refuses=HERE + r"\b(source|uuid)"),
    case("refused/unbounded", Unbounded, 0, refuses=BOUND, default=True),
    case("refused/unbounded_break", UnboundedBreak, 0, refuses=BOUND),
    case("refused/unbounded_gate", UnboundedGate, 0, example(shift=3.0), refuses=BOUND),
    case("refused/unbounded_recursion", UnboundedRecursion, 0, refuses=HERE + r"(bound|recursion)"),
    case("refused/no_source", NoSource, 0, refuses=r"\bsource", default=True),
    case("refused/probability_of_input", ProbabilityOfInput, 0, refuses=INPUT),
    case("refused/threshold_of_input", ThresholdOfInput, 0, refuses=INPUT),
    case("refused/logits_of_input", LogitsOfInput, 0, refuses=INPUT),
    case("refused/two_earlier", TwoEarlier, 0, refuses=HERE + r"\b(chain|two|earlier)"),
    case("refused/defined_in_one", DefinedInOne, 0, refuses=HERE + r"'y' to be set on every path"),
    case("refused/yields_tensors", YieldsTensors, 0, refuses=HERE + r"\ba list whose length"),
    case("refused/list_consumed", ListConsumed, 0, refuses=HERE + r"a list .* longer"),
    case("refused/probability_written", ProbabilityWritten, 0, refuses=INPUT),
    case("refused/numbers_of_input", NumbersOfInput, 0, refuses=HERE + r"\.tolist\(\).*\binput"),
    case("refused/equal_inputs", EqualInputs, 0, refuses=HERE + r"torch\.equal\(\).*\binput"),
    case("refused/counts_always", CountsAlways, 0, refuses=r"side effect.*'step'"),
    case("refused/logs_always", LogsAlways, 0, refuses=r"side effect.*self\.log"),
    case("refused/draws_into_attribute", DrawsIntoAttribute, 0, refuses=HERE + r"others hold too"),
    case("refused/raises", Raises, 0, refuses=HERE + r"\brais"),
    case("refused/asserts", Asserts, 0, refuses=HERE + r"\b(assert|rais)"),
]
