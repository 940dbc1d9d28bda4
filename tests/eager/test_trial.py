"""Whether the first call of a site is a skip decides nothing, and learning leaves nothing behind."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.eager.trial import try_layer
from rr_export.errors import RunError
from tests import nets


class Conditional(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.mean() > 0 else x * 0.5


class Clamping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(nets.WIDTH, nets.WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        if x.abs().max() > 1e4:
            x = x.clamp(-1e4, 1e4)
        return x + self.linear(x)


class ByNumpy(Clamping):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x) * float(x.detach().numpy().std() > -1)


class Counting(Clamping):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x) * (x > 0).nonzero().shape[0]


class Listing(Clamping):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.linear(x) * max(x[0].tolist())


class Compiled(Clamping):
    def __init__(self) -> None:
        super().__init__()
        self.compiled = torch.compile(self.linear, backend="eager")

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.compiled(x)
        return result


class Scripted(Clamping):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.utils.parametrizations.weight_norm(nn.Linear(nets.WIDTH, nets.WIDTH))
        self.old = nn.utils.spectral_norm(nn.Linear(nets.WIDTH, nets.WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.old(self.norm(x))
        return result


@pytest.mark.parametrize("kind", [Conditional, Clamping, ByNumpy, Counting, Listing, Compiled, Scripted])
@pytest.mark.parametrize("grad", [True, False])
def test_bug_a_first_call_that_skips(kind: type[nn.Module], grad: bool) -> None:
    site, x = rr.LayerChoice(kind(), 0.5).eval(), nets.example()
    with rr.forced(site, [0]), torch.set_grad_enabled(grad):
        assert site(x) is x
        y = x.clone().requires_grad_(grad) * 1
        assert site(y) is y


def test_bug_no_first_call_raises() -> None:
    torch.manual_seed(1)
    for _ in range(20):
        model = nn.Sequential(rr.LayerChoice(Clamping(), 0.5)).eval()
        model(nets.example())


@pytest.mark.parametrize("warm", [False, True])
def test_bug_export_depended_on_the_first_call(warm: bool) -> None:
    model = nn.Sequential(rr.LayerChoice(Clamping(), 0.5)).eval()
    if warm:
        with rr.forced(model, [1]):
            model(nets.example())
    bundle = rr.export(model, (nets.example(),))
    assert len(bundle.plan.sites) == 1
    if not warm:
        assert rr.verify(bundle, model, (nets.example(),)).passed


class Leaving(nn.Module):
    """Leaves something behind wherever a forward can."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(nets.WIDTH))
        self.norm = nn.BatchNorm1d(nets.WIDTH)
        self.count, self.seen, self.kept, self.recent = 0, [], {"inner": [1]}, deque([1], maxlen=2)
        self.python, self.numpy = random.Random(0), np.random.default_rng(0)
        self.torch = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        self.calls.add_(1)
        self.last = x.mean(0)
        self.count += 1
        self.seen.append(self.count)
        self.kept["inner"].append(2)
        self.recent.append(2)
        self.new = True
        self.python.random(), self.numpy.random(), torch.rand(2, generator=self.torch)
        random.random(), np.random.rand(), torch.rand(2)
        if cache is not None:
            cache.entries.append(x)
        x.add_(1)
        result: Tensor = self.norm(x)
        return result

    def state(self) -> list[Any]:
        own = [self.python.getstate(), str(self.numpy.bit_generator.state), self.torch.get_state().tolist()]
        ours = [random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]
        buffers = [b.tolist() for b in self.buffers()]
        attributes = [self.count, list(self.seen), list(self.kept["inner"]), list(self.recent), hasattr(self, "new")]
        return [*own, *ours, *buffers, *attributes]


class Cache:
    def __init__(self) -> None:
        self.entries: list[Tensor] = []


def test_learning_leaves_nothing_behind() -> None:
    layer, x, cache = Leaving(), nets.example(), Cache()
    site = rr.LayerChoice(layer, 0.5)
    before, content = layer.state(), x.clone()
    with rr.forced(site, [0]):
        assert site(x, cache=cache) is x
    assert layer.state() == before
    assert torch.equal(x, content) and cache.entries == []


def test_a_trial_that_raises_leaves_nothing_behind() -> None:
    class Raising(Leaving):
        def forward(self, x: Tensor, cache: Any = None) -> Tensor:
            super().forward(x, cache)
            raise KeyError("mine")

    layer = Raising()
    before = layer.state()
    site = rr.LayerChoice(layer, 0.5)
    with rr.forced(site, [0]), pytest.raises(KeyError, match="mine") as caught:
        site(nets.example())
    assert layer.state() == before
    assert any("skip= says it" in note for note in caught.value.__notes__)


