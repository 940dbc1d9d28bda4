"""Layers of transformers that hand a position bias from one to the next, and are told their index."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import T5Config, T5EncoderModel, WavLMConfig, WavLMModel

import rr_export as rr
from rr_export.errors import PlanError, RunError

DYNAMIC = {name: {0: "batch", 1: "length"} for name in ("input_ids", "attention_mask")}


def t5() -> nn.Module:
    torch.manual_seed(0)
    sizes: Any = {"vocab_size": 32, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 3, "num_heads": 2}
    return T5EncoderModel(T5Config(**sizes, use_cache=False)).eval()


def tokens() -> dict[str, Tensor]:
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    return {
        "input_ids": torch.randint(0, 32, (2, 6), generator=torch.Generator().manual_seed(0)),
        "attention_mask": mask,
    }


def wavlm() -> nn.Module:
    torch.manual_seed(0)
    sizes: Any = {
        **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16},
        **{"conv_dim": (8, 8), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2},
        **{"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "num_buckets": 8},
    }
    return WavLMModel(WavLMConfig(**sizes, max_bucket_distance=16)).eval()


def test_the_first_block_of_t5_is_refused_by_name() -> None:
    model = t5()
    message = r"'encoder.block.0': LayerChoice\(T5Block\).*result 1.*skip=\('hidden_states', 'zeros', None\)"
    with pytest.raises(PlanError, match=message):
        rr.route_layers(model, "encoder.block.*", keep=0.7, kwargs=tokens())
    rr.route_layers(model, "encoder.block.*", keep=0.7)
    with rr.forced(model, [0, 0, 0]), pytest.raises(RunError, match=r"skip=\('hidden_states', 'zeros', None\)"):
        model(**tokens())


def test_the_position_bias_of_t5_passes_by() -> None:
    model, plain = t5(), t5()
    rr.route_layers(model, "encoder.block.[12]", keep=0.7, kwargs=tokens())
    del plain.encoder.block[1]
    with rr.forced(model, [0, 1]), torch.no_grad():
        torch.testing.assert_close(model(**tokens())[0], plain(**tokens())[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zeros", "function"])
def test_t5_is_proven(kind: str) -> None:
    model = t5()
    attention = model.encoder.block[0].layer[0].SelfAttention

    def with_bias(hidden_states: Tensor, *rest: Any, **named: Any) -> tuple[Tensor, Tensor, None]:
        length = hidden_states.shape[1]
        return hidden_states, attention.compute_bias(length, length), None

    skip = ("hidden_states", "zeros", None) if kind == "zeros" else with_bias
    rr.route_layers(model, "encoder.block.0", keep=0.7, skip=skip)
    rr.route_layers(model, "encoder.block.[12]", keep=0.7)
    bundle = rr.export(model, (), tokens(), dynamic_shapes=DYNAMIC)
    assert rr.verify(bundle, model, (), tokens()).passed


def test_bug_layers_that_are_told_their_index() -> None:
    model, x = wavlm(), torch.randn(1, 400)
    with pytest.raises(PlanError, match=r"'encoder.layers.0'.*None as argument 'position_bias'.*'zeros'\)"):
        rr.route_layers(model, "encoder.layers.*", keep=0.7, args=(x,))
    plan = rr.route_layers(model, "encoder.layers.1", keep=0.7, args=(x,))
    for route in (0, 1):
        with rr.forced(model, [route]):
            model(x)
    assert len(plan.sites) == 1


@pytest.mark.slow
def test_wavlm_is_proven() -> None:
    model, x = wavlm(), torch.randn(1, 400)
    rr.route_layers(model, "encoder.layers.0", keep=0.7, skip=("hidden_states", "zeros"))
    rr.route_layers(model, "encoder.layers.1", keep=0.7)
    with pytest.warns(UserWarning, match="routes of training alone, got some of WavLMEncoder"):  # its layer drop
        bundle = rr.export(model, (x,))
    assert rr.verify(bundle, model, (x,)).passed
