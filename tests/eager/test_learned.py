"""Policies that are learned: their law is that of the logits as they are, wherever it is read."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model
from torch import nn

import rr_export as rr
from rr_export.eager.learned import Learned, named_weights_of
from rr_export.eager.open_runs import free_routes
from rr_export.errors import RunError
from rr_export.laws.policies import Categorical, MarkovStep
from rr_runtime import draws
from tests import nets

WIDTH = nets.WIDTH


def layers(policy: Callable[[int], Any], count: int = 3) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(WIDTH, WIDTH), policy=policy(t)) for t in range(count))).eval()
    rr.plan_of(model)
    return model


def learned() -> nn.Module:
    return layers(lambda t: rr.Learned(2, (0.3, 0.7)))


def chained() -> nn.Module:
    return layers(rr.LearnedMarkov([2, 2, 2]).step)


MODELS = {"alone": learned, "chain": chained}


def change(model: nn.Module, seed: int = 1) -> None:
    """Every logit is another number, as after a step of training."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for site in model:
            site.law.logits.add_(torch.randn(site.law.logits.shape, generator=random))


def softmax(logits: torch.Tensor) -> NDArray[np.float64]:
    powers = np.exp(logits.detach().double().cpu().numpy())
    return powers / powers.sum(axis=1, keepdims=True)


def tables(model: nn.Module) -> list[NDArray[np.float64]]:
    return [site.policy.table for site in rr.plan_of(model).sites]


def expected(model: nn.Module) -> list[NDArray[np.float64]]:
    return [softmax(site.law.logits) for site in model]


