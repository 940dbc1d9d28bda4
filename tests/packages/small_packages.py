"""Small packages: vit-pytorch, x-transformers, speechbrain and others, with draws of their own or routed layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.packages.case import Case, given, images, numbers, of
from tests.packages.importing import imported

VIT = {"image_size": 32, "patch_size": 8, "num_classes": 4, "dim": 16, "depth": 2, "heads": 2, "mlp_dim": 16}


def x_transformer(**settings: Any) -> Any:
    """Returns what makes a language model of x-transformers."""

    def make() -> nn.Module:
        package = imported("x_transformers")
        layers = package.Decoder(dim=16, depth=2, heads=2, attn_dim_head=8, **settings)
        model: nn.Module = package.TransformerWrapper(num_tokens=16, max_seq_len=8, attn_layers=layers)
        return model

    return make


class Rotary(nn.Module):
    """Layers that turn queries and keys by rotary-embedding-torch, which computes under autocast."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        package = imported("rotary_embedding_torch")
        self.layers = nn.ModuleList(RotaryLayer(package.RotaryEmbedding(dim=8, **settings)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class RotaryLayer(nn.Module):
    """Attention of one head."""

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self.rotary, self.qkv = rotary, nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part[:, None] for part in self.qkv(x).chunk(3, dim=-1))
        q, k = self.rotary.rotate_queries_or_keys(q), self.rotary.rotate_queries_or_keys(k)
        return x + torch.nn.functional.scaled_dot_product_attention(q, k, v)[:, 0]


class Tagger(nn.Module):
    """Embeds, runs an LSTM of a dynamic length, and tags."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.tag = nn.Embedding(16, 8), nn.Linear(8, 4)
        self.lstm = nn.LSTM(8, 4, bidirectional=True, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        return self.tag(self.lstm(self.embed(ids))[0])


encoder = of(
    "speechbrain.lobes.models.transformer.Transformer.TransformerEncoder",
    num_layers=2,
    nhead=2,
    d_ffn=16,
    d_model=16,
    layerdrop_prob=0.3,
)


class Speech(nn.Module):
    """The output of speechbrain's encoder, without its attentions."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = encoder()

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)[0]


def vit(name: str, path: str, layers: str = "", paths: int = 4, **settings: Any) -> Case:
    """A model of vit-pytorch."""
    return Case(
        f"vit-pytorch/{name}",
        of(f"vit_pytorch.{path}", **(VIT | settings)),
        images(),
        layers=tuple(layers.split()),
        paths=paths,
    )


