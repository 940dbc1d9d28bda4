"""Refused: draws that decide nothing, and generators whose draws are not seen; the message names the line."""

from __future__ import annotations

import os
import random
import secrets
import uuid

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.parts import Layered, case, linears

rng = np.random.default_rng(0)


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
        return self.layer(x.flatten()[torch.randperm(x.numel())].view_as(x))


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


class DrawsIntoAttribute(Layered):
    def __init__(self) -> None:
        super().__init__()
        self.coin = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.coin.bernoulli_(0.5)
        return self.layer(x) if self.coin > 0 else x


HERE = r"refused_draws\.py:\d+.*"


NUMBER = HERE + r"\bnumber"


GENERATOR = HERE + r"\bgenerator"


SOURCE = HERE + r"\bsource"


CASES = [
    case("refused_draws/scale", Scale, 0, refuses=NUMBER, default=True),
    case("refused_draws/scale_in_branch", ScaleInBranch, 0, refuses=NUMBER),
    case("refused_draws/scale_by_python", ScaleByPython, 0, refuses=NUMBER),
    case("refused_draws/scale_by_numpy", ScaleByNumpy, 0, refuses=NUMBER),
    case("refused_draws/draw_returned", DrawReturned, 0, refuses=NUMBER),
    case("refused_draws/noise", Noise, 0, refuses=NUMBER),
    case("refused_draws/dropout", Dropout, 0, refuses=HERE + r"\b(number|dropout)"),
    case("refused_draws/mask_of_elements", MaskOfElements, 0, refuses=NUMBER),
    case("refused_draws/per_row", PerRow, 0, refuses=HERE + r"\b(number|row)"),
    case("refused_draws/permuted_rows", PermutedRows, 0, refuses=HERE + r"at most 128 outcomes"),
    case("refused_draws/sorted_by_draw", SortedByDraw, 0, refuses=HERE + r"\b(number|order|sort|condition|converted)"),
    case("refused_draws/gumbel_softmax", GumbelSoftmax, 0, refuses=NUMBER),
    case("refused_draws/torch_generator", TorchGenerator, 0, refuses=GENERATOR, default=True),
    case("refused_draws/numpy_generator", NumpyGenerator, 0, refuses=GENERATOR),
    case("refused_draws/numpy_generator_of_file", NumpyGeneratorOfFile, 0, refuses=GENERATOR),
    case("refused_draws/python_generator", PythonGenerator, 0, refuses=GENERATOR),
    case("refused_draws/system_generator", SystemGenerator, 0, refuses=HERE + r"\b(generator|source)"),
    case("refused_draws/seeds_itself", SeedsItself, 0, refuses=HERE + r"(\bseed|\bgenerator|side effect)"),
    case("refused_draws/os_random", OsRandom, 0, refuses=HERE + r"\b(source|urandom)"),
    case("refused_draws/secrets", Secrets, 0, refuses=HERE + r"\b(source|secrets)"),
    case("refused_draws/uuid", Uuid, 0, refuses=HERE + r"\b(source|uuid)"),
    case("refused_draws/draws_into_attribute", DrawsIntoAttribute, 0, refuses=HERE + r"others hold too"),
]
