"""Gates, eagerly: the law of their routes, what they refuse, and what is kept of them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.errors import PlanError, RunError
from rr_runtime.draws import draws
from tests import nets

X = torch.randn(4, nets.WIDTH, generator=torch.Generator().manual_seed(1))


class Given(nn.Module):
    """Logits that are told."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


def site(*logits: float, decision: str = "sample") -> nn.Module:
    """A site that adds 0, 1, 2, ..."""
    branches = [nets.Mlp(float(k)) for k in range(len(logits))]
    return rr.OperationChoice(branches, rr.Gate(Given(*logits), len(logits), decision=decision))


def test_a_seed_draws_by_the_probabilities() -> None:
    logits = (0.3, -1.0, 2.0, 0.0)
    model = site(*logits)
    cumulated = np.cumsum(np.exp(logits) / np.exp(logits).sum())[:-1]
    for seed in range(300):
        with rr.seeded(model, seed) as record:
            model(X)
        assert record.path.tolist() == [int((cumulated <= draws(seed, 1)[0]).sum())]


def test_free_runs_have_the_law() -> None:
    model, runs = site(0.0, 1.0), 4000
    torch.manual_seed(0)
    with rr.recorded(model) as record, torch.no_grad():
        for _ in range(runs):
            model(X)
    share = np.mean([path[0] for path in record.paths])
    bound = np.sqrt(np.log(2 / 1e-6) / (2 * runs))  # Hoeffding 1963: a sound gate fails once in a million
    assert abs(share - 1 / (1 + np.exp(-1.0))) < bound


def test_argmax_takes_the_likeliest_and_of_equal_ones_the_first() -> None:
    for logits, route in (((0.0, 2.0, 1.0), 1), ((1.0, 1.0), 0), ((-1.0, -3.0), 0), ((0.0,), 0)):
        model = site(*logits, decision="argmax")
        for seed in range(5):
            with rr.seeded(model, seed) as record:
                model(X)
            assert record.path.tolist() == [route]


def test_a_branch_without_probability_is_never_taken() -> None:
    for logits in ((-torch.inf, 0.0), (0.0, -torch.inf), (0.0, -torch.inf, 0.0)):
        model = site(*logits)
        for seed in range(50):
            with rr.seeded(model, seed) as record:
                model(X)
            assert np.isfinite(logits[record.path[0]])


def test_a_forced_route_is_taken_and_the_logits_are_kept() -> None:
    model = site(5.0, -5.0)
    with rr.forced(model, [1]) as record:
        model(X)
    assert record.path.tolist() == [1]
    assert record.logits[-1][0].tolist() == [5.0, -5.0]
    record.logits[-1][0].sum().backward()
    assert model.routing_gate.logits.grad.tolist() == [1.0, 1.0]


def test_a_gate_inside_a_branch_decides_where_it_is_reached() -> None:
    model = nets.gated()
    with rr.forced(model, [1, 1, 0, -1, -1, 1]) as record:
        model(X)
    assert record.path.tolist() == [1, 1, 0, -1, -1, 1]
    assert list(record.logits[-1]) == [0]
    with rr.forced(model, [0, 1, 1, 2, 0, 1]) as record:
        model(X)
    assert record.path.tolist() == [0, 1, 1, 2, 0, 1]
    assert sorted(record.logits[-1]) == [0, 3]


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.zeros(4, 2), r"logits, real numbers of shape \[2\] for the whole run, got shape \[4, 2\]; let it pool"),
        (torch.zeros(2, dtype=torch.int64), "got Tensor"),
        ("ab", "got str"),
        (torch.tensor([0.0, torch.nan]), r"logits that are numbers, got \[0.0, nan\]; mend the gate"),
        (torch.tensor([0.0, torch.inf]), "logits that are numbers"),
        (torch.tensor([-torch.inf, -torch.inf]), "logits that are numbers"),
    ],
)
def test_what_is_no_vector_of_logits_is_refused(logits: object, message: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: torch.Tensor) -> object:
            return logits

    model = rr.OperationChoice([nn.Identity(), nets.Mlp()], rr.Gate(Wrong(), 2))
    with pytest.raises(RunError, match=message):
        model(X)
    after = site(1.0, 2.0)  # the run that was refused is over
    with rr.forced(after, [0]):
        after(X)


