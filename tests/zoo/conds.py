"""``torch.cond`` written by the user, alone, next to sites and next to Python draws.

It is a gate, as any condition on the input: its sides may return what they were given, and make tensors of their own.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

import rr_export as rr
from tests.zoo.parts import WIDTH, case, example, linears


class CondBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = linears(2)

    def forward(self, x: Tensor) -> Tensor:
        def true_fn(x: Tensor) -> Tensor:
            return self.large(x).relu() + 1

        def false_fn(x: Tensor) -> Tensor:
            return self.small(x)

        return torch.cond(x.sum() > 0, true_fn, false_fn, (x,))


class CondLambdas(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.mean() > 0, lambda t: t.sin(), lambda t: t.cos() - 2, [x]) + 1


class CondMethods(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = linears(2)

    def hot(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.layers[0](x), y + 1

    def cold(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, self.layers[1](y)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cond((x > y).any(), self.hot, self.cold, (x, y))


class CondNested(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        def inner(x: Tensor) -> Tensor:
            return torch.cond(x.max() > 1, lambda t: t / 2, lambda t: t * 3, (x,))

        return torch.cond(x.sum() > 0, inner, lambda t: -t, (x,))


class CondPassesOn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda t: t, lambda t: self.layer(t) * torch.arange(WIDTH), (x,))


class TwoConds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = CondBlock(), CondBlock()

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class CondAndLayerChoice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cond = CondBlock()
        self.site = rr.LayerChoice(nn.Linear(WIDTH, WIDTH), keep=0.6)

    def forward(self, x: Tensor) -> Tensor:
        return self.site(self.cond(x))


class CondAfterOperationChoice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        ops = {"linear": nn.Linear(WIDTH, WIDTH), "tanh": nn.Tanh(), "same": nn.Identity()}
        self.site = rr.OperationChoice(ops, rr.Categorical([0.5, 0.3, 0.2]))
        self.cond = CondBlock()

    def forward(self, x: Tensor) -> Tensor:
        return self.cond(self.site(x))


class CondInSite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = rr.OperationChoice([CondBlock(), nn.Linear(WIDTH, WIDTH)], rr.Uniform(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.site(x) * 2


class CondAndDraw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cond, self.layer = CondBlock(), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.layer(x)
        return self.cond(x)


class CondInBranch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cond, self.layer = CondBlock(), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.5:
            return self.cond(x)
        return self.layer(x)


class CondInLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CondBlock() for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            if torch.rand(()) < 0.3:
                break
            x = block(x)
        return x


class CondSiteAndDraw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.site = rr.LayerChoice(nn.Linear(WIDTH, WIDTH), keep=0.7)
        self.cond = CondBlock()

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.5:
            x = self.site(x) + 1
        return self.cond(x)


class SiteAndDraw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sites = nn.ModuleList(rr.LayerChoice(nn.Linear(WIDTH, WIDTH), keep=0.5) for _ in range(2))
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for site in self.sites:
            x = site(x)
        return self.layer(x) if random.random() < 0.5 else x


# The draw is the predicate itself.
class CondOnDraw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(torch.rand(()) < 0.4, lambda t: self.layer(t), lambda t: t - 1, (x,))


POSITIVE, NEGATIVE = example(shift=3.0), example(shift=-3.0)

CASES = [
    case("conds/block", CondBlock, 1, POSITIVE, gates=1),
    case("conds/block_closed", CondBlock, 1, NEGATIVE, gates=1),
    case("conds/lambdas", CondLambdas, 1, NEGATIVE, gates=1),
    case("conds/methods", CondMethods, 1, POSITIVE, NEGATIVE, gates=1),
    case("conds/nested", CondNested, 1, POSITIVE, gates=2),
    case("conds/passes_on", CondPassesOn, 1, NEGATIVE, gates=1),
    case("conds/two", TwoConds, 1, POSITIVE, gates=2),
    case("conds/and_layer_choice", CondAndLayerChoice, 2, POSITIVE, gates=1),
    case("conds/after_operation_choice", CondAfterOperationChoice, 3, POSITIVE, gates=1),
    case("conds/in_site", CondInSite, 2, NEGATIVE, gates=1),
    case("conds/and_draw", CondAndDraw, 2, POSITIVE, gates=1),
    case("conds/in_branch", CondInBranch, 2, POSITIVE, gates=1),
    case("conds/in_loop", CondInLoop, 4, POSITIVE, gates=3),
    case("conds/site_and_draw", CondSiteAndDraw, 3, POSITIVE, gates=1),
    case("conds/no_cond", SiteAndDraw, 8),
    case("conds/on_draw", CondOnDraw, 2),
]
