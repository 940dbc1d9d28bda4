"""torchvision: stochastic depth as it is in training, and blocks that are routed."""

from __future__ import annotations

from functools import partial

from tests.packages.case import Case, images, of
from tests.packages.importing import imported


def convnext():  # type: ignore[no-untyped-def]
    """Returns a ConvNeXt of two blocks."""
    models = imported("torchvision.models.convnext")
    settings = [models.CNBlockConfig(8, 8, 1), models.CNBlockConfig(8, None, 1)]
    return models.ConvNeXt(settings, stochastic_depth_prob=0.4, num_classes=4)


def efficientnet():  # type: ignore[no-untyped-def]
    """Returns an EfficientNet of two stages."""
    models = imported("torchvision.models.efficientnet")
    settings = [models.MBConvConfig(1, 3, 1, 32, 32, 1), models.MBConvConfig(2, 3, 1, 32, 32, 2)]
    return models.EfficientNet(settings, dropout=0.2, stochastic_depth_prob=0.4, num_classes=4, last_channel=16)


training = partial(Case, args=images(), training=True)
routed = partial(Case, args=images())
SWIN = {"patch_size": [4, 4], "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": [4, 4]}
NAMED = {"weights": None, "num_classes": 4}

CASES = [
    training("torchvision/swin", of("torchvision.models.SwinTransformer", stochastic_depth_prob=0.4, **SWIN), paths=4),
    training("torchvision/convnext", convnext, paths=2),
    training("torchvision/efficientnet", efficientnet, paths=4),
    routed(
        "torchvision/mobilenet_v3_small",
        of("torchvision.models.mobilenet_v3_small", **NAMED),
        layers=("features.[56]",),
        paths=4,
    ),
    routed(
        "torchvision/mobilenet_v2",
        of("torchvision.models.mobilenet_v2", width_mult=0.25, **NAMED),
        layers=("features.[35]",),
        paths=4,
    ),
    routed(
        "torchvision/densenet121",
        of("torchvision.models.densenet121", **NAMED),
        layers=("features.denseblock1.denselayer1",),
        refuses="say what a skip returns",
        reason="a dense layer takes a list of tensors and returns one of another shape",
    ),
    routed(
        "torchvision/vit",
        of("torchvision.models.VisionTransformer", 32, 8, 2, 2, 16, 32, num_classes=4),
        layers=("encoder.layers.*",),
        paths=4,
    ),
    routed(
        "torchvision/regnet",
        of("torchvision.models.regnet_y_400mf", **NAMED),
        layers=("trunk_output.block3.block3-[12]",),
        paths=4,
    ),
    routed(
        "torchvision/shufflenet", of("torchvision.models.shufflenet_v2_x0_5", **NAMED), layers=("stage2.[12]",), paths=4
    ),
]
