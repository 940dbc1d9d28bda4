"""A routed model takes and gives the state dicts of the plain one; those with ``.layer`` still load."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn

import rr_export as rr


class Inner(nn.Module):
    """Has a submodule that is really called ``layer``, and a parameter beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.rand(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.layer(x)


class OnlyLayer(nn.Module):
    """All keys of it begin with ``layer.``, as a T5 block's do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.ModuleList([nn.Linear(4, 4), Inner()])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer[1](self.layer[0](x))


class Twice(nn.Module):
    """``weight`` and ``layer.weight``: a key with ``.layer`` could be either."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4))
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * self.weight


def shared() -> nn.Module:
    one = nn.Linear(4, 4)
    return nn.Sequential(one, nn.BatchNorm1d(4), one)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), ("*",)),
    "layer": (lambda: nn.Sequential(Inner(), Inner()), ("*",)),
    "only layer": (lambda: nn.Sequential(OnlyLayer(), nn.Linear(4, 4)), ("0",)),
    "twice": (lambda: nn.Sequential(Twice(), Twice()), ("*",)),
    "nested": (lambda: nn.Sequential(nn.Sequential(Inner(), OnlyLayer()), Inner()), ("0.0", "0.1.layer.1", "0", "1")),
    "shared": (shared, ("*",)),
}


def pair(name: str, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """The plain model and one that is routed, of the same weights."""
    make, patterns = NETS[name]
    torch.manual_seed(seed)
    plain = make().eval()
    routed = copy.deepcopy(plain)
    for pattern in patterns:
        rr.route_layers(routed, pattern, keep=0.5)
    return plain, routed


def with_layer(routed: nn.Module) -> dict[str, torch.Tensor]:
    """What ``state_dict`` of a routed model gave before it gave plain keys."""
    return {
        name: tensor.detach().clone()
        for name, tensor in (
            *routed.named_parameters(remove_duplicate=False),
            *routed.named_buffers(remove_duplicate=False),
        )
    }


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", NETS)
def test_a_routed_model_saves_what_the_plain_one_does(name: str) -> None:
    plain, routed = pair(name)
    assert same(plain, routed)
    kept = routed.state_dict(keep_vars=True, prefix="outer.")
    assert list(kept) == [f"outer.{key}" for key in plain.state_dict()]
    assert {id(t) for t in routed.parameters()} <= {id(t) for t in kept.values()}
    assert any(".layer." in f".{key}" for key, _ in routed.named_parameters())  # where weights are registered


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("assign", [False, True])
def test_a_routed_model_loads_plain_keys(name: str, assign: bool) -> None:
    plain, _ = pair(name, seed=1)
    routed = pair(name)[1]
    assert not same(plain, routed)
    told = routed.load_state_dict(plain.state_dict(), assign=assign)
    assert told.missing_keys == told.unexpected_keys == [] and same(plain, routed)
    x = torch.randn(3, 4)
    with rr.forced(routed, [1] * len(rr.plan_of(routed).sites)):
        assert torch.equal(plain(x), routed(x))


@pytest.mark.parametrize("name", NETS)
def test_a_plain_model_loads_what_a_routed_one_saved(name: str) -> None:
    plain, routed = pair(name)[0], pair(name, seed=1)[1]
    plain.load_state_dict(routed.state_dict())
    assert same(plain, routed)


@pytest.mark.parametrize("name", NETS)
def test_keys_with_layer_still_load(name: str) -> None:
    source, routed = pair(name, seed=1)[1], pair(name)[1]
    keys = with_layer(source)
    assert set(keys) != set(routed.state_dict())
    routed.load_state_dict(keys)
    assert same(source, routed)


def test_a_site_as_the_whole_model_and_a_site_in_a_site() -> None:
    plain = Inner()
    for routed in (rr.LayerChoice(Inner(), 0.5), rr.LayerChoice(rr.LayerChoice(Inner(), 0.5), 0.5)):
        routed.load_state_dict(plain.state_dict())
        assert same(plain, routed)
        other = copy.deepcopy(routed)
        other.load_state_dict({key: tensor + 1 for key, tensor in with_layer(routed).items()})
        assert torch.equal(other.state_dict()["scale"], plain.scale + 1)


def test_keys_of_a_layer_that_was_routed_later_load() -> None:
    half = nn.Sequential(nn.Sequential(nn.Linear(4, 4), Inner()))
    rr.route_layers(half, "0", keep=0.5)
    saved = with_layer(half)
    whole = copy.deepcopy(half)
    rr.route_layers(whole, "0.layer.1", keep=0.5)
    whole.load_state_dict({key: tensor + 1 for key, tensor in saved.items()})
    assert torch.equal(whole.state_dict()["0.1.scale"], saved["0.layer.1.scale"] + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.scale": None}, r'Missing key\(s\) in state_dict: "0\.scale"\.'),
        ({"0.layer.extra": torch.ones(1)}, r'Unexpected key\(s\) in state_dict: "0\.layer\.extra"\.'),
        ({"0.extra": torch.ones(1)}, r'Unexpected key\(s\) in state_dict: "0\.extra"\.'),
        ({"0.scale": torch.ones(3)}, r"size mismatch for 0\.scale: "),
    ],
)
def test_what_does_not_fit_has_the_names_of_the_plain_model(change: dict[str, Any], message: str) -> None:
    plain, routed = pair("layer")
    states: dict[str, Any] = {**plain.state_dict(), **change}
    with pytest.raises(RuntimeError, match=message):
        routed.load_state_dict({key: tensor for key, tensor in states.items() if tensor is not None})


