"""Image files as inputs of a model, where Pillow is there: what the declared shape and dtype leave open is refused."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.manifest import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MODES = {1: "L", 3: "RGB"}  # Pillow's name by number of channels
# Those of at most 8 bits a channel: of what has more (I, I;16, F) Pillow cuts off what is above 255.
CONVERTED = ("1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr")


def read_image(
    file: Path, tensor: Tensor, *, mean: Sequence[float] = (), std: Sequence[float] = ()
) -> NDArray[np.number[Any]]:
    """Returns an image as a batch of one, [1, C, H, W] or [1, H, W, C] as the input is declared, C = 1 or 3.

    It is turned as its EXIF data say, and resized to the declared H and W (bilinear, nothing is cut off); an H or W
    that is symbolic stays the image's own. Floats are in [0, 1], less ``mean``, divided by ``std``; uint8 is 0 to 255.

    Args:
        file: the image.
        tensor: the input.
        mean: one number for each channel, or one for all; empty: 0.
        std: alike; empty: 1.

    Raises:
        ValueError: the input is none of an image, its layout is not clear, a number is not finite, or Pillow is not
            there or cannot read it as 8 bits a channel.
    """
    where = f"--input {tensor.name}"
    channels_last, channels = _layout(tensor, where)
    height, width = (tensor.shape[i] for i in ((1, 2) if channels_last else (2, 3)))
    if isinstance(tensor.shape[0], int) and tensor.shape[0] != 1:
        raise ValueError(f"{where}: expected {tensor.shape[0]} images, got one; stack them in a .npy file")
    pixels = _pixels(file, MODES[channels], height, width, where)
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    if tensor.dtype == "uint8":
        if len(mean) or len(std):
            raise ValueError(f"{where}: expected no --mean or --std for uint8, got one; leave it away")
        values: NDArray[Any] = pixels
    elif tensor.dtype in ("float16", "float32", "float64"):
        shift = _per_channel(mean or [0.0], channels, "--mean", where)
        scale = _per_channel(std or [1.0], channels, "--std", where)
        if not (scale > 0).all():
            raise ValueError(f"{where}: expected --std above 0, got {list(std)}; mend it")
        values = ((pixels / 255.0 - shift) / scale).astype(tensor.dtype)
    else:
        raise ValueError(f"{where}: expected an input of floats or uint8 for an image, got {tensor.dtype}; pass .npy")
    return np.ascontiguousarray((values if channels_last else values.transpose(2, 0, 1))[None])


def _layout(tensor: Tensor, where: str) -> tuple[bool, int]:
    """Whether the channels come last, and how many they are."""
    shape = f"[{', '.join(map(str, tensor.shape))}]"
    if len(tensor.shape) != 4:
        raise ValueError(f"{where}: expected [N, C, H, W] or [N, H, W, C] for an image, got {shape}; pass .npy")
    first, last = tensor.shape[1] in MODES, tensor.shape[3] in MODES
    if first == last:
        why = "both could be its channels" if first else "neither the second nor the last is 1 or 3"
        raise ValueError(f"{where}: expected 1 or 3 channels, second or last, got {shape}: {why}; pass .npy")
    return last, int(tensor.shape[3 if last else 1])


def _pixels(file: Path, mode: str, height: int | str, width: int | str, where: str) -> NDArray[np.uint8]:
    try:
        pillow, turning = importlib.import_module("PIL.Image"), importlib.import_module("PIL.ImageOps")
    except ImportError as error:
        raise ValueError(
            f"{where}: expected Pillow, which reads images, got none; pip install pillow, or pass .npy"
        ) from error
    try:
        with pillow.open(file) as opened:
            if opened.mode not in CONVERTED:
                raise ValueError(f"one of mode {opened.mode}, where 8 bits a channel are read")
            if getattr(opened, "is_animated", False) and opened.format != "MPO":  # a camera's preview is no second one
                raise ValueError(f"{opened.n_frames} of them in one file")
            image = turning.exif_transpose(opened)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                alpha = image.convert("RGBA").getchannel("A")
                if alpha.getextrema()[0] < 255:
                    raise ValueError("one with transparent parts, whose colour is not known")
            image = image.convert(mode)
            size = (
                width if isinstance(width, int) else image.width,
                height if isinstance(height, int) else image.height,
            )
            if size != image.size:
                image = image.resize(size, pillow.Resampling.BILINEAR)
            return np.asarray(image, dtype=np.uint8)
    except Exception as error:  # Pillow's plugins each have their own
        raise ValueError(f"{where}: expected an image, got {error} ({file}); convert it, or pass .npy") from error


def _per_channel(values: Sequence[float], channels: int, option: str, where: str) -> NDArray[np.float64]:
    if len(values) not in (1, channels):
        raise ValueError(f"{where}: expected one number in {option}, or {channels}, got {len(values)}; mend it")
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: expected finite numbers in {option}, got {list(values)}; mend it")
    return np.array(values, np.float64)
