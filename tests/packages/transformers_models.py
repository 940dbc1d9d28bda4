"""transformers: encoders and decoders whose layers are routed, and layer drop of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tests.packages.case import Case, given, images, numbers
from tests.packages.importing import imported

IDS = numbers(2, 6)
ALL = torch.ones(2, 6, dtype=torch.int64)
SIZES = {
    "vocab_size": 16,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
DECODER = SIZES | {"num_key_value_heads": 1, "head_dim": 8, "use_cache": False}
GPT = {"vocab_size": 16, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16, "use_cache": False}
GPT |= {"bos_token_id": 0, "eos_token_id": 1}
T5 = {"vocab_size": 16, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2, "use_cache": False}
MOE = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
VISION = {"image_size": 16, "patch_size": 8} | SIZES
SPEECH = SIZES | {
    "conv_dim": (8, 8),
    "conv_kernel": (4, 2),
    "conv_stride": (2, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "layerdrop": 0.3,
    "mask_time_prob": 0.0,
}


def model(name: str, settings: Mapping[str, Any], config: str = "") -> Any:
    """Returns what makes a class of transformers, of this configuration."""

    def make() -> Any:
        transformers = imported("transformers")
        kind = getattr(transformers, name)
        made = (getattr(transformers, config) if config else kind.config_class)(**settings)
        return kind._from_config(made, **given_implementation(settings))

    return make


def given_implementation(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns how a model attends: as plain operators, unless its settings say otherwise."""
    return {} if "attn_implementation" in settings else {"attn_implementation": "eager"}


def routed(
    name: str, kind: str, settings: Mapping[str, Any], layers: str, *args: Any, paths: int = 4, **more: Any
) -> Case:
    """A model whose layers are routed; of two layers there are four paths."""
    return Case(
        f"transformers/{name}",
        model(kind, settings),
        args or (IDS, ALL),
        layers=tuple(layers.split()),
        paths=paths,
        **more,
    )


def training(name: str, kind: str, settings: Mapping[str, Any], *args: Any, paths: int = 4, **more: Any) -> Case:
    """A model whose layer drop is kept."""
    return Case(f"transformers/{name}", model(kind, settings), args or (IDS, ALL), training=True, paths=paths, **more)


