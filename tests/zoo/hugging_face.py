"""Encoders and decoders of Hugging Face with layer drop, unchanged, built from tiny random configurations.

They return tuples (``return_dict=False``).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# Hugging Face: module, class, settings of its configuration, inputs, paths.

IDS = torch.arange(3, 11).reshape(2, 4)
ALL = torch.ones(2, 4, dtype=torch.int64)


def states(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


class Embedded(nn.Module):
    """Gives ``x`` by its keyword."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(inputs_embeds=x)[0]


def hugging(
    path: str, config: str, settings: Mapping[str, Any], inputs: tuple[Any, ...], embedded: bool = False
) -> Callable[[], tuple[nn.Module, tuple[Any, ...]]]:
    """The class ``path`` of transformers, with weights large enough for every layer to matter."""

    def build() -> tuple[nn.Module, tuple[Any, ...]]:
        package, name = path.rsplit(".", 1)
        module = importlib.import_module(f"transformers.models.{package}")
        transformers = importlib.import_module("transformers")
        torch.manual_seed(0)
        shared = {"return_dict": False, "use_cache": False, "attn_implementation": "eager"}
        model = getattr(module, name)(getattr(transformers, config)(**(shared | dict(settings))))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.4)
        return (Embedded(model) if embedded else model).eval(), inputs

    return build


BART = {
    "vocab_size": 16,
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 16,
    "encoder_layerdrop": 0.3,
    "decoder_layerdrop": 0.3,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
}
SPEECH = {
    "vocab_size": 16,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "layerdrop": 0.3,
}
CONFORMER = SPEECH | {"hidden_act": "gelu", "conv_depthwise_kernel_size": 3}
WAV = (states(2, 6, 8),)
CODES = (IDS, ALL, states(2, 3, 8), torch.ones(2, 3, dtype=torch.int64))

