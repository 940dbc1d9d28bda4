"""``python -m rr_export.demo.train``: makes the delta of the demo again, or that of a model with one path alone.

The encoder learns to give on short paths what the pretrained one gives on all layers: the sandwich rule, with the
pretrained model as the teacher of every path.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from rr_export.bundle.atomic_write import write_atomically
from rr_export.demo.delta import MAKER, delta_bytes
from rr_export.demo.docstrings import read_texts
from rr_export.demo.model import LAYERS, Progress, SentenceEncoder, embed_by_model, plain_encoder, weights_folder
from rr_export.demo.search import Embeddings, calibration_error, mrr, name_queries, read_corpus, read_tokenizer
from rr_export.demo.show import stage
from rr_export.eager.blocks import forced
from rr_export.training import distillation, sandwich_loss, sandwich_paths
from rr_export.wrap import route_layers
from rr_runtime.file_places import check_report_file

Route = tuple[int, ...]
STEPS, BATCH, RANK, RATE, WARMUP = 600, 48, 16, 1e-3, 30
SHARPNESS, WEIGHT = 20.0, 0.3  # of the similarities within a batch: what scales them, and their part of the loss
FULL: Route = (1,) * 6
NESTED: tuple[Route, ...] = (FULL, (1, 1, 1, 1, 0, 1), (1, 1, 0, 1, 0, 1), (1, 0, 0, 1, 0, 1), (1, 0, 0, 0, 0, 1))
SHORTER = [path for path in itertools.product((0, 1), repeat=6) if 2 <= sum(path) <= 5]


class LowRank(nn.Module):
    """A weight with a product of two narrow matrices added: ``W + b a``.

    Args:
        weight: float32 [out, in], which stays as it is.
        draws: what ``a`` is drawn from; ``b`` begins as 0.
    """

    def __init__(self, weight: Tensor, draws: torch.Generator) -> None:
        super().__init__()
        wide, narrow = weight.shape[1], weight.shape[0]
        self.a = nn.Parameter(torch.randn(RANK, wide, generator=draws) / math.sqrt(wide))
        self.b = nn.Parameter(torch.zeros(narrow, RANK))

    def forward(self, weight: Tensor) -> Tensor:
        """Returns the weight that is used."""
        return weight + self.b @ self.a


def trainable(model: SentenceEncoder) -> dict[str, nn.Parameter]:
    """Returns what is trained, by its name in a delta: the layers' low-rank changes, biases and layer norms."""
    draws = torch.Generator().manual_seed(0)
    model.requires_grad_(False)
    found: dict[str, nn.Parameter] = {}
    for name, module in list(model.transformer.named_modules()):
        if not name.startswith(LAYERS.removesuffix("*")):
            continue
        if isinstance(module, nn.Linear):
            change = LowRank(module.weight, draws)
            register_parametrization(module, "weight", change)
            found |= {f"{name}.a": change.a, f"{name}.b": change.b, f"{name}.bias": module.bias}
        elif isinstance(module, nn.LayerNorm):
            found |= {f"{name}.weight": module.weight, f"{name}.bias": module.bias}
    for parameter in found.values():
        parameter.requires_grad_(True)
    return found


