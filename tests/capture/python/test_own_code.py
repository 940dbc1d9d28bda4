"""The original code on a path, with the draws of a seed, and watched."""

from __future__ import annotations

import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.parity.law import law_failures
from rr_runtime.draws import draws


class Mixed(nn.Module):
    """Three decisions, by three libraries; the second is asked where the first skips."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < 0.25:
            x = self.layers[0](x)
        elif random.random() < 0.5:
            x = self.layers[1](x)
        return self.layers[2 + np.random.randint(2)](x)


X = torch.ones(2, 3)
PATHS = [[0, -1, 0], [0, -1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Mixed().eval()


def by_hand(model: nn.Module, path: list[int]) -> Tensor:
    x = X
    if path[0] == 0:
        x = model.layers[0](x)
    elif path[1] == 0:
        x = model.layers[1](x)
    return model.layers[2 + path[2]](x)


def test_the_plan_has_the_code_and_its_law(model: nn.Module) -> None:
    plan = rr.plan_of(model, (X,))
    assert [len(site.branches) for site in plan.sites] == [2, 2, 2]
    assert [site.kind for site in plan.sites] == ["python"] * 3
    assert all(site.name.startswith("test_own_code.py:") for site in plan.sites)
    assert plan.reached().tolist() == [1, 0.75, 1]
    assert sorted(map(list, plan.paths())) == PATHS
    assert plan.probability([1, 0, 1]) == pytest.approx(0.75 * 0.5 * 0.5)


@pytest.mark.parametrize("path", PATHS)
def test_forced_takes_the_path(model: nn.Module, path: list[int]) -> None:
    rr.plan_of(model, (X,))
    with rr.forced(model, path) as record:
        assert torch.equal(model(X), by_hand(model, path))
    assert record.path.tolist() == path


def test_seeded_takes_the_draws_of_the_file(model: nn.Module) -> None:
    plan = rr.plan_of(model, (X,))
    for seed in range(20):
        with rr.seeded(model, seed) as record:
            model(X)
        assert record.path.tolist() == plan.taken(plan.routes(draws(seed, 3))).tolist()


def test_some_routes_forced_others_seeded(model: nn.Module) -> None:
    plan = rr.plan_of(model, (X,))
    with rr.forced(model, [1, -1, 0]), rr.seeded(model, 3) as record:
        model(X)
    assert record.path.tolist() == plan.taken(plan.routes(draws(3, 3), [1, -1, 0])).tolist()


def test_recorded_leaves_the_draws_to_the_libraries(model: nn.Module) -> None:
    rr.plan_of(model, (X,))

    def run() -> Any:
        torch.manual_seed(1), random.seed(1), np.random.seed(1)
        return [model(X) for _ in range(10)]

    plain = run()
    with rr.recorded(model) as record:
        watched = run()
    # opening a run draws from torch's generator: so the code's own draws are later ones, but of the same law
    assert len(watched) == len(plain) == len(record.paths)
    for output, path in zip(watched, record.paths, strict=True):
        assert torch.equal(output, by_hand(model, path.tolist()))


def test_free_runs_have_the_law_of_the_plan(model: nn.Module) -> None:
    plan = rr.plan_of(model, (X,))
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    with rr.recorded(model) as record:
        for _ in range(600):
            model(X)
    assert law_failures(plan, np.stack(record.routes), 1e-9) == []


def test_outside_a_block_the_model_is_its_own(model: nn.Module) -> None:
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = [model(X) for _ in range(5)]
    with rr.forced(model, []):
        pass  # known to have no sites yet
    rr.plan_of(model, (X,))
    functions = random.random, np.random.randint, torch.cond, torch.manual_seed
    with rr.forced(model, [0, -1, 0]):
        model(X)
    assert (random.random, np.random.randint, torch.cond, torch.manual_seed) == functions
    assert "forward" not in vars(model)
    assert len({tuple(y.flatten().tolist()) for y in before}) > 1


def test_export_and_plan_leave_the_streams_alone(model: nn.Module) -> None:
    def streams() -> Any:
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()

    before = streams()
    rr.plan_of(model, (X,))
    assert streams() == before
    rr.export(model, (X,))
    assert streams() == before


def test_exceptions_leave_nothing_behind(model: nn.Module) -> None:
    rr.plan_of(model, (X,))
    function = random.random
    with rr.forced(model, [0, -1, 0]), pytest.raises(RuntimeError, match="shape"):
        model(torch.ones(2, 5))
    assert random.random is function
    with rr.forced(model, [1, 1, 1]) as record:
        assert torch.equal(model(X), by_hand(model, [1, 1, 1]))
    assert record.path.tolist() == [1, 1, 1]


def test_other_threads_draw_as_ever(model: nn.Module) -> None:
    rr.plan_of(model, (X,))
    seen: list[float] = []

    def draw() -> None:
        seen.extend(random.random() for _ in range(50))

    class Waiting(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            thread = threading.Thread(target=draw)
            thread.start()
            thread.join()
            return x

    model.layers[2] = Waiting()
    with rr.forced(model, [1, 0, 0]):
        model(X)
    assert len(set(seen)) == 50


def test_threads_follow_paths_of_their_own() -> None:
    wrong: list[Any] = []

    def follow(number: int) -> None:
        torch.manual_seed(number)
        model = Mixed().eval()
        rr.plan_of(model, (X,))
        with torch.no_grad():
            for turn in range(30):
                path = PATHS[(number + turn) % len(PATHS)]
                with rr.forced(model, path) as record:
                    same = torch.equal(model(X), by_hand(model, path))
                if not same or record.path.tolist() != path:
                    wrong.append((number, turn))

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not hasattr(random.random, "__rr_original__")


def test_another_course_is_an_error(model: nn.Module) -> None:
    rr.plan_of(model, (X,))
    model.forward = lambda x: x * random.random()  # type: ignore[method-assign]
    with rr.forced(model, [0, -1, 0]), pytest.raises(rr.RRExportError, match="does not run as it did"):
        model(X)


def test_paths_before_the_plan_is_known(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"rr.plan_of\(model, args\)"), rr.forced(model, [0, -1, 0]):
        model(X)


def test_names_of_lines_that_modules_share() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if torch.rand(()) < 0.5 else x

    plan = rr.plan_of(nn.Sequential(Skip(), Skip()).eval(), (X,))
    first, second = (site.name for site in plan.sites)
    assert first.startswith("0/test_own_code.py:")
    assert second == first.replace("0/", "1/", 1)
