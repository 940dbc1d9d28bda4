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
PADDING = ("direction", "pad_id", "pad_type_id", "pad_token")  # what a tokenizer says of it; how far is ours


def encode_texts(texts: Sequence[str], declared: Sequence[Tensor], file: Path) -> dict[str, NDArray[np.integer[Any]]]:
    """Returns the inputs that a tokenizer makes of texts, [number of texts, length].

    They are those of ``input_ids``, ``attention_mask`` and ``token_type_ids`` that the model has. Where their length is
    fixed, texts are padded to it, else to the longest one, as the tokenizer says; longer ones are refused, not cut.

    Args:
        texts: the batch.
        declared: the model's inputs.
        file: the tokenizer, as ``tokenizers`` and transformers save it (``tokenizer.json``).

    Raises:
        ValueError: the model has no such inputs, the tokenizer or its package is not there, a text has no ids that they
            hold, or texts would have to be padded in a way that tokenizer or model do not know.
    """
    wanted = {tensor.name: tensor for tensor in declared if tensor.name in MADE}
    if "input_ids" not in wanted:
        names = ", ".join(tensor.name for tensor in declared)
        raise ValueError(
            f"--text: expected a model with an input input_ids, got {names}; pass its ids as .npy or .json"
        )
    for tensor in wanted.values():
        if np.dtype(tensor.dtype).kind not in "iu" or len(tensor.shape) != 2:
            raise ValueError(f"--text: expected inputs of integers, [N, length], got {tensor}; pass its ids as .npy")
    tokenizer = _tokenizer(file)
    padding = {key: value for key, value in (tokenizer.padding or {}).items() if key in PADDING}
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encoded = _encoded(tokenizer, texts)
    longest, size = max(len(one.ids) for one in encoded), wanted["input_ids"].shape[-1]
    length = size if isinstance(size, int) else longest
    if longest > length:
        raise ValueError(f"--text: expected texts of at most {length} tokens, got {longest}; shorten them")
    if any(len(one.ids) != length for one in encoded):
        if not padding:
            raise ValueError(
                f"--text: expected texts of {length} tokens, as {file} has no padding token, got one of "
                f"{min(len(one.ids) for one in encoded)}; run them one by one, or pass the ids as .npy"
            )
        if length != size and "attention_mask" not in wanted:
            raise ValueError(
                "--text: expected texts of one length, as the model has no input attention_mask and would read the "
                "padding, got several; run them one by one"
            )
        tokenizer.enable_padding(**padding, length=length)
        encoded = _encoded(tokenizer, texts)
    return {name: _array([getattr(one, MADE[name]) for one in encoded], tensor) for name, tensor in wanted.items()}


def _tokenizer(file: Path) -> Any:
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
        return package.Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises plain Exceptions
        raise ValueError(f"--text: expected a tokenizer, got {error} ({file}); name its tokenizer.json") from error


def _encoded(tokenizer: Any, texts: Sequence[str]) -> Sequence[Any]:
    try:
        found: Sequence[Any] = tokenizer.encode_batch(list(texts))
    except Exception as error:  # tokenizers raises plain Exceptions
        raise ValueError(
            f"--text: expected texts that the tokenizer knows, got {error}; change them, or name another --tokenizer"
        ) from error
    return found


def _array(rows: Sequence[Sequence[int]], tensor: Tensor) -> NDArray[np.integer[Any]]:
    numbers, bounds = np.array(rows, np.int64), np.iinfo(tensor.dtype)
    if numbers.size and not bounds.min <= numbers.min() <= numbers.max() <= bounds.max:
        raise ValueError(
            f"--text: expected ids that {tensor} holds, got {numbers.max()}; name the tokenizer of this model"
        )
    return numbers.astype(tensor.dtype)


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
