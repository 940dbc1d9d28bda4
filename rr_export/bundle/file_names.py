"""The names of the files in a bundle's folder: its own, and those that the entry of a target in the manifest names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODEL = "model.onnx"
WEIGHTS = "model.onnx.data"
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
PARITY = "parity.json"
CARD = "README.md"
HUB = "onnx"  # the folder of the bundle in a folder that has the layout of Hugging Face
COMPANIONS = (  # what else stands in such a folder
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
)
MODEL_KEYS = ("model", "run")  # under which an entry names a model, wherever in it they stand


def target_files(about: Any) -> set[str]:
    """Returns the names of the files in a target's entry of the manifest."""
    if isinstance(about, list):
        return set().union(*map(target_files, about))
    if not isinstance(about, Mapping):
        return set()
    own = {about[key] for key in (*MODEL_KEYS, "operators") if key in about}
    return own.union(*(target_files(value) for value in about.values()))


def rename_files(about: Any, names: Mapping[str, str]) -> Any:
    """Returns a target's entry of the manifest in which the models have their new names."""
    if isinstance(about, Mapping):
        return {key: names[value] if key in MODEL_KEYS else rename_files(value, names) for key, value in about.items()}
    return [rename_files(value, names) for value in about] if isinstance(about, list) else about