def learn(
    model: SentenceEncoder,
    texts: Sequence[str],
    teacher: Embeddings,
    *,
    steps: int = STEPS,
    static: Route | None = None,
    progress: Progress,
) -> dict[str, nn.Parameter]:
    """Returns the delta; the model has it, and routes. The same arguments on the same machine give the same delta.

    A step trains three paths: six layers or five, one of four, three and two layers in turns, and a random one.

    Args:
        model: the pretrained encoder, changed in place.
        texts: what it learns from, more than a few batches.
        teacher: what the pretrained one makes of them, float32 [N, C].
        steps: how many.
        static: the one path that is trained instead.
        progress: called with (what, done, total).
    """
    delta = trainable(model)
    plan = route_layers(model, f"transformer.{LAYERS}", keep=0.5)
    tokens, draw = read_tokenizer(weights_folder()), random.Random(1)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # a batch has about one length
    optimiser = torch.optim.AdamW(delta.values(), lr=RATE, weight_decay=0.0)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2
    )
    for step in range(steps):
        progress("steps", step, steps)
        start = draw.randrange(max(1, len(order) - 4 * BATCH))
        pool = order[start : start + 4 * BATCH]
        batch = draw.sample(pool, min(BATCH, len(pool)))
        inputs = {name: torch.from_numpy(array) for name, array in tokens([texts[i] for i in batch]).items()}
        wanted = torch.from_numpy(teacher[batch])
        paths: list[Any] = [static]
        if static is None:
            largest, smallest = NESTED[step % 2], NESTED[2 + step % 3]
            paths = [*sandwich_paths(plan, random=0, largest=largest, smallest=smallest), draw.choice(SHORTER)]
        loss = loss_of(model, paths, inputs, wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(delta.values(), 1.0)
        optimiser.step()
        rates.step()
    return delta


def loss_of(model: nn.Module, paths: Sequence[Any], inputs: Mapping[str, Tensor], wanted: Tensor) -> Tensor:
    """Returns the mean over paths of how far each is from the teacher."""
    return sandwich_loss(
        *(model, paths, lambda: model(**inputs)["embedding"], lambda found: away(found, wanted)),
        distil=lambda found, _: away(found, wanted),
    )


def away(found: Tensor, wanted: Tensor) -> Tensor:
    """Returns how far embeddings are from those of the teacher, and their similarities within the batch from its own.

    Args:
        found: float32 [N, C], of length 1.
        wanted: float32 [N, C], of length 1.
    """
    one_by_one = (1 - (found * wanted).sum(1)).mean()
    return one_by_one + WEIGHT * distillation(SHARPNESS * found @ wanted.T, SHARPNESS * wanted @ wanted.T)


@click.command()
@click.option("--steps", type=click.IntRange(1), default=STEPS, show_default=True)
@click.option("--static", metavar="PATH", help="Train this path alone, such as 1,0,0,1,0,1.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("delta.safetensors"))
def main(steps: int, static: str | None, output: Path) -> None:
    """Train the demo's delta, and print what it is worth: MRR on the questions and names of functions, calibration."""
    path = None if static is None else _route(static)
    try:
        check_report_file(output, option="--output", earlier=re.compile(MAKER.encode()))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    console, tokens = Console(), read_tokenizer(weights_folder())
    with stage(console, "reading docstrings"):
        texts, corpus = read_texts(), read_corpus()
    with stage(console, "pretrained model") as tell:
        pretrained = plain_encoder()
        index = embed_by_model(pretrained, tokens, corpus.documents, progress=tell)
        teacher = embed_by_model(pretrained, tokens, texts, progress=tell)
    model = plain_encoder()
    with stage(console, "training") as tell:
        delta = learn(model, texts, teacher, steps=steps, static=path, progress=tell)
    made = {"steps": steps, "batch": BATCH, "rank": RANK, "rate": RATE, "texts": len(texts), "static": path}
    write_atomically(output, delta_bytes(delta, made))
    named = name_queries(corpus)
    with stage(console, "measuring") as tell:
        for tried in NESTED if path is None else (path,):
            with forced(model, np.array(tried)):
                questions = embed_by_model(model, tokens, corpus.queries, progress=tell)
                names = embed_by_model(model, tokens, named.queries, progress=tell)
            console.print(
                f"{','.join(map(str, tried))}: MRR {mrr(questions, index, corpus.answers):.4f} on questions, "
                f"{mrr(names, index, named.answers):.4f} on names; calibration error on names "
                f"{calibration_error(names, index, named.answers):.4f}"
            )
    console.print(f"delta: {output}")


def _route(text: str) -> Route:
    if not re.fullmatch(r"[01](,[01]){5}", text):
        raise click.UsageError(f"--static: expected six routes, 1 or 0, got {text!r}; pass such as 1,0,0,1,0,1")
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    main()
