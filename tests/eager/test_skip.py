"""What a skip returns: by default, by names, by a function; and what is refused."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.errors import CaptureError, PlanError, RunError
from tests.eager.skipped_layers import Attending, Attention, Cells, Joint, JointBlock, Recurrent, Unet
from tests.nets import WIDTH

X = torch.randn(2, 3, WIDTH)


def layer_of(function: Any) -> nn.Module:
    """A layer whose forward is ``function``."""
    return type("Layer", (nn.Module,), {"forward": function})()


def skipped(layer: nn.Module, *args: Any, options: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """What the first call returns if it is a skip, and what it returns after the layer ran: they agree."""
    results = []
    for warm in (False, True):
        site = rr.LayerChoice(layer, 0.5, **(options or {})).eval()
        if warm:
            with rr.forced(site, [1]):
                site(*args, **kwargs)
        with rr.forced(site, [0]):
            results.append(site(*args, **kwargs))
    torch.testing.assert_close(results[0], results[1])
    return results[0]


class Pair(NamedTuple):
    hidden: Tensor
    mask: Tensor


def test_the_object_that_was_handed_in_passes_by() -> None:
    def forward(self: Any, x: Tensor, first: Tensor, second: Tensor) -> Any:
        kept = second
        return (x * 2, kept)

    second = torch.randn(4)
    result = skipped(layer_of(forward), X, torch.randn(4), second)
    assert result[0] is X and result[1] is second


def test_the_argument_of_the_name_passes_by() -> None:
    def forward(self: Any, x: Tensor, first: Tensor, second: Tensor) -> Any:
        second = second + first
        first = first * 2
        return x * 2, second, first

    first, second = torch.randn(4), torch.randn(4)
    result = skipped(layer_of(forward), X, second=second, first=first)
    assert result[0] is X and result[1] is second and result[2] is first


def test_names_of_dictionaries_and_named_tuples_pass_by() -> None:
    def of_dictionary(self: Any, hidden: Tensor, mask: Tensor) -> Any:
        return OrderedDict(mask=mask * 2, hidden=hidden * 2, none=None)

    def of_tuple(self: Any, hidden: Tensor, mask: Tensor) -> Any:
        return Pair(hidden * 2, mask * 2)

    mask = torch.randn_like(X)
    result = skipped(layer_of(of_dictionary), X, mask)
    assert type(result) is OrderedDict and result["hidden"] is X and result["mask"] is mask and result["none"] is None
    pair = skipped(layer_of(of_tuple), X, mask)
    assert type(pair) is Pair and pair.hidden is X and pair.mask is mask


def test_the_only_argument_of_the_shape_passes_by() -> None:
    def forward(self: Any, x: Tensor, state: Any) -> Any:
        return (x * 2, tuple(s + 1 for s in state))

    state = (torch.randn(2, WIDTH), torch.randn(2, WIDTH))
    result = skipped(layer_of(forward), X, state)
    assert result[0] is X and result[1][0] is state[0] and result[1][1] is state[1]


def test_a_container_that_comes_in_as_it_goes_out_passes_by() -> None:
    pair = (X, torch.randn(2, 3))
    result = skipped(layer_of(lambda self, pair: (pair[0] * 2, pair[1] + 1)), pair)
    assert result is pair


def test_what_a_call_of_other_sizes_told_by_shape_is_not_taken_for_granted() -> None:
    def forward(self: Any, x: Tensor) -> Any:
        return (x * 2, x @ x.mT)

    site = rr.LayerChoice(layer_of(forward), 0.5).eval()
    with rr.forced(site, [0]):
        site(torch.randn(2, WIDTH, WIDTH))  # weights happen to have the shape of x
        with pytest.raises(RunError, match=r"\[2, 3, 3\] as result 1 and no argument"):
            site(X)


def _two(self: Any, x: Tensor, memory: Tensor) -> Any:
    return (x * 2, memory + x)


def _scalar(self: Any, x: Tensor, temperature: Tensor) -> Any:
    return (x * 2, x.mean())


def _none(self: Any, x: Tensor, bias: Any = None) -> Any:
    bias = x.mean(-1)
    return x * 2, bias


def _count(self: Any, x: Tensor, count: int) -> Any:
    return (x, count + 1)


def _nested(self: Any, x: Tensor) -> Any:
    return {"x": x * 2, "weights": [x.mean(0)]}


@pytest.mark.parametrize("route", [0, 1])
@pytest.mark.parametrize(
    ("forward", "args", "message"),
    [
        (_two, (X, X + 1), r"result 1 and arguments 'x' and 'memory' that could stand.*skip=\('x', 'zeros'\)"),
        (_scalar, (X, torch.ones(())), r"float32 \[\] as result 1 and no argument"),
        (_none, (X, None), r"\[2, 3\] as result 1 and None as argument 'bias'"),
        (_count, (X, 2), r"got a int as result 1 and no argument"),
        (_nested, (X,), r"as result weights.0 and no argument.*skip=\{'x': 'x', 'weights': \('zeros',\)\}"),
        (
            lambda self, x: x[..., :4],
            (X,),
            r"got a tensor float32 \[2, 3, 4\] where 'x' is a tensor .*3, 8\]",
        ),
        (lambda self, x: {}, (X,), r"got a dict; say what a skip returns"),
    ],
)
def test_what_could_be_several_things_or_nothing_is_refused(forward: Any, args: Any, message: str, route: int) -> None:
    site = rr.LayerChoice(layer_of(forward), 0.5).eval()
    with rr.forced(site, [route]), pytest.raises(RunError, match=message):
        site(*args)


def test_names_say_what_a_skip_returns() -> None:
    def forward(self: Any, x: Tensor, memory: Tensor, scale: float = 1.0) -> Any:
        return {"out": (x * 2, memory + 1), "weights": x @ x.mT, "rest": [None]}

    memory = torch.randn(2, 5)
    skip = {"out": ("x", "zeros like memory"), "weights": "zeros", "rest": [None]}
    result = skipped(layer_of(forward), X, memory=memory, options={"skip": skip})
    assert result["out"][0] is X and result["rest"] == [None]
    assert torch.equal(result["out"][1], torch.zeros(2, 5)) and torch.equal(result["weights"], torch.zeros(2, 3, 3))


def test_a_function_says_what_a_skip_returns_and_nothing_is_learnt() -> None:
    ran: list[int] = []

    def forward(self: Any, x: Tensor, index: int) -> Any:
        ran.append(index)
        return x * 2, index

    site = rr.LayerChoice(layer_of(forward), 0.5, skip=lambda x, index: (x, index + 1)).eval()
    with rr.forced(site, [0]):
        assert site(X, index=3) == (X, 4)
    assert ran == []


def test_one_name_stands_for_one_result() -> None:
    memory = torch.randn(2, 3, WIDTH)
    assert skipped(layer_of(lambda self, x, memory: x + memory), X, memory, options={"skip": "memory"}) is memory


@pytest.mark.parametrize(
    ("skip", "error", "message"),
    [
        ("y", ValueError, r"arguments among \['memory', 'x'\], got 'y'"),
        (("x", "zeros like y"), ValueError, r"got 'y'"),
        (("x", 0), TypeError, r"expected skip= to be a function, or names.*got 0 in it"),
        (0.5, TypeError, r"got 0.5 in it"),
        (nn.Identity(), TypeError, r"got a module; route the two with rr.OperationChoice"),
    ],
)
def test_a_skip_that_cannot_be_is_refused_at_once(skip: Any, error: type[Exception], message: str) -> None:
    layer = layer_of(lambda self, x, memory: (x, memory))
    with pytest.raises(error, match=message):
        rr.LayerChoice(layer, 0.5, skip=skip)
    with pytest.raises(error, match=r"route_layers: '0': LayerChoice\(Layer\).*"):
        rr.route_layers(nn.Sequential(layer), "0", keep=0.5, skip=skip)
    with pytest.raises(ValueError, match=r"one of hidden= and skip=, got both"):
        rr.LayerChoice(layer, 0.5, hidden="x", skip="x")


@pytest.mark.parametrize(
    ("skip", "message"),
    [
        (("x", "memory"), r"the argument 'memory' that skip= names, got none"),
        (("x", "zeros", None), r"nesting of what the layer returns, a tuple of 2.*got a tuple of 3"),
        (("x", ("zeros",)), r"nesting of what the layer returns, a tensor float32 \[2, 3\]"),
    ],
)
def test_a_skip_that_does_not_fit_the_call_is_refused(skip: Any, message: str) -> None:
    site = rr.LayerChoice(layer_of(lambda self, x, memory=None: (x, x.mean(-1))), 0.5, skip=skip).eval()
    with rr.forced(site, [0]), pytest.raises(RunError, match=message):
        site(X)


def test_a_function_of_another_nesting_is_refused_once_the_layer_ran() -> None:
    site = rr.LayerChoice(Attention(), 0.5, skip=lambda x: (x, None)).eval()
    with rr.forced(site, [1]):
        site(X)
    with rr.forced(site, [0]), pytest.raises(RunError, match=r"skip= to return what the layer does.*got a tuple of 2"):
        site(X)
    with pytest.raises(CaptureError, match=r"site 'root', branch 'skip': .*skip= to return what the layer does"):
        rr.export(site, (X,))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "hidden": 4, "num_layers": 2}, {"batch_first": True}])
@pytest.mark.parametrize("batched", [True, False])
def test_recurrent_layers_hand_their_state_on(kind: Any, options: dict[str, Any], batched: bool) -> None:
    options = dict(options)
    layer = kind(WIDTH, options.pop("hidden", WIDTH), **options)
    x = X if batched else X[0]
    state = layer(x)[1]
    got, zeros = skipped(layer, x)
    assert got is x and torch.utils._pytree.tree_structure(zeros) == torch.utils._pytree.tree_structure(state)
    for a, b in zip(torch.utils._pytree.tree_leaves(zeros), torch.utils._pytree.tree_leaves(state), strict=True):
        assert torch.equal(a, torch.zeros_like(b))
    assert skipped(layer, x, state)[1] is state
    assert skipped(layer, x, hx=state)[1] is state


def test_recurrent_layers_with_projections_and_packed_sequences() -> None:
    layer = nn.LSTM(WIDTH, 16, proj_size=WIDTH)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(3, 2, WIDTH), torch.tensor([3, 1]))
    got, (h, c) = skipped(layer, packed)
    assert got is packed and h.shape == (1, 2, WIDTH) and c.shape == (1, 2, 16)


def test_recurrent_layers_that_change_the_features_are_refused_at_once() -> None:
    model = nn.ModuleDict({"rnn": nn.LSTM(WIDTH, 16)})
    with pytest.raises(ValueError, match=r"route_layers: 'rnn': LayerChoice\(LSTM\).*got 8 in and 16 out.*skip="):
        rr.route_layers(model, "rnn", keep=0.5)
    assert isinstance(model["rnn"], nn.LSTM)
    rr.route_layers(model, "rnn", keep=0.5, skip=lambda x, hx=None: (x.repeat(1, 1, 2), hx))


def test_route_layers_refuses_before_it_changes_anything() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), Attention())
    with pytest.raises(PlanError, match=r"route_layers: '1': .*result 1 and no argument.*skip=\('x', 'zeros'\)"):
        rr.route_layers(model, "*", keep=0.5, args=(X,))
    assert [type(m) for m in model] == [nn.Linear, Attention]
    assert not any(m._forward_hooks for m in model.modules())
    with pytest.raises(PlanError, match=r"'1': .*skip= to return what the layer does"):
        rr.route_layers(model, "1", keep=0.5, args=(X,), skip=lambda x: x)
    plan = rr.route_layers(model, "1", keep=0.5, args=(X,), skip=("x", "zeros"))
    assert [site.name for site in plan.sites] == ["1"]


def _routed(model: nn.Module, pattern: str, **options: Any) -> nn.Module:
    rr.route_layers(model.eval(), pattern, keep=0.5, **options)
    return model


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_exported(kind: Any) -> None:
    assert len(rr.export(_routed(Recurrent(kind), "rnn*"), (X,)).plan.sites) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_proven(kind: Any) -> None:
    model = _routed(Recurrent(kind), "rnn*")
    assert rr.verify(rr.export(model, (X,)), model, (X,)).passed


def _draws(x: Tensor) -> Tensor:
    return x * 2 if random.random() < 0.3 else x * 3


def _asks(x: Tensor) -> Tensor:
    return x * 2 if x.mean() > 0 else x * 3


def test_a_function_that_decides_is_captured_like_the_models_own_code() -> None:
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(WIDTH, WIDTH), 0.5, skip=skip) for skip in (_draws, _asks))).eval()
    bundle = rr.export(model, (X,))
    assert [site.kind for site in bundle.plan.sites] == ["layer", "layer", "python"]
    assert bundle.plan.sites[2].policy.table.tolist() == [[pytest.approx(0.3), pytest.approx(0.7)]]


def test_a_function_whose_draws_are_noise_is_refused() -> None:
    model = nn.Sequential(rr.LayerChoice(nn.Linear(WIDTH, WIDTH), 0.5, skip=lambda x: x * torch.rand(()))).eval()
    with pytest.raises(CaptureError, match=r"test_skip.py:\d+: expected a draw that chooses"):
        rr.export(model, (X,))


def test_cells_are_exported() -> None:
    model = Cells().eval()
    assert len(rr.export(model, (X[0],)).plan.sites) == 2


@pytest.mark.slow
def test_down_blocks_are_proven() -> None:
    model = _routed(Unet(), "down_blocks.*", hidden="hidden_states")
    given = (torch.randn(2, 4, 3, 3), torch.randn(2, 5))
    bundle = rr.export(model, given, dynamic_shapes={"sample": {0: "batch"}, "temb": {0: "batch"}})
    assert rr.verify(bundle, model, given).passed


def test_two_streams_that_come_back_the_other_way_round() -> None:
    x, context, temb = torch.randn(2, 3, WIDTH), torch.randn(2, 3, WIDTH), torch.randn(2, 1, WIDTH)
    result = skipped(JointBlock(), x, context, temb)
    assert result[0] is context and result[1] is x
    assert len(rr.export(_routed(Joint(), "blocks.*", hidden="hidden_states"), (x, context, temb)).plan.sites) == 2


@pytest.mark.slow
def test_attention_that_returns_its_weights_is_proven() -> None:
    with pytest.raises(CaptureError, match=r"site 'layers.0'.*\[2, 3, 3\] as result 1 and no argument.*skip=\('x'"):
        rr.export(Attending().eval(), (X,))
    model = Attending(skip=("x", "zeros")).eval()
    bundle = rr.export(model, (X,), dynamic_shapes={"x": {0: "batch", 1: "length"}})
    assert rr.verify(bundle, model, (X,)).passed


def test_bug_a_wrong_skip_is_seen_by_verify() -> None:
    """The twin: another skip than the file's is another model."""
    model = Attending(skip=("x", "zeros")).eval()
    bundle = rr.export(model, (X,))
    for layer in model.layers:
        layer._skip = lambda x: (x, torch.ones(2, 3, 3))
    with pytest.raises(rr.ParityError):
        rr.verify(bundle, model, (X,))
