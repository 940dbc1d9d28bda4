"""What ``torch.onnx.export`` makes of random models, exported there and then."""

from __future__ import annotations

import contextlib
import functools
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.lint.specimen import (
    LAYERS,
    WIDTH,
    Gallery,
    always_agrees,
    draw,
    first_runs_agree,
    is_frozen,
    is_inverted,
    is_random,
)

STOCK = Gallery()
DYNAMO, TRACED = "torch.onnx.export(dynamo=True)", "torch.onnx.export(dynamo=False)"


class Routed(nn.Module):
    """Layers of which the i-th adds 2^i, joined by a function of (model, i, x)."""

    def __init__(self, step: Callable[[Routed, int, Tensor], Tensor] | None = None, keep: float = 0.5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.step = step
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))
        with torch.no_grad():
            for i, layer in enumerate(self.layers):
                layer.weight.copy_(torch.eye(WIDTH) + 1e-6 * torch.rand(WIDTH, WIDTH, generator=generator))
                layer.bias.fill_(2.0**i)
        self.register_buffer("keep", torch.tensor(keep))
        self.register_buffer("keeps", torch.full((LAYERS,), keep))

    def forward(self, x: Tensor) -> Tensor:
        for i in range(LAYERS):
            x = self.step(self, i, x)
        return x


class Vector(Routed):
    """All decisions from one vector, as one would do it well."""

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.bernoulli(self.keeps)
        for i, layer in enumerate(self.layers):
            x = torch.where(kept[i] > 0, layer(x), x)
        return x


class Experts(Routed):
    """Two of the layers, drawn without replacement."""

    def forward(self, x: Tensor) -> Tensor:
        chosen = torch.multinomial(self.keeps, 2)
        for i, layer in enumerate(self.layers):
            x = torch.where((chosen == i).any(), layer(x), x)
        return x


