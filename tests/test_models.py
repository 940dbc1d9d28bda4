"""Layers of real architectures (small, random weights) are routed, exported and equal the eager model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.capture.request import bind
from rr_export.parity.verify import verify_points

transformers = pytest.importorskip("transformers")
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
IDS = torch.randint(5, 60, (2, 6), generator=torch.Generator().manual_seed(0))
TEXT = {"input_ids": IDS, "attention_mask": torch.tensor([[1] * 6, [1] * 4 + [0] * 2])}
TOKENS = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}}


def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(vocab_size=64, **SMALL))


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(vocab_size=64, dim=32, n_layers=3, n_heads=2, hidden_dim=48)
    return transformers.DistilBertModel(config)


def albert() -> nn.Module:
    return transformers.AlbertModel(transformers.AlbertConfig(vocab_size=64, embedding_size=16, **SMALL))


def vit() -> nn.Module:
    return transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=4, **SMALL))


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(vocab_size=64, n_embd=32, n_layer=3, n_head=2, n_positions=16, use_cache=False)
    return transformers.GPT2Model(config)


def llama() -> nn.Module:
    config = transformers.LlamaConfig(vocab_size=64, num_key_value_heads=2, use_cache=False, **SMALL)
    return transformers.LlamaModel(config)


def bart() -> nn.Module:
    size = {"d_model": 32, "encoder_layers": 3, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    return transformers.BartModel(
        transformers.BartConfig(vocab_size=64, max_position_embeddings=16, **size, **heads)
    ).encoder


IMAGE = {"pixel_values": torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
MODELS: dict[str, tuple[Any, str, dict[str, Any], Any]] = {
    "bert": (bert, "encoder.layer.*", TEXT, TOKENS),
    "distilbert": (distilbert, "transformer.layer.*", TEXT, TOKENS),
    "albert": (albert, "encoder.albert_layer_groups.*", TEXT, TOKENS),
    "vit": (vit, "*.layer*.*", IMAGE, {"pixel_values": {0: "batch"}}),
    "gpt2": (gpt2, "h.*", TEXT, TOKENS),
    "llama": (llama, "layers.*", TEXT, TOKENS),
    "bart": (bart, "layers.*", TEXT, TOKENS),
}
QUICK = ("bert", "gpt2")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in MODELS])
def test_routed_layers(name: str, tmp_path: Path) -> None:
    make, pattern, kwargs, dynamic = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    if name == "vit":
        pattern = next(n for n, m in model.named_modules() if type(m).__name__ == "ViTLayer").rpartition(".")[0] + ".*"
    plan = rr.route_layers(model, pattern, keep=0.8)
    assert len(plan.sites) == (1 if name == "albert" else 3)
    bundle = rr.export(model, (), kwargs, dynamic_shapes=dynamic)
    folder = bundle.save(tmp_path / name)
    points = ("paths", "streams", "laziness")
    checks = verify_points(bundle, folder, bind(model, (), kwargs), points=points)
    assert [c.failures for c in checks if c.passed is False] == []
