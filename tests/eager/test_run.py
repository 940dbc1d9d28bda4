"""Eager routing: who decides, when a run begins and ends, and that nothing disturbs anything else."""

from __future__ import annotations

import copy
import io
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import RunError
from rr_runtime.draws import draws
from tests import nets


def taken(model: nn.Module, runs: int) -> list[list[int]]:
    with rr.recorded(model) as record, torch.no_grad():
        for _ in range(runs):
            model(nets.example())
    return [path.tolist() for path in record.paths]


def test_gradients_flow_only_through_the_taken_branch() -> None:
    model = nets.pair(nets.Mlp(), nets.Mlp())
    with rr.forced(model, [1]):
        model(nets.example()).sum().backward()
    grads = [branch.up.weight.grad for branch in model.site.branches]
    assert grads[0] is None
    assert grads[1] is not None and grads[1].abs().sum() > 0


def test_only_the_taken_branch_is_computed() -> None:
    called: list[int] = []
    model = nets.pair(nets.Mlp(), nets.Mlp(), nets.Mlp())
    for k, branch in enumerate(model.site.branches):
        branch.register_forward_hook(lambda *_, k=k: called.append(k))
    for route in (2, 0, 1):
        with rr.forced(model, [route]):
            model(nets.example())
    assert called == [2, 0, 1]


def test_a_site_called_twice_has_one_route_per_run() -> None:
    model = nets.everything()
    called: list[str] = []
    model.first.register_forward_hook(lambda m, a, out: called.append("same" if out is a[0] else "run"))
    rr.plan_of(model)
    for _ in range(20):
        called.clear()
        model(nets.example())
        assert len(called) == 2 and len(set(called)) == 1


def test_seeded_uses_the_reference_draws() -> None:
    model = nets.layers(12)
    plan = rr.plan_of(model)
    for seed in (0, 1, 7, 2**63 - 1):
        with rr.seeded(model, seed) as record:
            model(nets.example())
        assert record.path.tolist() == plan.routes(draws(seed, 12)).tolist()


def test_known_answers() -> None:
    """Draw >= .5 of seeds 0, 1, 7 for twelve sites, as published with the contract."""
    model = nets.layers(12)
    for seed, expected in ((0, "100100010101"), (1, "100101000111"), (7, "101110011010")):
        with rr.seeded(model, seed) as record:
            model(nets.example())
        assert "".join(map(str, record.path)) == expected


def test_free_draws_come_from_torchs_generator() -> None:
    model = nets.layers(12)
    torch.manual_seed(5)
    first = taken(model, 5)
    torch.manual_seed(5)
    assert taken(model, 5) == first
    assert len({tuple(p) for p in first}) > 1