class Tokens(nn.Module):
    """Two classes of every row, drawn without replacement."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.multinomial(torch.softmax(x, -1), 2)


def bernoulli(model: Routed, i: int, x: Tensor) -> Tensor:
    return torch.where(torch.bernoulli(model.keep) > 0, model.layers[i](x), x)


def gate(model: Routed, i: int, x: Tensor) -> Tensor:
    keep = torch.sigmoid(0 * x.mean() + 2.2)  # .9
    return torch.where(torch.bernoulli(keep) > 0, model.layers[i](x), x)


def uniform(model: Routed, i: int, x: Tensor) -> Tensor:
    return torch.where(torch.rand(()) < model.keep, model.layers[i](x), x)


def uniform_like(model: Routed, i: int, x: Tensor) -> Tensor:
    return torch.where(torch.rand_like(x[:1, :1]) < 0.5, model.layers[i](x), x)


def cond(model: Routed, i: int, x: Tensor) -> Tensor:
    result: Tensor = torch.cond(torch.rand(()) < 0.5, lambda x: model.layers[i](x), lambda x: x.clone(), (x,))
    return result


def stochastic_depth(model: Routed, i: int, x: Tensor) -> Tensor:
    return x + (model.layers[i](x) - x) * x.new_empty(x.shape[0], 1).bernoulli_(0.5)


def dropout(model: Routed, i: int, x: Tensor) -> Tensor:
    return F.dropout(model.layers[i](x), 0.5, training=True)


def noise(model: Routed, i: int, x: Tensor) -> Tensor:
    return model.layers[i](x) + torch.randn(WIDTH)


def noise_like(model: Routed, i: int, x: Tensor) -> Tensor:
    return model.layers[i](x) + torch.randn_like(x)


def training_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.3), nn.Linear(WIDTH, WIDTH), nn.Dropout(0.5))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "bernoulli": lambda: Routed(bernoulli),
    "bernoulli_vector": Vector,
    "bernoulli_vector_often": lambda: Vector(keep=0.9),
    "cond": lambda: Routed(cond),
    "dropout": lambda: Routed(dropout),
    "experts": Experts,
    "gate": lambda: Routed(gate),
    "noise": lambda: Routed(noise),
    "noise_like": lambda: Routed(noise_like),
    "stochastic_depth": lambda: Routed(stochastic_depth),
    "tokens": Tokens,
    "training": training_net,
    "uniform": lambda: Routed(uniform),
    "uniform_like": lambda: Routed(uniform_like),
}


@functools.cache
def _exported(name: str, dynamo: bool) -> bytes:
    model = MODELS[name]().train(name == "training")
    mode = torch.onnx.TrainingMode.TRAINING if name == "training" else torch.onnx.TrainingMode.EVAL
    buffer = io.BytesIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if dynamo:
            torch.onnx.export(model, (torch.zeros(3, WIDTH),), buffer, dynamo=True)
        else:
            torch.onnx.export(model, (torch.zeros(3, WIDTH),), buffer, dynamo=False, training=mode)
    return buffer.getvalue()


def exported(name: str, *, dynamo: bool) -> onnx.ModelProto:
    """Returns what ``torch.onnx.export`` makes of one of the models."""
    return onnx.load_from_string(_exported(name, dynamo))


def save(model: onnx.ModelProto, folder: Path) -> Path:
    file = folder / "model.onnx"
    onnx.save(model, file)
    return file


@STOCK(
    "RR201",
    made_by=DYNAMO,
    where={"RR201": ("node_where", "main graph")},
    shows=is_frozen,
)
def bernoulli_vector(folder: Path) -> Path:
    """Its optimiser computes ``torch.bernoulli`` of a buffer once and stores which layers run."""
    return save(exported("bernoulli_vector", dynamo=True), folder)


@STOCK("RR101 RR105", made_by=TRACED, where={"RR101": ("/Bernoulli", "main graph")}, shows=is_inverted)
def bernoulli_vector_traced(folder: Path) -> Path:
    return save(exported("bernoulli_vector_often", dynamo=False), folder)


@STOCK("RR101 RR105 RR203", made_by=DYNAMO, where={"RR203": ("", "main graph")}, shows=always_agrees)
def bernoulli_merged(folder: Path) -> Path:
    """Its optimiser merges the equal Bernoulli nodes: one draw decides all layers."""
    return save(exported("bernoulli", dynamo=True), folder)


@STOCK("RR101 RR103 RR105", made_by=TRACED, where={"RR101": ("/Bernoulli", "main graph")}, shows=always_agrees)
def bernoulli_merged_by_onnxruntime(folder: Path) -> Path:
    return save(exported("bernoulli", dynamo=False), folder)


@STOCK("RR101 RR103", made_by=DYNAMO, where={"RR101": ("node_bernoulli", "main graph")}, shows=is_inverted)
def bernoulli_of_input(folder: Path) -> Path:
    return save(exported("gate", dynamo=True), folder)


@STOCK("RR103 RR105", made_by=DYNAMO, where={"RR103": ("node_rand", "main graph")}, shows=first_runs_agree)
def rand_per_layer(folder: Path) -> Path:
    return save(exported("uniform", dynamo=True), folder)


@STOCK("RR103 RR105", made_by=TRACED, where={"RR103": ("/RandomUniform", "main graph")}, shows=first_runs_agree)
def rand_per_layer_traced(folder: Path) -> Path:
    return save(exported("uniform", dynamo=False), folder)


@STOCK("RR103 RR105", made_by=DYNAMO, where={"RR105": ("node_rand", "main graph")}, shows=first_runs_agree)
def rand_per_cond(folder: Path) -> Path:
    return save(exported("cond", dynamo=True), folder)


@STOCK("RR103", made_by=DYNAMO, where={"RR103": ("node_rand_like", "main graph")}, shows=first_runs_agree)
def rand_like_per_layer(folder: Path) -> Path:
    return save(exported("uniform_like", dynamo=True), folder)


@STOCK("RR103", made_by=TRACED, where={"RR103": ("/RandomUniformLike", "main graph")}, shows=first_runs_agree)
def rand_like_per_layer_traced(folder: Path) -> Path:
    return save(exported("uniform_like", dynamo=False), folder)


@STOCK("RR103 RR105", made_by=DYNAMO, shows=first_runs_agree)
def stochastic_depth_per_layer(folder: Path) -> Path:
    return save(exported("stochastic_depth", dynamo=True), folder)


@STOCK("RR102 RR103", made_by=DYNAMO, where={"RR102": ("node_native_dropout", "main graph")}, shows=is_random)
def dropout_forced(folder: Path) -> Path:
    return save(exported("dropout", dynamo=True), folder)


@STOCK("RR102 RR103", made_by=DYNAMO, where={"RR102": ("node_native_dropout", "main graph")}, shows=is_random)
def dropout_in_training(folder: Path) -> Path:
    return save(exported("training", dynamo=True), folder)


@STOCK("RR102 RR103", made_by=TRACED, where={"RR102": ("/1/Dropout", "main graph")}, shows=is_random)
def dropout_in_training_traced(folder: Path) -> Path:
    return save(exported("training", dynamo=False), folder)


@STOCK("RR103 RR105", made_by=DYNAMO, where={"RR103": ("node_randn", "main graph")}, shows=is_random)
def noise_per_layer(folder: Path) -> Path:
    return save(exported("noise", dynamo=True), folder)


@STOCK("RR103", made_by=TRACED, where={"RR103": ("/RandomNormalLike", "main graph")}, shows=is_random)
def noise_like_per_layer(folder: Path) -> Path:
    return save(exported("noise_like", dynamo=False), folder)


def _repeats_a_class(file: Path) -> None:
    """Two samples without replacement are never equal."""
    chosen = draw(file, sessions=1, runs=200)
    assert (chosen[..., 0] == chosen[..., 1]).any()


def _runs_one_layer(file: Path) -> None:
    """Two layers without replacement are never one."""
    sums = draw(file, sessions=1, runs=200)[0, :, 0, 0]
    assert any(round(float(total)).bit_count() == 1 for total in sums)


@STOCK("RR105 RR110", made_by=DYNAMO, where={"RR110": ("node_Multinomial", "main graph")}, shows=_runs_one_layer)
def multinomial_vector(folder: Path) -> Path:
    return save(exported("experts", dynamo=True), folder)


@STOCK("RR110", made_by=DYNAMO, where={"RR110": ("node_multinomial", "main graph")}, shows=_repeats_a_class)
def multinomial_rows(folder: Path) -> Path:
    return save(exported("tokens", dynamo=True), folder)