def test_a_second_call_in_a_run_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.site = site(0.0, 0.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.site(self.site(x))
            return result

    model = Twice()
    rr.plan_of(model)
    with pytest.raises(RunError, match="one call in a run, got a second one"):
        model(X)


def test_wrong_arguments() -> None:
    with pytest.raises(TypeError, match=r"Gate: expected an nn.Module that gives logits, got function; wrap it"):
        rr.Gate(lambda x: x, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Gate: expected at least one branch, got 0"):
        rr.Gate(Given(0.0), 0)
    with pytest.raises(ValueError, match="Gate: expected a decision of sample, argmax, got 'best'; choose one"):
        rr.Gate(Given(0.0), 1, decision="best")
    with pytest.raises(ValueError, match="expected a policy over 3 branches, got one over 2"):
        rr.OperationChoice([nn.Identity()] * 3, rr.Gate(Given(0.0, 0.0), 2))
    bundle = rr.export(site(0.0, 0.0).eval(), (X,))
    with pytest.raises(TypeError, match=r"expected rr.Gate with a module that gives logits, got Gated\(2 branches"):
        rr.OperationChoice([nn.Identity()] * 2, bundle.plan.sites[0].policy)


def test_state_dicts_of_a_gated_layer_have_plain_keys_and_the_gate() -> None:
    plain = nets.Mlp()
    routed = nn.Sequential(rr.LayerChoice(copy.deepcopy(plain), policy=rr.Gate(nets.PooledLogits(2), 2)))
    keys = set(routed.state_dict())
    assert keys == {f"0.{key}" for key in plain.state_dict()} | {
        "0.routing_gate.linear.weight",
        "0.routing_gate.linear.bias",
    }
    other = nn.Sequential(rr.LayerChoice(nets.Mlp(), policy=rr.Gate(nets.PooledLogits(2), 2)))
    other.load_state_dict(routed.state_dict())
    for key, value in routed.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)
    told = other.load_state_dict({f"0.{k}": v for k, v in plain.state_dict().items()}, strict=False)
    assert sorted(told.missing_keys) == ["0.routing_gate.linear.bias", "0.routing_gate.linear.weight"]
    assert not told.unexpected_keys


def test_a_copy_has_a_gate_of_its_own() -> None:
    model = site(0.0, 0.0)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.routing_gate.logits.copy_(torch.tensor([-50.0, 50.0]))
    paths = set()
    for seed in range(20):
        with rr.seeded(twin, seed) as record:
            twin(X)
        assert record.path.tolist() == [1]
        with rr.seeded(model, seed) as record:
            model(X)
        paths.add(int(record.path[0]))
    assert paths == {0, 1}


def test_a_plan_with_gates_has_no_law_but_the_given_one() -> None:
    plan = rr.plan_of(nets.gated())
    assert plan.gates == (0, 3)
    for ask in (plan.marginals, plan.most_probable, plan.kept_counts, lambda: plan.probability([0, 0, 0, -1, -1, 0])):
        with pytest.raises(PlanError, match="expected a law that does not depend on the input, got a gate"):
            ask()
    names = [plan.sites[i].name for i in plan.gates]
    given = plan.with_policies(dict(zip(names, (rr.Categorical([0.25, 0.75]), rr.Uniform(3)), strict=True)))
    total = sum(given.probability(path) for path in plan.paths())
    assert total == pytest.approx(1.0, abs=1e-12)
    assert given.probability([1, 1, 0, -1, -1, 0]) == pytest.approx(0.75 * 0.7 * 0.4 * 0.8)
    assert plan.told_reached()[4] is not None
    assert plan.routes(np.full(6, 0.5, np.float32)).tolist() == [-1, 1, 1, -1, 1, 0]
