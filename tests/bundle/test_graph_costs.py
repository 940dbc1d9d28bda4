"""Costs that are counted in a graph, against what torch computes and reads on every path."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.bundle.expected_cost import expected_cost
from rr_export.bundle.graph_work import sizes_taken
from tests import nets


def nested() -> nn.Module:
    """Four sites; the second one encloses two, of which one encloses another."""
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Linear(8, 12), rr.LayerChoice(nn.Linear(12, 12), 0.9), nn.Linear(12, 8))
    inner = nn.Sequential(
        nn.Linear(8, 8), rr.OperationChoice({"deep": deep, "flat": nn.Linear(8, 8, bias=False)}, rr.Uniform(2))
    )
    wide = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
    three = rr.OperationChoice({"wide": wide, "same": nn.Identity(), "inner": inner}, rr.Categorical([0.2, 0.3, 0.5]))
    return nn.Sequential(rr.LayerChoice(nn.Linear(8, 8), 0.8), three, nn.Linear(8, 4)).eval()


class Elsewhere(nn.Module):
    """A site that is called in one branch of each of two others."""

    def __init__(self) -> None:
        super().__init__()
        site = rr.LayerChoice(nn.Linear(8, 8), 0.5)
        self.first, self.second = rr.LayerChoice(nn.Sequential(site), 0.5), rr.LayerChoice(nn.Sequential(site), 0.5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x))
        return result


class Counter:
    """What the linear layers of a model compute and read."""

    def __init__(self, model: nn.Module) -> None:
        self.flops, self.read = 0, set[Tensor]()
        self.layers = [module for module in model.modules() if isinstance(module, nn.Linear)]

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        hooks = [layer.register_forward_hook(self._count) for layer in self.layers]
        yield
        for hook in hooks:
            hook.remove()

    def _count(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        self.flops += 2 * output.numel() * layer.in_features
        self.read |= set(layer.parameters())

    def told(self, unit: str) -> int:
        parameters = sum(p.numel() for p in self.read)
        return {"flops": self.flops, "parameters": parameters, "bytes": 4 * parameters}[unit]


def path_costs_differ(bundle: rr.Bundle, model: nn.Module, costs: rr.Costs, unit: str, x: Tensor) -> bool:
    """Tells whether some path costs something else than what torch does on it."""
    for path in bundle.plan.paths():
        counter = Counter(model)
        with counter.counting(), rr.forced(model, path), torch.no_grad():
            model(x)
        if costs.of(path) != counter.told(unit):
            return True
    return False


@pytest.fixture(scope="module")
def small() -> tuple[rr.Bundle, nn.Module, Tensor]:
    model, x = nested(), torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    return rr.export(model, (x,), dynamic_shapes={"input": {0: "batch"}}), model, x


@pytest.mark.parametrize("unit", ["flops", "parameters", "bytes"])
def test_every_path_costs_what_torch_does_on_it(small: tuple[rr.Bundle, nn.Module, Tensor], unit: str) -> None:
    bundle, model, x = small
    costs = bundle.costs(unit, sizes={"batch": 5})
    assert not path_costs_differ(bundle, model, costs, unit, x)
    rows = [list(row) for row in costs.branches]
    rows[-1][-1] += 1
    sabotaged = rr.Costs(costs.unit, costs.base, tuple(map(tuple, rows)))
    assert path_costs_differ(bundle, model, sabotaged, unit, x)


def test_averages_agree_with_what_the_card_tells(small: tuple[rr.Bundle, nn.Module, Tensor]) -> None:
    bundle, _, _ = small
    told = expected_cost(bundle.model, bundle.plan, sizes_taken(bundle.manifest))
    assert bundle.costs("flops").expected(bundle.plan) == pytest.approx(told.flops_used, rel=1e-12)
    assert bundle.costs("parameters").expected(bundle.plan) == pytest.approx(told.parameters_used, rel=1e-12)


def test_a_site_that_is_called_twice_computes_twice() -> None:
    model, x = nets.everything(), nets.example()
    bundle = rr.export(model, (x,))
    costs = bundle.costs("flops")
    assert not path_costs_differ(bundle, model, costs, "flops", x)
    told = expected_cost(bundle.model, bundle.plan, sizes_taken(bundle.manifest))
    assert costs.expected(bundle.plan) == pytest.approx(told.flops_used, rel=1e-12)


def test_weights_of_two_sites_are_no_branch_s_own() -> None:
    bundle = rr.export(nets.everything(), (nets.example(),))
    with pytest.raises(
        ValueError, match=r"costs: expected parameters that the branch of one site decides on, got some"
    ):
        bundle.costs("parameters")


def test_a_site_inside_of_two_branches_reads_its_weights_once_and_computes_twice() -> None:
    torch.manual_seed(0)
    model, x = Elsewhere().eval(), torch.randn(2, 8)
    bundle = rr.export(model, (x,))
    assert not path_costs_differ(bundle, model, bundle.costs("parameters"), "parameters", x)
    with pytest.raises(ValueError, match=r"expected FLOPs that the branch of one site .* together, as where a site is"):
        bundle.costs("flops")


def test_what_is_no_unit_or_axis_is_refused(small: tuple[rr.Bundle, nn.Module, Tensor]) -> None:
    bundle, _, _ = small
    with pytest.raises(ValueError, match=r"costs: expected a unit among flops, parameters, bytes, got 'seconds'; take"):
        bundle.costs("seconds")
    with pytest.raises(ValueError, match=r"sizes: expected sizes of \['batch'\], got \['time'\]; drop them"):
        bundle.costs("flops", sizes={"time": 3})


def test_a_counted_cost_meets_a_budget(small: tuple[rr.Bundle, nn.Module, Tensor]) -> None:
    bundle, _, _ = small
    costs = bundle.costs("flops")
    fitted = rr.fit_budget(bundle.plan, costs, 0.4)
    law = bundle.with_profile("fast", fitted).profiles["fast"].law
    assert law is not None
    mean = sum(law.probability(path) * costs.of(path) for path in law.paths())
    assert mean / max(map(costs.of, law.paths())) == pytest.approx(0.4, rel=1e-5)
    assert np.isclose(costs.expected(law), mean, rtol=1e-12)