def test_seeded_and_forced_leave_torchs_generator_alone() -> None:
    model = nets.layers(3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with rr.seeded(model, 3):
        model(nets.example())
    with rr.forced(model, [1, 0, 1]):
        model(nets.example())
    assert torch.equal(before, torch.get_rng_state())


def test_forced_and_seeded_combine() -> None:
    model = nets.layers(4)
    with rr.seeded(model, 9) as record:
        model(nets.example())
    drawn = record.path
    with rr.seeded(model, 9), rr.forced(model, [-1, 1 - int(drawn[1]), -1, -1]) as record:
        model(nets.example())
    expected = drawn.copy()
    expected[1] = 1 - expected[1]
    assert record.path.tolist() == expected.tolist()


def test_innermost_block_decides() -> None:
    model = nets.layers(2)
    with rr.forced(model, [0, 0]), rr.forced(model, [1, -1]) as record:
        model(nets.example())
    assert record.path.tolist() == [1, 0]


def test_later_steps_of_a_chain_see_the_forced_route() -> None:
    chain = rr.Markov([0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    model = nn.Sequential(*(rr.LayerChoice(nets.Mlp(), policy=chain.step(t)) for t in range(4))).eval()
    with rr.seeded(model, 0) as record:
        model(nets.example())
    drawn = int(record.path[0])
    with rr.seeded(model, 0), rr.forced(model, [-1, 1 - drawn, -1, -1]) as record:
        model(nets.example())
    assert record.path.tolist() == [drawn, 1 - drawn, 1 - drawn, 1 - drawn]


def test_unreached_sites_are_reported_as_such() -> None:
    model = nets.everything()
    with rr.forced(model, [0, 1, 1, 1, 1, 0]) as record:
        model(nets.example())
    assert record.path.tolist() == [0, -1, 1, 1, 1, 0]
    assert record.routes[-1].tolist() == [0, 1, 1, 1, 1, 0]


def test_record_without_a_run() -> None:
    with rr.recorded(nets.layers(1)) as record, pytest.raises(RunError, match=r"expected a finished run, got none"):
        record.path  # noqa: B018


def test_a_site_outside_a_run_opens_its_own() -> None:
    torch.manual_seed(0)
    site = rr.LayerChoice(nets.Mlp(), 0.5).eval()
    x = nets.example()
    results = {bool((site(x) == x).all()) for _ in range(50)}
    assert results == {True, False}


def test_an_exception_ends_the_run() -> None:
    model = nets.layers(3)
    rr.plan_of(model)
    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"shapes|reduction dim"):
            model(torch.zeros(2, nets.WIDTH + 1))
        if any(any(p) for p in taken(model, 4)):
            break
    assert len({tuple(p) for p in taken(model, 40)}) > 1


def test_a_run_that_raised_is_not_recorded() -> None:
    model = nets.layers(3)
    with rr.recorded(model) as record:
        with rr.forced(model, [0, 1, 0]), pytest.raises(RuntimeError, match=r"shapes|reduction dim"):
            model(torch.zeros(2, nets.WIDTH + 1))
        assert record.paths == []


def test_bug_an_interrupt_does_not_freeze_the_routes() -> None:
    class Interrupting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyboardInterrupt

    model = nn.Sequential(*nets.layers(6), Interrupting())
    rr.plan_of(model)
    with pytest.raises(KeyboardInterrupt):
        model(nets.example())
    model[6] = nn.Identity()
    assert len({tuple(p) for p in taken(model, 40)}) > 1


def test_threads_do_not_disturb_each_other() -> None:
    model = nets.layers(12)
    rr.plan_of(model)
    barrier = threading.Barrier(4)

    def work(seed: int) -> list[list[int]]:
        barrier.wait()
        found = []
        for i in range(20):
            with rr.seeded(model, seed * 100 + i) as record, torch.no_grad():
                model(nets.example())
            found.append(record.path.tolist())
        return found

    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(work, range(4)))
    for seed, paths in enumerate(parallel):
        assert paths == [(draws(seed * 100 + i, 12) >= np.float32(0.5)).astype(int).tolist() for i in range(20)]


def test_a_model_inside_a_model_belongs_to_the_outer_run() -> None:
    outer = nn.Sequential(nets.layers(3), nets.layers(3)).eval()
    rr.plan_of(outer[0])
    rr.plan_of(outer)
    with rr.seeded(outer, 4) as record:
        outer(nets.example())
    assert record.path.tolist() == (draws(4, 6) >= np.float32(0.5)).astype(int).tolist()


def test_an_unrelated_model_called_inside_has_a_run_of_its_own() -> None:
    class Caller(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mine = nets.layers(3)
            self.others = [nets.layers(3)]
            rr.plan_of(self.others[0])

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.mine(self.others[0](x))
            return result

    model = Caller().eval()
    with rr.seeded(model, 2) as mine, rr.seeded(model.others[0], 3) as other:
        model(nets.example())
    assert mine.path.tolist() == (draws(2, 3) >= np.float32(0.5)).astype(int).tolist()
    assert other.path.tolist() == (draws(3, 3) >= np.float32(0.5)).astype(int).tolist()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_route_by_themselves(duplicate: object) -> None:
    model = nets.everything()
    rr.plan_of(model)
    twin = duplicate(model)  # type: ignore[operator]
    for seed in range(5):
        with rr.seeded(model, seed) as a, rr.seeded(twin, seed) as b:
            torch.testing.assert_close(model(nets.example())["y"], twin(nets.example())["y"])
        assert a.path.tolist() == b.path.tolist()
    torch.manual_seed(0)
    assert len({tuple(p) for p in taken(twin, 30)}) > 5


def test_state_dict_round_trip() -> None:
    model, other = nets.everything(), nets.everything()
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer))
    with rr.seeded(model, 1), rr.seeded(other, 1):
        torch.testing.assert_close(model(nets.example())["y"], other(nets.example())["y"])


def test_torch_compile_keeps_choosing() -> None:
    model = nets.layers(4)
    rr.plan_of(model)
    compiled = torch.compile(model, backend="eager")
    for seed in range(4):
        with rr.seeded(model, seed) as record, torch.no_grad():
            got = compiled(nets.example())
        with rr.forced(model, record.path), torch.no_grad():
            torch.testing.assert_close(got, model(nets.example()))
        assert record.path.tolist() == (draws(seed, 4) >= np.float32(0.5)).astype(int).tolist()