# name: class, configuration, its settings, inputs, paths
HUGGING: dict[str, tuple[str, str, Mapping[str, Any], tuple[Any, ...], int]] = {
    # `to_drop = False`, set in the branch of the coin, tested afterwards
    "bart_encoder": ("bart.modeling_bart.BartEncoder", "BartConfig", BART, (IDS, ALL), 4),
    "mbart_encoder": ("mbart.modeling_mbart.MBartEncoder", "MBartConfig", BART, (IDS, ALL), 4),
    "marian_encoder": ("marian.modeling_marian.MarianEncoder", "MarianConfig", BART, (IDS, ALL), 4),
    "pegasus_encoder": ("pegasus.modeling_pegasus.PegasusEncoder", "PegasusConfig", BART, (IDS, ALL), 4),
    "plbart_encoder": ("plbart.modeling_plbart.PLBartEncoder", "PLBartConfig", BART, (IDS, ALL), 4),
    "blenderbot_encoder": ("blenderbot.modeling_blenderbot.BlenderbotEncoder", "BlenderbotConfig", BART, (IDS, ALL), 4),
    "blenderbot_small_encoder": (
        "blenderbot_small.modeling_blenderbot_small.BlenderbotSmallEncoder",
        "BlenderbotSmallConfig",
        BART,
        (IDS, ALL),
        4,
    ),
    "m2m_100_encoder": ("m2m_100.modeling_m2m_100.M2M100Encoder", "M2M100Config", BART, (IDS, ALL), 4),
    "mvp_encoder": ("mvp.modeling_mvp.MvpEncoder", "MvpConfig", BART, (IDS, ALL), 4),
    "fsmt_encoder": (
        "fsmt.modeling_fsmt.FSMTEncoder",
        "FSMTConfig",
        {k: v for k, v in BART.items() if k != "vocab_size"}
        | {"langs": ["en", "de"], "src_vocab_size": 16, "tgt_vocab_size": 16},
        (IDS, ALL),
        4,
    ),
    "bigbird_pegasus_encoder": (
        "bigbird_pegasus.modeling_bigbird_pegasus.BigBirdPegasusEncoder",
        "BigBirdPegasusConfig",
        BART | {"attention_type": "original_full"},
        (IDS, ALL),
        4,
    ),
    "nllb_moe_encoder": (
        "nllb_moe.modeling_nllb_moe.NllbMoeEncoder",
        "NllbMoeConfig",
        BART | {"num_experts": 2, "encoder_sparse_step": 0, "decoder_sparse_step": 0},
        (IDS, ALL),
        4,
    ),
    "whisper_encoder": (
        "whisper.modeling_whisper.WhisperEncoder",
        "WhisperConfig",
        BART | {"num_mel_bins": 4, "max_source_positions": 5, "max_target_positions": 8},
        (states(2, 4, 10),),
        4,
    ),
    "speech_to_text_encoder": (
        "speech_to_text.modeling_speech_to_text.Speech2TextEncoder",
        "Speech2TextConfig",
        BART
        | {
            "input_feat_per_channel": 4,
            "conv_channels": 8,
            "max_source_positions": 16,
            "max_target_positions": 16,
        },
        (states(2, 16, 4), torch.ones(2, 16, dtype=torch.int64)),
        4,
    ),
    "qwen2_audio_encoder": (
        "qwen2_audio.modeling_qwen2_audio.Qwen2AudioEncoder",
        "Qwen2AudioEncoderConfig",
        {
            "num_mel_bins": 4,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "encoder_layerdrop": 0.3,
            "d_model": 8,
            "max_source_positions": 6,
        },
        (states(2, 4, 12),),
        4,
    ),
    "time_series_transformer_encoder": (
        "time_series_transformer.modeling_time_series_transformer.TimeSeriesTransformerEncoder",
        "TimeSeriesTransformerConfig",
        BART | {"prediction_length": 4, "context_length": 6, "lags_sequence": [1]},
        (torch.ones(2, 6, dtype=torch.int64), states(2, 6, 3)),
        4,
    ),
    "parakeet_encoder": (
        "parakeet.modeling_parakeet.ParakeetEncoder",
        "ParakeetEncoderConfig",
        {
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "layerdrop": 0.3,
            "num_mel_bins": 8,
            "subsampling_conv_channels": 4,
            "conv_kernel_size": 3,
            "max_position_embeddings": 32,
        },
        (states(2, 16, 8),),
        4,
    ),
    "lasr_encoder": (
        "lasr.modeling_lasr.LasrEncoder",
        "LasrEncoderConfig",
        {
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "layerdrop": 0.3,
            "num_mel_bins": 8,
            "subsampling_conv_channels": 4,
            "conv_kernel_size": 3,
            "max_position_embeddings": 32,
        },
        (states(2, 24, 8),),
        4,
    ),
    "table_transformer_encoder": (
        "table_transformer.modeling_table_transformer.TableTransformerEncoder",
        "TableTransformerConfig",
        BART | {"use_timm_backbone": False, "backbone": None, "backbone_config": {"model_type": "resnet"}},
        (states(2, 4, 8), ALL, states(2, 4, 8)),
        4,
    ),
    # `continue` in the branch of the coin
    "bart_decoder": ("bart.modeling_bart.BartDecoder", "BartConfig", BART, CODES, 4),
    "mbart_decoder": ("mbart.modeling_mbart.MBartDecoder", "MBartConfig", BART, CODES, 4),
    "pegasus_decoder": ("pegasus.modeling_pegasus.PegasusDecoder", "PegasusConfig", BART, CODES, 4),
    "trocr_decoder": (
        "trocr.modeling_trocr.TrOCRDecoder",
        "TrOCRConfig",
        BART | {"cross_attention_hidden_size": 8, "is_decoder": True},
        CODES,
        4,
    ),
    "opt_decoder": (
        "opt.modeling_opt.OPTDecoder",
        "OPTConfig",
        {
            "vocab_size": 16,
            "hidden_size": 8,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "ffn_dim": 16,
            "max_position_embeddings": 16,
            "word_embed_proj_dim": 8,
            "layerdrop": 0.3,
        },
        (IDS, ALL),
        8,
    ),
    "xglm": (
        "xglm.modeling_xglm.XGLMModel",
        "XGLMConfig",
        {
            "vocab_size": 16,
            "d_model": 8,
            "num_layers": 3,
            "attention_heads": 2,
            "ffn_dim": 16,
            "max_position_embeddings": 16,
            "layerdrop": 0.3,
        },
        (IDS, ALL),
        8,
    ),
    "biogpt": (
        "biogpt.modeling_biogpt.BioGptModel",
        "BioGptConfig",
        {
            "vocab_size": 16,
            "hidden_size": 8,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "max_position_embeddings": 16,
            "layerdrop": 0.3,
        },
        (IDS, ALL),
        8,
    ),
    "kosmos2_text": (
        "kosmos2.modeling_kosmos2.Kosmos2TextTransformer",
        "Kosmos2TextConfig",
        {
            "vocab_size": 16,
            "embed_dim": 8,
            "layers": 2,
            "attention_heads": 2,
            "ffn_dim": 16,
            "max_position_embeddings": 16,
            "layerdrop": 0.3,
        },
        (IDS, ALL),
        4,
    ),
    "whisper_decoder": (
        "whisper.modeling_whisper.WhisperDecoder",
        "WhisperConfig",
        BART | {"num_mel_bins": 4, "max_source_positions": 5, "max_target_positions": 8},
        (IDS, ALL, states(2, 5, 8)),
        4,
    ),
    # `random.uniform(0, 1)`, drawn in evaluation mode too
    "musicgen_decoder": (
        "musicgen.modeling_musicgen.MusicgenDecoder",
        "MusicgenDecoderConfig",
        {
            "vocab_size": 16,
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "ffn_dim": 16,
            "num_codebooks": 2,
            "max_position_embeddings": 16,
            "layerdrop": 0.3,
        },
        (IDS, ALL[:1], states(1, 3, 8), torch.ones(1, 3, dtype=torch.int64)),
        4,
    ),
    # `np.random.uniform(0, 1)`, drawn in evaluation mode too; a local of another type in the branch that skips
    "vits_encoder": (
        "vits.modeling_vits.VitsEncoder",
        "VitsConfig",
        {
            "vocab_size": 16,
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "ffn_dim": 16,
            "layerdrop": 0.3,
        },
        (states(2, 4, 8), torch.ones(2, 4, 1)),
        4,
    ),
    # `skip_the_layer = draw < p`, then `if not skip_the_layer or synced_gpus:`
    "wav2vec2_encoder": ("wav2vec2.modeling_wav2vec2.Wav2Vec2Encoder", "Wav2Vec2Config", SPEECH, WAV, 8),
    "wav2vec2_stable_encoder": (
        "wav2vec2.modeling_wav2vec2.Wav2Vec2EncoderStableLayerNorm",
        "Wav2Vec2Config",
        SPEECH,
        WAV,
        8,
    ),
    "hubert_encoder": ("hubert.modeling_hubert.HubertEncoder", "HubertConfig", SPEECH, WAV, 8),
    "unispeech_encoder": ("unispeech.modeling_unispeech.UniSpeechEncoder", "UniSpeechConfig", SPEECH, WAV, 8),
    "unispeech_sat_encoder": (
        "unispeech_sat.modeling_unispeech_sat.UniSpeechSatEncoder",
        "UniSpeechSatConfig",
        SPEECH,
        WAV,
        8,
    ),
    "data2vec_audio_encoder": (
        "data2vec.modeling_data2vec_audio.Data2VecAudioEncoder",
        "Data2VecAudioConfig",
        SPEECH | {"conv_pos_kernel_size": 3},
        WAV,
        8,
    ),
    "sew_encoder": ("sew.modeling_sew.SEWEncoder", "SEWConfig", SPEECH | {"squeeze_factor": 2}, WAV, 8),
    "wav2vec2_conformer_encoder": (
        "wav2vec2_conformer.modeling_wav2vec2_conformer.Wav2Vec2ConformerEncoder",
        "Wav2Vec2ConformerConfig",
        CONFORMER,
        WAV,
        8,
    ),
    "wav2vec2_bert_encoder": (
        "wav2vec2_bert.modeling_wav2vec2_bert.Wav2Vec2BertEncoder",
        "Wav2Vec2BertConfig",
        CONFORMER,
        WAV,
        8,
    ),
    "seamless_m4t_speech_encoder": (
        "seamless_m4t.modeling_seamless_m4t.SeamlessM4TConformerEncoder",
        "SeamlessM4TConfig",
        {
            "hidden_size": 8,
            "speech_encoder_layers": 2,
            "speech_encoder_attention_heads": 2,
            "speech_encoder_intermediate_size": 16,
            "speech_encoder_layerdrop": 0.3,
            "conv_depthwise_kernel_size": 3,
            "max_source_positions": 32,
        },
        WAV,
        4,
    ),
    "speecht5_encoder": (
        "speecht5.modeling_speecht5.SpeechT5Encoder",
        "SpeechT5Config",
        {
            "hidden_size": 8,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 16,
            "encoder_layerdrop": 0.3,
            "encoder_max_relative_position": 4,
        },
        WAV,
        4,
    ),
    # the first layer, which makes the position bias of all, is never skipped
    "wavlm_encoder": ("wavlm.modeling_wavlm.WavLMEncoder", "WavLMConfig", SPEECH, WAV, 4),
    # `np.random.random()`, `if not self.training or (draw > p)`; a skipped layer does not halve the length: see below
    "wav2vec2_adapter": (
        "wav2vec2.modeling_wav2vec2.Wav2Vec2Adapter",
        "Wav2Vec2Config",
        SPEECH | {"num_adapter_layers": 2, "adapter_stride": 1},
        WAV,
        4,
    ),
    # stochastic depth of vision models, on a batch of 1
    "convnext": (
        "convnext.modeling_convnext.ConvNextModel",
        "ConvNextConfig",
        {
            "num_channels": 3,
            "patch_size": 2,
            "hidden_sizes": [4, 8],
            "depths": [1, 2],
            "num_stages": 2,
            "drop_path_rate": 0.3,
            "return_dict": True,
        },
        (states(1, 3, 8, 8),),
        4,
    ),
    "swin": (
        "swin.modeling_swin.SwinModel",
        "SwinConfig",
        {
            "image_size": 8,
            "patch_size": 2,
            "embed_dim": 8,
            "depths": [1, 2],
            "num_heads": [2, 2],
            "window_size": 2,
            "drop_path_rate": 0.3,
            "return_dict": True,
        },
        (states(1, 3, 8, 8),),
        4,
    ),
    "beit": (
        "beit.modeling_beit.BeitModel",
        "BeitConfig",
        {
            "image_size": 8,
            "patch_size": 4,
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "drop_path_rate": 0.3,
        },
        (states(1, 3, 8, 8),),
        4,
    ),
    "segformer": (
        "segformer.modeling_segformer.SegformerModel",
        "SegformerConfig",
        {
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sr_ratios": [2, 1],
            "hidden_sizes": [4, 8],
            "patch_sizes": [3, 3],
            "strides": [2, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "drop_path_rate": 0.3,
        },
        (states(1, 3, 8, 8),),
        4,
    ),
}

FLAUBERT = {
    "vocab_size": 16,
    "emb_dim": 8,
    "n_layers": 2,
    "n_heads": 2,
    "max_position_embeddings": 16,
    "layerdrop": 0.3,
}
SERIES = BART | {"prediction_length": 4, "context_length": 6, "lags_sequence": [1]}
INFORMER = "informer.modeling_informer.InformerEncoder"
AUTOFORMER = "autoformer.modeling_autoformer.AutoformerEncoder"
ADAPTER = "wav2vec2.modeling_wav2vec2.Wav2Vec2Adapter"
FULL = SERIES | {"attention_type": "full"}