def assert_current(model: nn.Module) -> None:
    for found, wanted in zip(tables(model), expected(model), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    for site, wanted in zip(model, expected(model), strict=True):
        np.testing.assert_allclose(site.policy.table, wanted, rtol=1e-12)


def test_the_start_is_what_was_given() -> None:
    np.testing.assert_allclose(tables(learned())[0], [[0.3, 0.7]], rtol=1e-6)
    np.testing.assert_allclose(rr.Learned(4).logits.detach(), np.log(np.full((1, 4), 0.25)), rtol=1e-6)
    chain = rr.Markov([0.2, 0.8], [[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]])
    site = rr.OperationChoice([nn.Identity()] * 2, rr.LearnedMarkov([2, 3], init=chain).step(0))
    np.testing.assert_allclose(site.policy.table, [[0.2, 0.8]], rtol=1e-6)
    second = rr.OperationChoice([nn.Identity()] * 3, rr.LearnedMarkov([2, 3], init=chain).step(1))
    np.testing.assert_allclose(second.policy.table, [[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], rtol=1e-6)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_plan_follows_every_way_to_change_logits(make: Callable[[], nn.Module]) -> None:
    model = make()
    assert_current(model)
    change(model)
    assert_current(model)
    with torch.no_grad():
        for site in model:
            site.law.logits.data.mul_(0.5)  # which the version of the parameter does not tell
    assert_current(model)
    other = make()
    change(other, seed=2)
    model.load_state_dict(other.state_dict())
    assert_current(model)
    change(other, seed=3)
    model.load_state_dict(other.state_dict(), assign=True)
    assert_current(model)
    np.testing.assert_array_equal(tables(model)[2], tables(other)[2])
    model.to(torch.bfloat16)
    assert model[0].law.logits.dtype == torch.bfloat16
    assert_current(model)
    for site in model:
        site.law.logits = nn.Parameter(torch.randn(site.law.logits.shape))
    assert_current(model)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_runs_draw_by_the_logits_of_now(make: Callable[[], nn.Module]) -> None:
    """False-alarm rate: 1e-6 for all frequencies together, by Hoeffding's inequality."""
    model, runs = make(), 4000
    change(model)
    bound = np.sqrt(np.log(2 * 2 * 3 / 1e-6) / (2 * runs))
    torch.manual_seed(0)
    for seed in range(2):
        seen = free_routes(model, runs).mean(axis=0)
        assert np.abs(seen - runs_layers(model)).max() < bound
        change(model, seed)
        assert np.abs(seen - runs_layers(model)).max() > bound  # the bound tells the laws apart


def runs_layers(model: nn.Module) -> NDArray[np.float64]:
    """How likely every layer runs."""
    return np.array([law[1] for law in rr.plan_of(model).marginals()])


def test_a_plan_is_made_anew_only_when_a_number_changed() -> None:
    model = chained()
    first = [site.policy for site in rr.plan_of(model).sites]
    assert all(a is b for a, b in zip(first, [site.policy for site in rr.plan_of(model).sites], strict=True))
    assert {id(policy.chain) for policy in first if isinstance(policy, MarkovStep)} == {id(first[0].chain)}  # type: ignore[attr-defined]
    change(model)
    again = [site.policy for site in rr.plan_of(model).sites]
    assert not any(a is b for a, b in zip(first, again, strict=True))
    np.testing.assert_allclose(first[0].table, [[0.5, 0.5]], rtol=1e-6)  # a plan of before stays what it was


def test_a_seed_takes_the_path_of_the_law_of_now() -> None:
    model = learned()
    x = nets.example()
    for seed in range(2):
        change(model, seed)
        with rr.seeded(model, 11) as record:
            model(x)
        np.testing.assert_array_equal(record.path, rr.plan_of(model).routes(draws(11, 3)))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_an_exported_law_is_that_of_its_making(make: Callable[[], nn.Module]) -> None:
    model, x = make(), nets.example()
    change(model)
    wanted = tables(model)
    bundle = rr.export(model, (x,))
    rr.verify(bundle, model, (x,))
    kind = {site["policy"]["type"] for site in bundle.manifest["sites"]}
    assert kind == ({"markov"} if make is chained else {"categorical"})
    assert "logits" not in str([value.name for value in bundle.model.graph.initializers.values()])
    change(model, seed=2)
    for site, table in zip(bundle.plan.sites, wanted, strict=True):
        np.testing.assert_allclose(site.policy.table, table, rtol=1e-12)
    with pytest.raises(rr.ParityError, match="expected probabilities"):
        rr.verify(bundle, model, (x,))


def test_rare_branches_are_never_drawn_and_the_rest_sums_to_one() -> None:
    site = rr.OperationChoice([nn.Identity()] * 4, rr.Learned(4))
    with torch.no_grad():
        site.law.logits.copy_(torch.tensor([[0.0, -1.0, -17.0, -40.0]]))  # exp(-17) = 4e-8 is below 2^-24
    p = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(site.policy.table, [[p, 1 - p, 0, 0]], rtol=1e-12)
    Categorical(site.policy.table[0])  # a policy like any other


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_no_numbers_are_refused(number: float) -> None:
    model = learned()
    with torch.no_grad():
        model[1].law.logits[0, 1] = number
    with pytest.raises(RunError, match=r"Learned\(2\): expected finite logits, got .*lower the\s+learning rate"):
        model(nets.example())
    with pytest.raises(RunError, match="expected finite logits"):
        rr.export(model, (nets.example(),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rr.LearnedMarkov([2, True]), "LearnedMarkov: expected at least one branch, got True"),
        (lambda: rr.Learned(0), "Learned: expected at least one branch, got 0"),
        (lambda: rr.Learned(3, [0.5, 0.5]), r"Learned: expected probabilities of shape \(1, 3\), got \(1, 2\)"),
        (lambda: rr.Learned(2, [0.0, 1.0]), "Learned: expected probabilities above 0 to begin with"),
        (lambda: rr.Learned(2, [0.5, 0.6]), "expected probabilities that sum to 1"),
        (lambda: rr.LearnedMarkov([]), "LearnedMarkov: expected the branches of one step or more, got none"),
        (lambda: rr.LearnedMarkov([2, 2]).step(2), r"LearnedMarkov: expected a step of 0\.\.1, got 2"),
        (lambda: rr.LearnedMarkov([2, 2]).step(True), r"LearnedMarkov: expected a step of 0\.\.1, got True"),
        (
            lambda: rr.LearnedMarkov([2, 3], init=rr.Markov([0.5, 0.5], np.full((2, 2), 0.5))),
            r"LearnedMarkov: step 1: expected probabilities of shape \(2, 3\), got \(2, 2\)",
        ),
        (lambda: rr.OperationChoice([nn.Identity()], rr.Learned(2)), "expected a policy over 1 branches, got one over"),
    ],
)
def test_what_is_no_start_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_chain_whose_steps_are_not_all_there_is_refused() -> None:
    chain = rr.LearnedMarkov([2, 2])
    with pytest.raises(rr.RRExportError, match=r"expected the steps 0\.\.0 of a chain"):
        layers(lambda t: chain.step(1), count=1)
    with pytest.raises(rr.RRExportError, match="each at one site"):
        layers(lambda t: chain.step(0), count=2)


def test_one_object_at_several_sites_is_one_set_of_logits() -> None:
    tied = rr.Learned(2)
    model = layers(lambda t: tied)
    assert len([n for n, _ in model.named_parameters() if n.endswith("logits")]) == 1
    change(model)
    assert_current(model)
    assert tables(model)[0] is not None and (tables(model)[0] == tables(model)[2]).all()


def test_route_layers_gives_every_layer_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    start = rr.Learned(2, (0.25, 0.75))
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(3))).eval()
    plan = rr.route_layers(model, "*", policy=start)
    assert [float(site.policy.table[0, 1]) for site in plan.sites] == pytest.approx([0.75] * 3)
    assert len({id(site.law) for site in model} | {id(start)}) == 4
    chain = rr.LearnedMarkov([2, 2, 2])
    other = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(3))).eval()
    plan = rr.route_layers(other, "*", policy=chain)
    assert len(plan.chains) == 1 and other[1].law is chain.step(1)