WAV = given(1, 64)
CASES = [
    routed(
        "bert",
        "BertModel",
        SIZES,
        "encoder.layer.*",
        dynamic={"input_ids": {0: "batch", 1: "length"}, "attention_mask": {0: "batch", 1: "length"}},
    ),
    routed("t5_encoder", "T5EncoderModel", T5, "encoder.block.1", paths=2),
    routed(
        "t5_encoder_first",
        "T5EncoderModel",
        T5,
        "encoder.block.*",
        paths=0,
        refuses="skip=\\('hidden_states', 'zeros', None\\)",
        reason="its first block makes the position bias that the others add: `skip=` says what there is without it",
    ),
    routed("t5_encoder_skip", "T5EncoderModel", T5, "encoder.block.*", skip=("hidden_states", "zeros", None)),
    routed(
        "t5_decoder",
        "T5Model",
        T5 | {"num_decoder_layers": 2},
        "decoder.block.1",
        paths=2,
        kwargs={"decoder_input_ids": numbers(2, 4)},
    ),
    routed("umt5_encoder", "UMT5EncoderModel", T5, "encoder.block.*"),
    routed("wavlm", "WavLMModel", SPEECH, "encoder.layers.1", WAV, paths=2),
    training("wavlm_layer_drop", "WavLMModel", SPEECH, WAV, paths=2),
    training("hubert_layer_drop", "HubertModel", SPEECH, WAV),
    routed(
        "switch_encoder",
        "SwitchTransformersEncoderModel",
        T5 | MOE | {"num_sparse_encoder_layers": 1, "expert_capacity": 4},
        "encoder.block.1",
        paths=0,
        refuses="modeling_switch_transformers.py:.*a number of the input",
        reason="it loops over the experts that some token chose, and over their tokens: sizes that depend on the input",
    ),
    routed("mixtral", "MixtralModel", DECODER | MOE | {"experts_implementation": "batched_mm"}, "layers.*", IDS),
    routed(
        "mixtral_default",
        "MixtralModel",
        DECODER | MOE,
        "layers.*",
        IDS,
        paths=0,
        refuses='experts_implementation="batched_mm"',
        reason='its default kernel has no form in ONNX; `experts_implementation="batched_mm"` holds',
    ),
    routed("qwen3_moe", "Qwen3MoeModel", DECODER | MOE | {"experts_implementation": "batched_mm"}, "layers.*", IDS),
    routed("gpt2", "GPT2Model", GPT, "h.*", IDS, kwargs={"attention_mask": ALL}),
    routed("gpt_neox", "GPTNeoXModel", DECODER, "layers.*"),
    routed("llama", "LlamaModel", DECODER, "layers.*"),
    routed(
        "llama_cache",
        "LlamaModel",
        DECODER | {"use_cache": True},
        "layers.*",
        paths=0,
        refuses="use_cache=False",
        reason="a cache is no tensor; `use_cache=False` holds",
    ),
    routed(
        "gemma3",
        "Gemma3TextModel",
        DECODER | {"layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8},
        "layers.*",
    ),
    routed(
        "falcon",
        "FalconModel",
        SIZES | {"use_cache": False, "alibi": False},
        "h.*",
        IDS,
        kwargs={"attention_mask": ALL},
        paths=0,
        refuses="skip=\\('hidden_states', 'zeros'\\)",
        reason="its layers return their attention too: `skip=` says what there is of it, as for bloom",
    ),
    routed(
        "bloom",
        "BloomModel",
        {"vocab_size": 16, "hidden_size": 16, "n_layer": 2, "n_head": 2, "use_cache": False},
        "h.*",
        IDS,
        kwargs={"attention_mask": ALL},
        skip=("hidden_states", "zeros"),
    ),
    routed(
        "mamba",
        "MambaModel",
        {"vocab_size": 16, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2, "use_cache": False},
        "layers.*",
        IDS,
    ),
    routed(
        "deberta_v2",
        "DebertaV2Model",
        SIZES | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "encoder.layer.*",
    ),
    routed(
        "xlnet",
        "XLNetModel",
        {"vocab_size": 16, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 16},
        "layer.*",
        IDS,
    ),
    routed("fnet", "FNetModel", SIZES, "encoder.layer.*", IDS),
    routed(
        "longformer",
        "LongformerModel",
        SIZES | {"attention_window": 4},
        "encoder.layer.*",
        numbers(2, 8),
        torch.ones(2, 8, dtype=torch.int64),
        paths=0,
        refuses="modeling_longformer.py:.*a number of the input",
        reason="it reads from the mask whether, and where, attention is global: sizes that depend on the input",
    ),
    routed(
        "funnel",
        "FunnelBaseModel",
        {"vocab_size": 16, "block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 16},
        "encoder.blocks.0.0",
        paths=2,
    ),
    routed("clip_vision", "CLIPVisionModel", VISION, "encoder.layers.*", *images(16)),
    routed("dinov2", "Dinov2Model", VISION, "encoder.layer.*", *images(16)),
    training("dinov2_drop_path", "Dinov2Model", VISION | {"drop_path_rate": 0.4}, *images(16), paths=16),
    training(
        "swin_drop_path",
        "SwinModel",
        {
            "image_size": 16,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [1, 1],
            "window_size": 4,
            "drop_path_rate": 0.4,
        },
        *images(16),
        paths=2,
    ),
    routed(
        "mobilenet_v2",
        "MobileNetV2Model",
        {"image_size": 32, "depth_multiplier": 0.25, "min_depth": 8},
        "layer.[13]",
        *images(),
    ),
    routed(
        "levit",
        "LevitModel",
        {
            "image_size": 64,
            "hidden_sizes": [16, 16, 16],
            "num_attention_heads": [1, 1, 1],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
            "mlp_ratio": [2, 2, 2],
            "attention_ratio": [2, 2, 2],
        },
        "encoder.stages.0.layers.0 encoder.stages.0.layers.1",
        *images(64),
    ),
    routed(
        "whisper_decoder",
        "WhisperModel",
        {
            "vocab_size": 16,
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16,
            "num_mel_bins": 4,
            "max_source_positions": 5,
            "max_target_positions": 8,
            "use_cache": False,
            "pad_token_id": 0,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 1,
        },
        "decoder.layers.*",
        given(1, 4, 10),
        kwargs={"decoder_input_ids": numbers(1, 4)},
    ),
    routed(
        "patchtst",
        "PatchTSTModel",
        {
            "num_input_channels": 2,
            "context_length": 16,
            "patch_length": 4,
            "patch_stride": 4,
            "d_model": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "ffn_dim": 16,
        },
        "encoder.layers.*",
        given(1, 16, 2),
        hidden="hidden_state",
    ),
]
