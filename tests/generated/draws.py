"""Expressions of random programs: what they draw, ask of the input, and compute of tensors."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

BITS = 10.0  # of a program's paths: the oracle runs at most 2^10 of them on each input


class Expressions:
    """Writes expressions, and counts how many paths they make.

    Args:
        chance: decides what is written.
        grid: a uniform draw is compared with multiples of 1 / grid only.
    """

    def __init__(self, chance: random.Random, grid: int) -> None:
        self.chance, self.grid = chance, grid
        self.left = BITS
        self.times = 1  # that a statement can run, by the loops around it

    def one(self, values: Sequence[str]) -> str:
        """Returns one of the texts."""
        return self.chance.choice(list(values))

    def affords(self, bits: float) -> bool:
        """Whether a draw of so many bits stays within the paths of a program; they are spent if so."""
        if bits * self.times > self.left:
            return False
        self.left -= bits * self.times
        return True

    def share(self) -> str:
        """Returns a multiple of 1 / grid inside (0, 1)."""
        return repr(self.chance.randrange(1, self.grid) / self.grid)

    def uniform(self) -> str:
        """Returns a draw from [0, 1), to be paid for by the caller."""
        return self.one(
            (
                "random.random()",
                "random.random()",
                "torch.rand(())",
                "torch.rand(1)",
                "torch.rand(1).item()",
                "np.random.rand()",
                "np.random.random()",
                "random.uniform(0, 1)",
            )
        )

    def below(self, share: str) -> str:
        """Returns a condition that holds with this probability, which may be a variable; the caller pays."""
        if self.chance.random() < 0.5:
            return f"{self.uniform()} < {share}"
        return self.one(
            (
                f"torch.bernoulli(torch.tensor({share}))",
                f"torch.bernoulli(torch.tensor({share})).bool()",
                f"torch.bernoulli(torch.tensor([{share}])).item() == 1",
                f"bool(torch.bernoulli(torch.tensor({share})))",
                f"flip({share})",
                f"self.coin({share})",
                f"not random.random() >= {share}",
                f"random.choices((True, False), weights=({share}, 1 - {share}))[0]",
            )
        )

    def coin(self) -> str:
        """Returns a drawn condition, or one on the input where no draw is left."""
        kind = self.chance.random()
        if kind < 0.12:
            return self.gate()
        if kind < 0.7 and self.affords(math.log2(self.grid)):
            return self.below(self.share())
        if kind < 0.75 and self.affords(math.log2(self.grid)):
            low, high = sorted(self.chance.sample(range(1, self.grid), 2))
            return f"{low / self.grid} < {self.uniform()} < {high / self.grid}"
        count = self.chance.choice((2, 2, 3))
        if self.affords(math.log2(count)):
            return f"{self.draw_below(count)} {self.one(('==', '!=', '>='))} {self.chance.randrange(1, count)}"
        return self.gate()

    def draw_below(self, count: int) -> str:
        """Returns a whole number drawn below ``count``, to be paid for by the caller."""
        eighths = [8 - count + 1, *[1] * (count - 1)]
        self.chance.shuffle(eighths)
        weights = ", ".join(repr(w / 8) for w in eighths)
        forms = [
            f"random.randrange({count})",
            f"random.randint(0, {count - 1})",
            f"torch.randint(0, {count}, (1,)).item()",
            f"torch.randint({count}, ()).item()",
            f"np.random.randint({count})",
            f"random.choice([{', '.join(map(str, range(count)))}])",
            f"random.choice(range({count}))",
            f"random.choices(range({count}), weights=[{weights}])[0]",
            f"torch.multinomial(torch.tensor([{weights}]), 1).item()",
            f"np.random.choice({count}, p=[{weights}])",
            f"np.random.choice({count})",
            f"self.pick({count})",
        ]
        return self.one(forms)

    def number(self, count: int = 3) -> str:
        """Returns a whole number in 0..count-1, drawn where that is affordable."""
        kind = self.chance.random()
        if kind < 0.7 and self.affords(math.log2(count)):
            return self.draw_below(count)
        if kind < 0.8 and self.affords(2 * math.log2(count)):
            a, b = self.draw_below(count), self.draw_below(count)
            return self.one((f"max({a}, {b})", f"min({a}, {b})", f"abs({a} - {b})", f"({a} + {b}) % {count}"))
        if kind < 0.9 and self.affords(1):
            return f"(0 if {self.draw_below(2)} else {count - 1})"
        return str(self.chance.randrange(count))

    def gate(self) -> str:
        """Returns a condition on the input."""
        c = repr(round(self.chance.uniform(-0.6, 1.6), 3))
        return self.one(
            (
                f"x.mean() > {c}",
                f"x.mean().item() > {c}",
                f"self.a(x).sum() < {c}",
                f"self.b(x).mean().item() * 2 > {c}",
                f"bool(x[0, 0] > {c})",
                f"x.norm() > {c} + 1",
                f"abs(x.sum().item()) > {c}",
                f"self.gate(x, {c})",
                f"x.max() > {c}",
            )
        )

    def condition(self, depth: int = 1) -> str:
        """Returns a condition, perhaps of several."""
        kind = self.chance.random()
        if depth and kind < 0.25:
            left, right = self.condition(depth - 1), self.condition(depth - 1)
            return self.one((f"({left}) and ({right})", f"({left}) or ({right})"))
        if depth and kind < 0.33:
            return f"not ({self.condition(depth - 1)})"
        return self.coin()

    def layer(self) -> str:
        """Returns a layer, perhaps a drawn one."""
        kind = self.chance.random()
        if kind < 0.7:
            return self.one(("self.a", "self.b", "self.c", "self.layers[1]", 'self.ops["u"]', "self.layers[-1]"))
        if kind < 0.8:
            return f"self.layers[{self.number(3)}]"
        if kind < 0.9 and self.affords(1):
            return f'self.ops[{self.one(("random.choice", "np.random.choice"))}(["u", "v"])]'
        return f"[self.a, self.b, self.c][{self.number(3)}]"

    def tensor(self, of: str = "x") -> str:
        """Returns a tensor of the shape of ``of``, bounded where ``of`` is."""
        layer = self.layer()
        forms: list[Callable[[], str]] = [
            lambda: f"{layer}({of})",
            lambda: f"{of} + {layer}({of})",
            lambda: f"torch.tanh({layer}({of}))",
            lambda: f"F.relu({layer}({of})) - 0.1",
            lambda: f"self.mix({of}, {layer})",
            lambda: f"{of} * {round(self.chance.uniform(0.3, 1.2), 2)}",
            lambda: f"({layer}({of}) if {self.coin()} else {of})",
            lambda: f"{of}.flip(1) + 0.25",
            lambda: f"torch.where({of} > 0.1, {layer}({of}), {of})",
        ]
        return self.chance.choice(forms)()