def test_steps_of_optimisers_move_the_law() -> None:
    model = chained()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.5)
    torch.nn.functional.cross_entropy(model[1].law.logits, torch.tensor([1, 0])).backward()
    optimiser.step()
    table = tables(model)[1]
    assert table[0, 1] > 0.6 and table[1, 0] > 0.6
    assert_current(model)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_copies_and_pickles_are_models_of_their_own(make: Callable[[], nn.Module]) -> None:
    model = make()
    change(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_current(other)
        change(other, seed=7)
        assert_current(other)
        assert_current(model)
        assert not np.allclose(tables(other)[2], tables(model)[2])


def test_another_policy_takes_the_place_of_a_learned_one_and_back() -> None:
    model = learned()
    before = model[0].law
    model[0].policy = rr.Categorical((0.9, 0.1))
    assert tables(model)[0].tolist() == [[0.9, 0.1]] and "0.law.logits" not in model.state_dict()
    model[0].policy = before
    assert_current(model)
    assert "0.law.logits" in model.state_dict()


def test_torch_finds_the_logits_by_their_name() -> None:
    model = learned()
    logits = model.get_parameter("0.law.logits")
    assert logits is model[0].law.logits and isinstance(model.get_submodule("0.law"), Learned)
    other = {"0.law.logits": torch.tensor([[0.0, 100.0]])}
    with rr.recorded(model) as record:
        torch.func.functional_call(model, other, (nets.example(),))
    assert record.path[0] == 1
    assert_current(model)
    gradient = torch.func.grad(lambda p: torch.func.functional_call(model, p, (nets.example(),)).sum())
    with rr.forced(model, [1, 1, 0]):
        assert gradient({"0.law.logits": logits.detach()})["0.law.logits"].tolist() == [[0.0, 0.0]]


def test_weights_of_a_model_are_all_but_logits() -> None:
    model = learned()
    assert [name for name, _ in named_weights_of(model)] == [
        n for n, _ in model.named_parameters() if "logits" not in n
    ]


class TestStateDicts:
    """The plain model has no logits: its checkpoints load all the same."""

    @staticmethod
    def pair(chain: bool = False) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(3)
        plain = nn.Sequential(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)), nn.Linear(WIDTH, WIDTH))
        routed = copy.deepcopy(plain.eval())
        rr.route_layers(routed, "0.*", policy=rr.LearnedMarkov([2, 2]) if chain else rr.Learned(2))
        rr.route_layers(routed, "0", policy=rr.Learned(2))
        return plain, routed

    def test_names(self) -> None:
        plain, routed = self.pair()
        logits = {"0.law.logits", "0.0.law.logits", "0.1.law.logits"}
        assert set(routed.state_dict()) == set(plain.state_dict()) | logits
        assert [n for n in routed.state_dict() if n not in logits] == list(plain.state_dict())

    @pytest.mark.parametrize("chain", [False, True])
    @pytest.mark.parametrize("assign", [False, True])
    def test_plain_checkpoints_load_strictly(self, assign: bool, chain: bool) -> None:
        plain, routed = self.pair(chain)
        states = {name: tensor + 1 for name, tensor in plain.state_dict().items()}
        routed[0].law.logits.data.fill_(0.125)
        told = routed.load_state_dict(states, assign=assign)
        assert told.missing_keys == told.unexpected_keys == []
        assert all(torch.equal(routed.state_dict()[name], tensor) for name, tensor in states.items())
        assert (routed[0].law.logits == 0.125).all()

    @pytest.mark.parametrize("chain", [False, True])
    def test_own_checkpoints_bring_the_logits(self, chain: bool) -> None:
        source, routed = self.pair(chain)[1], self.pair(chain)[1]
        for name, parameter in source.named_parameters():
            if name.endswith("logits"):
                nn.init.normal_(parameter)
        told = routed.load_state_dict(source.state_dict())
        assert told.missing_keys == told.unexpected_keys == []
        assert all(torch.equal(a, b) for a, b in zip(source.parameters(), routed.parameters(), strict=True))
        with_layer = {name: tensor.detach() for name, tensor in source.named_parameters()}
        with_layer |= dict(source.named_buffers())
        other = self.pair(chain)[1]
        other.load_state_dict(with_layer)
        assert all(torch.equal(a, b) for a, b in zip(source.parameters(), other.parameters(), strict=True))

    def test_the_plain_model_names_what_it_has_not(self) -> None:
        plain, routed = self.pair()
        with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "0\.law\.logits"'):
            plain.load_state_dict(routed.state_dict())
        told = plain.load_state_dict(routed.state_dict(), strict=False)
        assert told.missing_keys == [] and all(name.endswith("law.logits") for name in told.unexpected_keys)

    def test_a_missing_weight_is_still_missing(self) -> None:
        plain, routed = self.pair()
        states = plain.state_dict()
        del states["0.0.bias"]
        with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "0\.0\.bias"\.'):
            routed.load_state_dict(states)

    def test_logits_of_another_shape_are_refused(self) -> None:
        routed = self.pair()[1]
        states = {**routed.state_dict(), "0.0.law.logits": torch.zeros(1, 3)}
        with pytest.raises(RuntimeError, match=r"size mismatch for 0\.0\.law\.logits"):
            routed.load_state_dict(states)

    def test_sites_without_a_plain_model_want_their_logits(self) -> None:
        site = rr.OperationChoice([nn.Identity(), nn.Linear(2, 2)], rr.Learned(2))
        states = site.state_dict()
        del states["law.logits"]
        with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "law\.logits"'):
            site.load_state_dict(states)

    def test_files(self, tmp_path: Any) -> None:
        source, other = self.pair(chain=True)[1], self.pair(chain=True)[1]
        nn.init.normal_(source[0].layer[1].law.logits)
        buffer = io.BytesIO()
        torch.save(source.state_dict(), buffer)
        buffer.seek(0)
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert torch.equal(other[0].layer[1].law.logits, source[0].layer[1].law.logits)
        third = self.pair(chain=True)[1]
        save_model(source, str(tmp_path / "w.safetensors"))
        load_model(third, tmp_path / "w.safetensors")
        assert torch.equal(third[0].layer[1].law.logits, source[0].layer[1].law.logits)

    def test_a_layer_that_uses_the_name_is_refused(self) -> None:
        layer = nn.Module()
        layer.law = nn.Module()
        layer.law.logits = nn.Parameter(torch.zeros(2))
        with pytest.raises(ValueError, match=r"expected a layer without a weight of the name 'law\.logits'"):
            rr.LayerChoice(layer, policy=rr.Learned(2))
        rr.LayerChoice(layer, 0.5)
        inner = rr.LayerChoice(nn.Linear(2, 2), policy=rr.Learned(2))
        with pytest.raises(ValueError, match="got one in LayerChoice"):
            rr.LayerChoice(inner, policy=rr.Learned(2))

    def test_a_site_in_a_site(self) -> None:
        outer = rr.LayerChoice(rr.LayerChoice(nn.Linear(2, 2), policy=rr.Learned(2)), 0.5)
        states = {name: tensor + 1 for name, tensor in outer.state_dict().items()}
        assert set(states) == {"law.logits", "weight", "bias"}
        outer.load_state_dict(states)
        assert all(torch.equal(outer.state_dict()[name], tensor) for name, tensor in states.items())

    def test_a_layer_with_a_module_called_policy_or_law(self) -> None:
        """``site.policy = ...`` was handed on to the layer."""

        class Actor(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.policy, self.law = nn.Linear(2, 2), nn.Linear(2, 2)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.law(self.policy(x))

        site = rr.LayerChoice(Actor(), policy=rr.Learned(2))
        site.policy = rr.Categorical((0.0, 1.0))
        assert site.policy.table.tolist() == [[0.0, 1.0]] and isinstance(site.layer.policy, nn.Linear)
        site.policy = rr.Learned(2)
        states = {name: tensor + 1 for name, tensor in Actor().state_dict().items()}
        site.load_state_dict(states)
        assert torch.equal(site.layer.policy.weight, states["policy.weight"])
        assert torch.equal(site.layer.law.weight, states["law.weight"])