def test_versions_of_modules_are_kept() -> None:
    plain, routed = pair("nested")
    versions = routed.state_dict()._metadata
    assert plain.state_dict()._metadata.items() <= versions.items()
    norm = pair("linear")[1]
    states = norm.state_dict()
    del states["1.num_batches_tracked"]  # only of a file without versions is it left out
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "1\.num_batches_tracked"'):
        norm.load_state_dict(states)


def test_copies_pickles_files_and_wrappers(tmp_path: Path) -> None:
    plain, routed = pair("nested", seed=1)
    for copied in (copy.deepcopy(routed), pickle.loads(pickle.dumps(routed))):
        assert same(plain, copied)
        copied.load_state_dict(pair("nested")[0].state_dict())
    buffer = io.BytesIO()
    torch.save(routed.state_dict(), buffer)
    buffer.seek(0)
    pair("nested")[0].load_state_dict(torch.load(buffer, weights_only=True))
    for source, other in ((plain, pair("nested")[1]), (routed, pair("nested")[0])):
        save_model(source, str(tmp_path / "w.safetensors"))
        load_model(other, tmp_path / "w.safetensors")
        assert same(source, other)
    wrapped = nn.DataParallel(routed)
    assert list(wrapped.state_dict()) == [f"module.{key}" for key in plain.state_dict()]
    wrapped.load_state_dict(nn.DataParallel(pair("nested")[0]).state_dict())
    assert same(pair("nested")[0], routed)


def test_an_optimizer_goes_on_with_a_routed_model() -> None:
    plain, routed = pair("layer")
    states = []
    for model in (plain, routed):
        optimizer = torch.optim.Adam(model.parameters())
        with rr.forced(model, [1, 1]) if model is routed else torch.enable_grad():
            model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        states.append(optimizer.state_dict())
    torch.optim.Adam(routed.parameters()).load_state_dict(states[0])
    assert all(
        torch.equal(states[0]["state"][n]["exp_avg"], states[1]["state"][n]["exp_avg"]) for n in states[0]["state"]
    )
    assert same(plain, routed)


def test_bug_a_weight_that_was_set_at_a_site_did_not_reach_its_layer() -> None:
    _, routed = pair("layer")
    scale, linear = nn.Parameter(torch.zeros(4)), nn.Linear(4, 4)
    routed[0].scale = scale
    rr.LayerChoice.__setattr__(routed[1], "scale", scale)  # tied
    assert routed[0].layer.scale is routed[1].layer.scale is scale
    routed[0].layer.layer = linear
    with rr.forced(routed, [1, 1]):
        assert torch.equal(routed(torch.ones(1, 4)), torch.ones(1, 4))
    with pytest.raises(TypeError, match="cannot assign"):
        torch.func.functional_call(routed, {"0.scale": torch.ones(4)}, torch.ones(1, 4))


def test_what_a_site_registers_itself_is_kept() -> None:
    site = rr.LayerChoice(nn.Linear(4, 4), 0.5)
    site.register_buffer("calls", torch.tensor(3))
    other = rr.LayerChoice(nn.Linear(4, 4), 0.5)
    other.register_buffer("calls", torch.tensor(0))
    assert list(site.state_dict()) == ["calls", "weight", "bias"]
    other.load_state_dict(site.state_dict())
    assert int(other.calls) == 3 and same(site, other)


def test_a_pretrained_model_is_saved_and_loaded_by_its_library(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, vocab_size=20
    )
    model = transformers.BertModel(config).eval()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    rr.route_layers(model, "encoder.layer.*", keep=0.5)
    model.save_pretrained(tmp_path)
    again = transformers.BertModel.from_pretrained(tmp_path)
    assert all(torch.equal(before[key], tensor) for key, tensor in again.state_dict().items())
