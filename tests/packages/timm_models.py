"""timm: drop path as it is in training, and blocks that are routed."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.packages.case import Case, images, of

PATHS = {"num_classes": 4, "drop_path_rate": 0.4}
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 4}


def dropping(name: str, path: str, paths: int, **settings: Any) -> Case:
    """A model with drop path: each of its coins is a site."""
    size = settings.pop("size", 32)
    make = of(f"timm.models.{path}", **(PATHS | settings))
    return Case(f"timm/{name}", make, images(size), training=True, paths=paths)


def routed(name: str, path: str, layers: str, paths: int, **settings: Any) -> Case:
    """A model whose blocks are routed."""
    size = settings.pop("size", 32)
    make = of(f"timm.models.{path}", **({"num_classes": 4} | settings))
    return Case(f"timm/{name}", make, images(size), layers=tuple(layers.split()), paths=paths)


named = partial(routed, path="create_model")

CASES = [
    dropping("vision_transformer", "vision_transformer.VisionTransformer", 4, **VIT),
    dropping(
        "swin",
        "swin_transformer.SwinTransformer",
        4,
        img_size=32,
        embed_dim=8,
        depths=(1, 1),
        num_heads=(1, 2),
        window_size=4,
    ),
    dropping("convnext", "convnext.ConvNeXt", 4, depths=(1, 1, 1, 0), dims=(4, 8, 8, 8)),
    dropping("beit", "beit.Beit", 4, **VIT, init_values=1.0, use_rel_pos_bias=True),
    dropping("xcit", "xcit.Xcit", 64, **VIT, cls_attn_layers=1),
    dropping("cait", "cait.Cait", 16, **VIT),
    dropping(
        "twins",
        "twins.Twins",
        4,
        img_size=32,
        embed_dims=(8, 8, 8, 8),
        num_heads=(1, 1, 1, 1),
        depths=(1, 1, 0, 0),
        wss=(2, 2, 2, 2),
    ),
    dropping(
        "pvt_v2",
        "pvt_v2.PyramidVisionTransformerV2",
        4,
        depths=(1, 1, 0, 0),
        embed_dims=(8, 8, 8, 8),
        num_heads=(1, 1, 1, 1),
    ),
    dropping("poolformer", "metaformer.MetaFormer", 4, depths=(1, 1), dims=(4, 8)),
    dropping("davit", "davit.DaVit", 16, depths=(1, 1), embed_dims=(8, 8), num_heads=(2, 2), window_size=2),
    dropping("focalnet", "focalnet.FocalNet", 4, embed_dim=8, depths=(1, 1), focal_levels=(2, 2), focal_windows=(3, 3)),
    dropping(
        "edgenext",
        "edgenext.EdgeNeXt",
        4,
        dims=(8, 8, 8, 8),
        depths=(1, 1, 0, 0),
        heads=(1, 1, 1, 1),
        global_block_counts=(0, 1, 0, 0),
    ),
    dropping(
        "hiera",
        "hiera.Hiera",
        4,
        img_size=(32, 32),
        embed_dim=8,
        stages=(1, 1),
        q_pool=1,
        mask_unit_size=(2, 2),
        mask_unit_attn=(True, False),
    ),
    dropping(
        "levit", "levit.Levit", 32, size=64, img_size=64, embed_dim=(16, 16), key_dim=8, depth=(1, 1), num_heads=(1, 1)
    ),
    dropping("mlp_mixer", "mlp_mixer.MlpMixer", 16, img_size=32, patch_size=8, num_blocks=2, embed_dim=8),
    dropping(
        "volo",
        "volo.VOLO",
        4,
        layers=[1, 1],
        img_size=32,
        embed_dims=[8, 8],
        num_heads=[1, 1],
        downsamples=(True, False),
        outlook_attention=(True, False),
        use_aux_head=False,
    ),
    dropping("eva", "eva.Eva", 4, **VIT, use_rot_pos_emb=True, ref_feat_shape=(4, 4)),
    dropping("inception_next", "inception_next.MetaNeXt", 2, depths=(1, 1), dims=(16, 16), mlp_ratios=(2, 2)),
    dropping(
        "tiny_vit", "tiny_vit.TinyVit", 4, embed_dims=(8, 8), depths=(1, 1), num_heads=(1, 1), window_sizes=(4, 4)
    ),
    dropping("fastvit", "fastvit.FastVit", 2, layers=(1, 1, 0, 0), embed_dims=(8, 8, 8, 8)),
    dropping(
        "gcvit",
        "gcvit.GlobalContextVit",
        4,
        img_size=32,
        window_ratio=(4, 4, 4, 4),
        window_size=(4, 4, 4, 4),
        embed_dim=8,
        depths=(1, 1),
        num_heads=(1, 1),
    ),
    dropping(
        "crossvit",
        "crossvit.CrossVit",
        16,
        img_size=32,
        patch_size=(8, 16),
        embed_dim=(8, 8),
        depth=((1, 2, 0),),
        num_heads=(1, 1),
        mlp_ratio=(2, 2, 1),
    ),
    dropping("starnet", "starnet.StarNet", 2, base_dim=4, depths=[1, 1]),
    dropping("mambaout", "mambaout.MambaOut", 2, depths=(1, 1), dims=(8, 8)),
    dropping(
        "nest", "nest.Nest", 4, img_size=16, size=16, num_levels=2, embed_dims=(8, 8), num_heads=(1, 1), depths=(1, 1)
    ),
    named("mobilenetv3", layers="blocks.2.[12] blocks.3.1", paths=8, model_name="mobilenetv3_small_050"),
    named("efficientnet_lite0", layers="blocks.1.1 blocks.2.1", paths=4, model_name="efficientnet_lite0"),
    named("resnet18", layers="layer1.*", paths=4, model_name="resnet18"),
    routed(
        "levit_routed",
        "levit.Levit",
        "stages.*.blocks.*",
        4,
        size=64,
        img_size=64,
        embed_dim=(16, 16),
        key_dim=8,
        depth=(1, 1),
        num_heads=(1, 1),
    ),
    routed(
        "efficientvit_mit",
        "efficientvit_mit.EfficientVit",
        "stages.1.blocks.[12]",
        4,
        widths=(8, 8, 16),
        depths=(1, 1, 3),
        head_dim=8,
        head_widths=(16, 16),
    ),
    routed(
        "efficientvit_msra",
        "efficientvit_msra.EfficientVitMsra",
        "stages.*.blocks.*",
        4,
        img_size=64,
        size=64,
        embed_dim=(16, 16),
        key_dim=(8, 8),
        depth=(1, 1),
        num_heads=(2, 2),
        window_size=(4, 4),
        down_ops=(("", 1), ("subsample", 2)),
    ),
    named("ghostnet", layers="blocks.8.[12]", paths=4, model_name="ghostnet_050"),
    named("repvit", layers="stages.0.blocks.*", paths=4, model_name="repvit_m0_9"),
    Case(
        "timm/hrnet",
        of("timm.create_model", "hrnet_w18_small", num_classes=4),
        images(64),
        layers=("stage3.0",),
        refuses="stage3.0.*leave the branch only as its result",
        reason="its modules change the list that they are given",
    ),
]
