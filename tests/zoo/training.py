"""Routing of the training time that users keep at inference: stochastic depth, drop path, layer drop.

Stochastic depth is written here as torchvision and timm do it, as the wheels of torchvision, which timm needs too, want
torch with CUDA. The models of Hugging Face stand in ``hugging_face.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.case import Case
from tests.zoo.hugging_face import (
    ADAPTER,
    ALL,
    AUTOFORMER,
    BART,
    FLAUBERT,
    FULL,
    HUGGING,
    IDS,
    INFORMER,
    SERIES,
    SPEECH,
    WAV,
    hugging,
    states,
)

KEEP = {"keep_training_routes": True}


def seeded(make: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> Callable[[], tuple[nn.Module, tuple[Any, ...]]]:
    """A model in evaluation mode and inputs of these shapes, the same every time."""

    def build() -> tuple[nn.Module, tuple[Any, ...]]:
        torch.manual_seed(0)
        return make().eval(), tuple(torch.randn(shape) for shape in shapes)

    return build


def stochastic_depth(x: Tensor, p: float, mode: str, training: bool) -> Tensor:
    """What torchvision's function of that name does: ``x`` with probability 1 - p, scaled, by batch or row."""
    if not training or p == 0:
        return x
    rows = len(x) if mode == "row" else 1
    coin = torch.empty((rows, *[1] * (x.dim() - 1)), dtype=x.dtype).bernoulli_(1 - p)
    return x * coin.div_(1 - p)


class StochasticDepth(nn.Module):
    def __init__(self, p: float, mode: str) -> None:
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        return stochastic_depth(x, self.p, self.mode, self.training)


class ConvBlock(nn.Module):
    """The residual block of torchvision's EfficientNet and ConvNeXt, with what else reads ``training`` in them."""

    def __init__(self, width: int, p: float, mode: str) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU())
        self.stochastic_depth = StochasticDepth(p, mode)

    def forward(self, input: Tensor) -> Tensor:
        result = self.block(input)
        result = self.stochastic_depth(result)
        result += input
        return result


class ConvNet(nn.Module):
    def __init__(self, rates: tuple[float, ...], mode: str) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 1), *[ConvBlock(4, rate, mode) for rate in rates])
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(x.mean([2, 3]))


class SwinBlock(nn.Module):
    """One module that is called twice, as in torchvision's Swin: two decisions."""

    def __init__(self, width: int, p: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.Linear(width, width)
        self.stochastic_depth = StochasticDepth(p, "row")
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        x = x + self.stochastic_depth(self.mlp(self.norm2(x)))
        return x


class FunctionalDepth(nn.Module):
    """The function, called with ``self.training`` by the user."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + stochastic_depth(torch.relu(layer(x)), 0.4, "batch", self.training)
        return x


class DropPath(nn.Module):
    """What timm's module of that name does: the coins of all rows are one tensor, which multiplies."""

    def __init__(self, rate: float, scaled: bool = True) -> None:
        super().__init__()
        self.rate, self.scaled = rate, scaled

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        coins = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        if self.scaled:
            coins.div_(1 - self.rate)
        return coins * x


class OldDropPath(DropPath):
    """As it was before ``bernoulli_``, and still is in many projects: a uniform draw is rounded down."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.rate
        coins = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype) + keep
        coins.floor_()
        return x.div(keep) * coins


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class VitBlock(nn.Module):
    """timm's ``vision_transformer.Block``."""

    def __init__(self, width: int, rate: float, drop: Callable[[float], nn.Module] = DropPath) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)
        self.ls1 = LayerScale(width)
        self.drop_path1 = drop(rate) if rate > 0.0 else nn.Identity()
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(2 * width, width))
        self.ls2 = LayerScale(width)
        self.drop_path2 = drop(rate) if rate > 0.0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.drop_path1(self.ls1(self.attn(y, y, y, need_weights=False)[0]))
        x = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
        return x


class Vit(nn.Module):
    """Rates that grow with depth, from 0, as everybody sets them."""

    def __init__(self, depth: int = 3, rate: float = 0.3, drop: Callable[[float], nn.Module] = DropPath) -> None:
        super().__init__()
        rates = [x.item() for x in torch.linspace(0, rate, depth)]
        self.blocks = nn.Sequential(*[VitBlock(8, r, drop) for r in rates])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(x)[:, 0])


class LayerDropModuleList(nn.ModuleList):
    """Layer drop as fairseq has it: the container yields the layers that are kept."""

    def __init__(self, rate: float, layers: list[nn.Module]) -> None:
        super().__init__(layers)
        self.rate = rate

    def __iter__(self) -> Any:
        draws = torch.empty(len(self)).uniform_()
        for draw, layer in zip(draws, super().__iter__(), strict=True):
            if self.training and draw <= self.rate:
                continue
            yield layer


class FairseqEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = LayerDropModuleList(0.3, [nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x) + 0.5 * x
        return F.dropout(x, 0.1, self.training)


CASES: list[Case] = [
    Case(
        "training/stochastic_depth_batch", seeded(lambda: ConvNet((0.3, 0.4), "batch"), (2, 3, 4, 4)), 4, options=KEEP
    ),
    Case(
        "training/stochastic_depth_row", seeded(lambda: ConvNet((0.0, 0.2, 0.4), "row"), (1, 3, 4, 4)), 4, options=KEEP
    ),
    Case(
        "training/stochastic_depth_swin",
        seeded(lambda: nn.Sequential(SwinBlock(8, 0.3), SwinBlock(8, 0.4)), (1, 4, 8)),
        16,
        options=KEEP,
    ),
    Case("training/stochastic_depth_function", seeded(FunctionalDepth, (2, 6)), 8, options=KEEP),
    Case("training/drop_path", seeded(Vit, (1, 4, 8)), 16, options=KEEP),
    Case(
        "training/drop_path_unscaled",
        seeded(lambda: Vit(2, 0.3, lambda rate: DropPath(rate, False)), (1, 4, 8)),
        4,
        options=KEEP,
    ),
    Case("training/drop_path_floor", seeded(lambda: Vit(2, 0.3, OldDropPath), (1, 4, 8)), 4, options=KEEP),
    Case("training/layer_drop_list", seeded(FairseqEncoder, (2, 6)), 8, options=KEEP),
    *[
        Case(f"training/{name}", hugging(path, config, settings, inputs), paths, options=KEEP)
        for name, (path, config, settings, inputs, paths) in HUGGING.items()
    ],
    Case(
        "training/informer_encoder",
        hugging(INFORMER, "InformerConfig", FULL | {"distil": False}, (states(2, 6, 3),), True),
        4,
        options=KEEP,
    ),
    # torch.export (2.13) itself refuses this one: its irfft without numbers has another size.
    Case(
        "training/autoformer_encoder",
        hugging(AUTOFORMER, "AutoformerConfig", SERIES | {"moving_average": 3}, (states(2, 6, 3),), True),
        0,
        refuses=r"modeling_autoformer\.py:\d+.*every branch to compute, got a RuntimeError",
        options=KEEP,
    ),
    # A layer that changes the length cannot be skipped: it runs, and gives another shape than the skip.
    Case(
        "training/wav2vec2_adapter_stride",
        hugging(ADAPTER, "Wav2Vec2Config", SPEECH | {"num_adapter_layers": 2, "adapter_stride": 2}, WAV),
        0,
        refuses=r"modeling_wav2vec2\.py:\d+.*shape",
        options=KEEP,
    ),
    Case(
        "training/informer_encoder_distil",
        hugging(INFORMER, "InformerConfig", FULL | {"distil": True}, (states(2, 6, 3),), True),
        0,
        refuses=r"modeling_informer\.py:\d+.*shape",
        options=KEEP,
    ),
    # transformers 5.23 sets the states to None where it drops a layer, and fails in training.
    Case(
        "training/pegasus_x_encoder",
        hugging(
            "pegasus_x.modeling_pegasus_x.PegasusXEncoder",
            "PegasusXConfig",
            BART | {"block_size": 2, "num_global_tokens": 2, "stagger_local_blocks": True},
            (IDS, ALL),
        ),
        0,
        refuses=r"modeling_pegasus_x\.py:\d+.*TypeError",
        options=KEEP,
    ),
    # One decision for each row of the batch: no branch can be skipped for all.
    Case(
        "training/drop_path_rows",
        seeded(Vit, (2, 4, 8)),
        0,
        refuses=r"training\.py:\d+.*(batch|row|number)",
        options=KEEP,
    ),
    # It always keeps a cache, which a dropped layer leaves without its entry.
    Case(
        "training/flaubert",
        hugging("flaubert.modeling_flaubert.FlaubertModel", "FlaubertConfig", FLAUBERT, (IDS, ALL)),
        0,
        refuses=r"modeling_flaubert\.py:\d+.*side effect that would be lost: attribute 'dtype' of cache",
        options=KEEP,
    ),
    # Not asked for: the models as they are in evaluation mode, without a decision.
    Case("training/stochastic_depth_eval", seeded(lambda: ConvNet((0.3, 0.4), "batch"), (2, 3, 4, 4)), 1),
    Case("training/bart_encoder_eval", hugging("bart.modeling_bart.BartEncoder", "BartConfig", BART, (IDS, ALL)), 1),
]
