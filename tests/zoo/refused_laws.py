"""Refused: paths without a bound, and laws that no file can hold; the message names the line."""

from __future__ import annotations

import itertools
import random
from typing import Any

import torch
from torch import Tensor, nn

from tests.zoo.parts import Layered, case, example, linears


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


class ProbabilityWritten(Layered):
    def forward(self, x: Tensor) -> Tensor:
        notes = torch.zeros(2)
        notes[0] = x.mean().sigmoid()
        return self.layer(x) if random.random() < notes[0] else x


class NumbersOfInput(Layered):
    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x) if random.random() < 0.5 else x
        return self.other(x) if sum(x.flatten().tolist()) > 0 else x


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


HERE = r"refused_laws\.py:\d+.*"


BOUND = HERE + r"bound"


INPUT = HERE + r"\binput"


CASES = [
    case("refused_laws/unbounded", Unbounded, 0, refuses=BOUND, default=True),
    case("refused_laws/unbounded_break", UnboundedBreak, 0, refuses=BOUND),
    case("refused_laws/unbounded_gate", UnboundedGate, 0, example(shift=3.0), refuses=BOUND),
    case("refused_laws/unbounded_recursion", UnboundedRecursion, 0, refuses=HERE + r"(bound|recursion)"),
    case("refused_laws/no_source", NoSource, 0, refuses=r"\bsource", default=True),
    case("refused_laws/probability_of_input", ProbabilityOfInput, 0, refuses=INPUT),
    case("refused_laws/threshold_of_input", ThresholdOfInput, 0, refuses=INPUT),
    case("refused_laws/logits_of_input", LogitsOfInput, 0, refuses=INPUT),
    case("refused_laws/two_earlier", TwoEarlier, 0, refuses=HERE + r"\b(chain|two|earlier)"),
    case("refused_laws/probability_written", ProbabilityWritten, 0, refuses=INPUT),
    case("refused_laws/numbers_of_input", NumbersOfInput, 0, refuses=HERE + r"\.tolist\(\).*\binput"),
    case("refused_laws/raises", Raises, 0, refuses=HERE + r"\brais"),
    case("refused_laws/asserts", Asserts, 0, refuses=HERE + r"\b(assert|rais)"),
]
