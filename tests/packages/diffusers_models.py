"""diffusers: blocks that return more than one tensor, and lists of them."""

from __future__ import annotations

import torch

from tests.packages.case import Case, given, of

PIXART = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 4, "num_layers": 2}
PIXART |= {"cross_attention_dim": 16, "sample_size": 8, "caption_channels": 16, "norm_num_groups": 4}
DIT = {"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "num_layers": 2, "sample_size": 8}
FLUX = {"in_channels": 4, "num_layers": 2, "num_single_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2}
FLUX |= {"joint_attention_dim": 16, "pooled_projection_dim": 16, "axes_dims_rope": (2, 2, 4)}
SD3 = {"sample_size": 8, "in_channels": 4, "out_channels": 4, "num_layers": 3, "attention_head_dim": 8}
SD3 |= {
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "caption_projection_dim": 16,
    "pooled_projection_dim": 16,
    "pos_embed_max_size": 8,
}
UNET = {"sample_size": 8, "block_out_channels": (8, 8), "layers_per_block": 2, "norm_num_groups": 4}
UNET |= {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
UNET |= {"cross_attention_dim": 8, "attention_head_dim": 4}
TIME = torch.tensor([3])
IDS = {"txt_ids": torch.zeros(3, 3), "img_ids": torch.arange(12.0).reshape(4, 3)}

CASES = [
    Case(
        "diffusers/pixart",
        of("diffusers.PixArtTransformer2DModel", **PIXART),
        (given(1, 4, 8, 8),),
        {
            "encoder_hidden_states": given(1, 3, 16),
            "timestep": TIME,
            "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
            "return_dict": False,
        },
        layers=("transformer_blocks.*",),
        paths=4,
    ),
    Case(
        "diffusers/dit",
        of("diffusers.DiTTransformer2DModel", **DIT),
        (given(1, 4, 8, 8),),
        {"timestep": TIME, "class_labels": torch.tensor([1]), "return_dict": False},
        layers=("transformer_blocks.*",),
        paths=4,
    ),
    Case(
        "diffusers/flux",
        of("diffusers.FluxTransformer2DModel", **FLUX),
        (given(1, 4, 4),),
        {
            "encoder_hidden_states": given(1, 3, 16),
            "pooled_projections": given(1, 16),
            "timestep": torch.tensor([0.5]),
            "return_dict": False,
            **IDS,
        },
        layers=("transformer_blocks.1", "single_transformer_blocks.1"),
        skip=("encoder_hidden_states", "hidden_states"),
        paths=4,
    ),
    Case(
        "diffusers/sd3",
        of("diffusers.SD3Transformer2DModel", **SD3),
        (given(1, 4, 8, 8),),
        {
            "encoder_hidden_states": given(1, 3, 16),
            "pooled_projections": given(1, 16),
            "timestep": TIME,
            "return_dict": False,
        },
        layers=("transformer_blocks.[01]",),
        skip=("encoder_hidden_states", "hidden_states"),
        paths=4,
    ),
    Case(
        "diffusers/unet_resnets",
        of("diffusers.UNet2DConditionModel", **UNET),
        (given(1, 4, 8, 8), TIME, given(1, 3, 8)),
        {"return_dict": False},
        layers=("down_blocks.*.resnets.1",),
        paths=4,
    ),
    Case(
        "diffusers/unet_attentions",
        of("diffusers.UNet2DConditionModel", **UNET),
        (given(1, 4, 8, 8), TIME, given(1, 3, 8)),
        {"return_dict": False},
        layers=("mid_block.attentions.0", "down_blocks.1.attentions.0"),
        paths=4,
    ),
    Case(
        "diffusers/unet_down_block",
        of("diffusers.UNet2DConditionModel", **UNET),
        (given(1, 4, 8, 8), TIME, given(1, 3, 8)),
        {"return_dict": False},
        layers=("down_blocks.1",),
        skip=("hidden_states", ("hidden_states", "hidden_states")),
        paths=2,
    ),
]
