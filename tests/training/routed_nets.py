"""A small model whose plan has a chain and a site in a site, and the exact gradient of its expected loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import rr_export as rr


class Net(nn.Module):
    """A chain of two operations, then a layer that holds another; all probabilities are learned."""

    def __init__(self) -> None:
        super().__init__()
        chain = rr.LearnedMarkov([2, 3])
        bent = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        self.a = rr.OperationChoice([nn.Linear(3, 3), nn.Identity()], chain.step(0))
        self.b = rr.OperationChoice([nn.Linear(3, 3), bent, nn.Identity()], chain.step(1))
        self.inner = rr.LayerChoice(nn.Linear(3, 3), policy=rr.Learned(2))
        self.c = rr.LayerChoice(nn.Sequential(nn.Linear(3, 3), self.inner, nn.Tanh()), policy=rr.Learned(2))
        del self.inner  # it is a site of the layer of c

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.c(self.b(self.a(x)))
        return result


def net(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    model = Net()
    for logits in logits_of(model):
        nn.init.normal_(logits)
    rr.plan_of(model)
    return model


def logits_of(model: Net) -> list[nn.Parameter]:
    return [model.a.law.logits, model.b.law.logits, model.c.law.logits, model.c.layer[1].law.logits]


def log_p(model: Net, path: tuple[int, ...]) -> Tensor:
    """The logarithm of a path's probability, written down for this model alone; path in the order of its sites."""
    a, b, c, inner = (torch.log_softmax(logits.double(), -1) for logits in logits_of(model))
    names = [site.name for site in rr.plan_of(model).sites]
    route = dict(zip(names, path, strict=True))
    total = a[0, route["a"]] + b[route["a"], route["b"]] + c[0, route["c"]]
    return total + inner[0, route["c.layer.1"]] if route["c.layer.1"] >= 0 else total


def loss_of(model: Net) -> Tensor:
    random = torch.Generator().manual_seed(9)
    x, y = torch.randn(2, 5, 3, generator=random)
    return ((model(x) - y) ** 2).mean()


def flat(model: Net, total: Tensor) -> Tensor:
    """The gradient of all logits in one row."""
    logits = logits_of(model)
    found = torch.autograd.grad(total, logits, allow_unused=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(logits, found, strict=True)])


def exact_gradient(model: Net) -> Tensor:
    """``d sum over p of P(p) L(p)``, over all paths."""
    total = torch.zeros((), dtype=torch.float64)
    for path in rr.plan_of(model).paths():
        with torch.no_grad(), rr.forced(model, path):
            loss = loss_of(model)
        total = total + log_p(model, path).exp() * loss
    return flat(model, total)