def test_what_a_trial_would_leave_behind_is_seen_by_the_test() -> None:
    """The twin: without a trial everything changes."""
    layer = Leaving()
    before = layer.state()
    layer(nets.example(), Cache())
    assert all(a != b for a, b in zip(before, layer.state(), strict=True) if not isinstance(a, bool))


def test_a_trial_knows_of_no_run() -> None:
    """Sites inside a layer that is tried are neither reached nor recorded."""
    inner = rr.LayerChoice(nets.Mlp(), 0.5)
    model = nn.Sequential(rr.LayerChoice(nn.Sequential(inner, nets.Mlp()), 0.5)).eval()
    with rr.forced(model, [0, 1]) as record:
        model(nets.example())
    assert [path.tolist() for path in record.paths] == [[0, -1]]


def test_a_trial_is_seen_by_no_collector_of_another_library() -> None:
    collected: ContextVar[list[int] | None] = ContextVar("collected", default=None)

    def hook(module: nn.Module, args: Any, output: Any) -> None:
        found = collected.get()
        if found is not None:
            found.append(1)

    site = rr.LayerChoice(nets.Mlp(), 0.5).eval()
    site.layer.register_forward_hook(hook)
    token = collected.set([])
    with rr.forced(site, [0]):
        site(nets.example())
    assert collected.get() == []
    collected.reset(token)


def test_draws_of_own_code_in_a_layer_that_is_tried() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if torch.rand(()) < 0.5 else x * 3

    model = nn.Sequential(rr.LayerChoice(Drawing(), 0.5)).eval()
    rr.plan_of(model, (nets.example(),))
    model[0]._known.clear()
    with rr.forced(model, [0, 1]) as record:
        model(nets.example())
    assert record.path.tolist() == [0, -1]


def test_the_layer_runs_once_for_all_calls_of_a_kind() -> None:
    ran: list[int] = []
    site = rr.LayerChoice(nets.Mlp(), 0.5).eval()
    site.layer.register_forward_hook(lambda *_: ran.append(1))
    with rr.forced(site, [0]):
        for rows in (2, 3, 4):
            site(torch.randn(rows, nets.WIDTH))
    assert len(ran) == 1


def test_a_flag_that_changes_what_is_returned() -> None:
    class Flagged(nn.Module):
        def forward(self, x: Tensor, pair: bool = False) -> Any:
            return (x * 2, None) if pair else x * 2

    site, x = rr.LayerChoice(Flagged(), 0.5).eval(), nets.example()
    with rr.forced(site, [0]):
        assert site(x) is x
        assert site(x, pair=True) == (x, None)
        assert site(x, pair=False) is x


def test_copies_of_arguments_are_one_object_where_the_arguments_are() -> None:
    class Same(nn.Module):
        def forward(self, q: Tensor, k: Tensor, inside: list[Tensor]) -> Tensor:
            assert q is k and inside[0] is q
            return q

    x = nets.example()
    (q, k, inside), _, output = try_layer(Same(), (x, x, [x]), {})
    assert q is not x and q is k is inside[0] is output


def test_threads_that_learn_at_once() -> None:
    layer = Leaving()
    before = layer.state()[6:]
    site = rr.LayerChoice(layer, 0.5)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with rr.forced(site, [0]):
                site(nets.example())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and layer.state()[6:] == before


def test_a_tracer_that_skips_a_layer_nobody_has_seen() -> None:
    site = rr.LayerChoice(Conditional(), 0.5).eval()
    model = nn.Sequential(site)
    with rr.forced(model, [0]):
        with pytest.raises(RunError, match=r"before torch.export skips it.*call the model once eagerly, or give skip="):
            torch.export.export(model, (nets.example(),), strict=False)
        model(nets.example())
        exported = torch.export.export(model, (nets.example(),), strict=False)
    torch.testing.assert_close(exported.module()(nets.example()), nets.example())


TRACERS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "jit": lambda model, x: torch.jit.trace(model, (x,)),
    "make_fx": lambda model, x: torch.fx.experimental.proxy_tensor.make_fx(model)(x),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("tracer", list(TRACERS))
@pytest.mark.parametrize("route", [0, 1])
def test_a_forced_path_under_a_tracer(tracer: str, route: int) -> None:
    model, x = nn.Sequential(rr.LayerChoice(nets.Mlp(), 0.5)).eval(), nets.example()
    with rr.forced(model, [route]), torch.no_grad():
        traced = TRACERS[tracer](model, x)
        torch.testing.assert_close(traced(x), model(x))
