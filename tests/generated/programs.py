"""Random programs: modules whose ``forward`` draws, branches and loops in many ways; a seed writes the same one."""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass

from tests.generated.draws import Expressions
from tests.generated.statements import write_body

HEAD = '''"""Random program {seed}."""

import dataclasses
import functools
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class Box:
    p: float = 0.5
    k: int = 0
    kept: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Slots:
    p: float = 0.5


class Stop(Exception):
    pass


def flip(p):
    return random.random() < p


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.ops = nn.ModuleDict({{"u": nn.Linear(4, 4), "v": nn.Linear(4, 4)}})

    def coin(self, p):
        if torch.rand(()) < p:
            return True
        return False

    def pick(self, n):
        return random.randrange(n)

    def gate(self, x, c):
        return self.c(x).abs().mean() > c

    def mix(self, x, layer, scale=0.5):
        return x * scale + layer(x) * (1 - scale)

    def deep(self, x, depth, p):
        if depth == 0 or random.random() < p:
            return x
        return self.deep(self.a(x) + 0.1, depth - 1, p)

    def forward(self, x):
'''


@dataclass(frozen=True)
class Program:
    """A random program.

    Args:
        seed: it writes this program.
        grid: its uniform draws are compared with multiples of 1 / grid only.
        source: a module of Python with a class ``Net``, whose forward takes a float32 [2, 4].
    """

    seed: int
    grid: int
    source: str


def write_program(seed: int) -> Program:
    """Returns the program of a seed."""
    chance = random.Random(f"program {seed}")
    grid = chance.choice((4, 4, 5, 10))
    lines = write_body(Expressions(chance, grid), chance)
    return Program(seed, grid, HEAD.format(seed=seed) + textwrap.indent("\n".join(lines), " " * 8) + "\n")