CASES = [
    vit("cait", "cait.CaiT", cls_depth=1, layer_dropout=0.3, paths=10),
    vit("xcit", "xcit.XCiT", cls_depth=1, layer_dropout=0.3, paths=10),
    vit("rvt", "rvt.RvT", "transformer.layers.*.0"),
    vit("vit", "vit.ViT", "transformer.layers.*.*", paths=16),
    vit("simple_vit", "simple_vit.SimpleViT", "transformer.layers.*.0"),
    vit("deepvit", "deepvit.DeepViT", "transformer.layers.*.0"),
    vit("parallel_vit", "parallel_vit.ViT", "transformer.layers.*.0"),
    vit("vit_5", "vit_5.ViT", "transformer.layers.*.0"),
    Case(
        "x-transformers/layer_dropout",
        x_transformer(layer_dropout=0.3),
        (numbers(1, 6),),
        training=True,
        paths=16,
    ),
    Case(
        "x-transformers/feed_forward",
        x_transformer(rotary_pos_emb=True, rotary_emb_dim=8),
        (numbers(1, 6),),
        layers=("attn_layers.layers.[13].1",),
        paths=4,
    ),
    Case("speechbrain/encoder", Speech, (given(1, 5, 16),), training=True, paths=4),
    Case(
        "speechbrain/attentions",
        encoder,
        (given(1, 5, 16),),
        training=True,
        refuses="Transformer.py:.* of which an element that is computed",
        reason="it returns a list of the attentions of the layers that ran: of its output alone it holds",
    ),
    Case(
        "speechbrain/conformer",
        of(
            "speechbrain.lobes.models.transformer.Conformer.ConformerEncoder",
            num_layers=2,
            d_model=16,
            d_ffn=16,
            nhead=2,
            kernel_size=3,
        ),
        (given(1, 5, 16),),
        {"pos_embs": given(1, 9, 16)},
        layers=("layers.*.convolution_module",),
        paths=4,
    ),
    Case(
        "speechbrain/crdnn",
        of(
            "speechbrain.lobes.models.CRDNN.CRDNN",
            input_size=8,
            cnn_blocks=1,
            cnn_channels=(4,),
            rnn_layers=1,
            rnn_neurons=8,
            dnn_neurons=8,
            dnn_blocks=2,
        ),
        (given(1, 8, 8),),
        layers=("DNN.block_1",),
        paths=2,
    ),
    Case(
        "rotary-embedding-torch/attention",
        lambda: Rotary(cache_if_possible=False),
        (given(1, 5, 8),),
        layers=("layers.*",),
        paths=4,
    ),
    Case(
        "rotary-embedding-torch/cached",
        Rotary,
        (given(1, 5, 8),),
        layers=("layers.*",),
        refuses="changes buffer .*cached_freqs",
        reason="it keeps its frequencies in a buffer when it is first called; `cache_if_possible=False` holds",
    ),
    Case("torch/lstm", Tagger, (numbers(2, 6),), layers=("lstm",), dynamic={"ids": {0: "batch", 1: "length"}}, paths=2),
    Case(
        "conformer/conformer",
        of("conformer.Conformer", dim=16, depth=2, dim_head=8, heads=2, conv_kernel_size=3),
        (given(1, 6, 16),),
        layers=("layers.*",),
        paths=4,
    ),
    Case(
        "local-attention/transformer",
        of(
            "local_attention.LocalTransformer",
            num_tokens=16,
            dim=16,
            depth=2,
            max_seq_len=16,
            dim_head=8,
            heads=2,
            local_attn_window_size=4,
            num_residual_streams=1,
        ),
        (numbers(1, 8),),
        layers=("layers.*.1",),
        paths=4,
    ),
    Case(
        "colt5-attention/block",
        of(
            "colt5_attention.ConditionalRoutedTransformerBlock",
            16,
            num_heavy_attn_tokens_q=2,
            num_heavy_attn_tokens_kv=2,
            num_heavy_ff_tokens=2,
            light_dim_head=8,
            light_heads=2,
            light_window_size=4,
            heavy_dim_head=8,
            heavy_heads=2,
        ),
        (given(1, 8, 16),),
        layers=("conditional_ff",),
        paths=2,
    ),
    Case(
        "soft-moe-pytorch/moe",
        lambda: nn.Sequential(nn.Linear(16, 16), of("soft_moe_pytorch.SoftMoE", dim=16, seq_len=6, num_experts=2)()),
        (given(1, 6, 16),),
        layers=("1",),
        paths=2,
    ),
    Case(
        "mixture-of-experts/moe",
        of("mixture_of_experts.MoE", dim=8, num_experts=4),
        (given(2, 8, 8),),
        refuses="mixture_of_experts.py:.*a probability .* depends on the input",
        reason="its second expert is drawn with a probability that the input decides",
    ),
    Case(
        "tabm/tabm",
        of(
            "tabm.TabM",
            n_num_features=4,
            d_out=2,
            k=2,
            arch_type="tabm",
            start_scaling_init="random-signs",
            dropout=0.1,
            n_blocks=3,
            d_block=8,
        ),
        (given(3, 4),),
        layers=("backbone.blocks.[12]",),
        paths=4,
    ),
    Case(
        "linformer/linformer",
        of("linformer.Linformer", dim=16, seq_len=8, depth=2, k=4, heads=2),
        (given(1, 8, 16),),
        layers=("net.layers.*.0",),
        paths=4,
    ),
    Case(
        "nystrom-attention/nystromformer",
        of(
            "nystrom_attention.Nystromformer",
            dim=16,
            depth=2,
            dim_head=8,
            heads=2,
            num_landmarks=4,
            attn_values_residual_conv_kernel=3,
        ),
        (given(1, 8, 16),),
        layers=("layers.*.1",),
        paths=4,
    ),
    Case(
        "segmentation-models-pytorch/unet",
        of(
            "segmentation_models_pytorch.Unet",
            encoder_name="resnet18",
            encoder_weights=None,
            encoder_depth=3,
            decoder_channels=(16, 8, 8),
            classes=2,
        ),
        images(),
        layers=("encoder.layer1.*",),
        paths=4,
    ),
    Case(
        "monai/segresnet",
        of("monai.networks.nets.SegResNet", spatial_dims=2, init_filters=8, blocks_down=(1, 2), blocks_up=(1,)),
        (given(1, 1, 16, 16),),
        layers=("down_layers.1.[12]",),
        paths=4,
    ),
    Case(
        "monai/vit",
        of(
            "monai.networks.nets.ViT",
            in_channels=1,
            img_size=(16, 16),
            patch_size=(8, 8),
            hidden_size=16,
            mlp_dim=16,
            num_layers=2,
            num_heads=2,
            spatial_dims=2,
        ),
        (given(1, 1, 16, 16),),
        layers=("blocks.*",),
        paths=4,
    ),
]
