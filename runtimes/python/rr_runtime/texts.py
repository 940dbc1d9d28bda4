"""Text as ids: by a tokenizer, where the package ``tokenizers`` is there, or the bytes of its UTF-8."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.manifest import Tensor

MADE = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}  # tokenizers' names


def encode_texts(texts: Sequence[str], declared: Sequence[Tensor], file: Path) -> dict[str, NDArray[np.integer[Any]]]:
    """Returns the inputs that a tokenizer makes of texts, [number of texts, length], padded to the longest one.

    They are those of ``input_ids``, ``attention_mask`` and ``token_type_ids`` that the model has. Where their length is
    fixed, texts are padded to it; longer ones are refused, not cut.

    Args:
        texts: the batch.
        declared: the model's inputs.
        file: the tokenizer, as ``tokenizers`` and transformers save it (``tokenizer.json``).

    Raises:
        ValueError: the model has no such input, or the tokenizer or its package is not there.
    """
    wanted = {tensor.name: tensor for tensor in declared if tensor.name in MADE}
    if "input_ids" not in wanted:
        names = ", ".join(tensor.name for tensor in declared)
        raise ValueError(
            f"--text: expected a model with an input input_ids, got {names}; pass its ids as .npy or .json"
        )
    if not file.is_file():
        raise ValueError(f"--text: expected a tokenizer at {file}, got none; name it with --tokenizer FILE")
    try:
        package = importlib.import_module("tokenizers")
    except ImportError as error:
        raise ValueError(
            "--text: expected the package tokenizers, which makes ids of text, got none; pip install tokenizers, or "
            "pass the ids as .npy or .json"
        ) from error
    try:
        tokenizer = package.Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises plain Exceptions
        raise ValueError(f"--text: expected a tokenizer, got {error} ({file}); name its tokenizer.json") from error
    tokenizer.no_truncation()
    padding = {key: value for key, value in (tokenizer.padding or {}).items() if key != "length"}
    tokenizer.enable_padding(**{**padding, "length": None})
    encoded = tokenizer.encode_batch(list(texts))
    length, size = len(encoded[0].ids), wanted["input_ids"].shape[-1]
    if isinstance(size, int) and size != length:
        if length > size:
            raise ValueError(f"--text: expected texts of at most {size} tokens, got {length}; shorten them")
        tokenizer.enable_padding(**{**padding, "length": size})
        encoded = tokenizer.encode_batch(list(texts))
    return {
        name: np.array([getattr(one, MADE[name]) for one in encoded], dtype=tensor.dtype)
        for name, tensor in wanted.items()
    }


def utf8_ids(text: str, tensor: Tensor, where: str) -> NDArray[np.integer[Any]]:
    """Returns the bytes of a text, each in 0..255, in the declared dtype: [T], or [1, T] where two axes are declared.

    Raises:
        ValueError: the input does not hold bytes, or has another rank.
    """
    if np.dtype(tensor.dtype).kind not in "iu" or tensor.dtype == "int8" or len(tensor.shape) not in (1, 2):
        raise ValueError(
            f"{where}: expected an input of integers 0 to 255, [T] or [N, T], for utf8: text, got {tensor}; pass .npy"
        )
    ids = np.frombuffer(text.encode(), np.uint8).astype(tensor.dtype)
    return ids if len(tensor.shape) == 1 else ids[None]
