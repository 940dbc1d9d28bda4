"""Summarisation: the body of a docstring to its first line, by a transformer whose decoder layers are routed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn

from examples.tasks.sequences import Written, compared, draw_from, in_batches, loss, score
from examples.tasks.subwords import Subwords, shifted
from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.text_metrics import rouge_1, rouge_l
from examples.tasks.transformer import Translator
from rr_export.demo.docstrings import documented, source_files

PACKAGES = (
    *(
        "numpy",
        "scipy",
        "sklearn",
        "networkx",
        "matplotlib",
        "sympy",
        "torch",
        "transformers",
        "onnx",
        "PIL",
        "requests",
    ),
    *("rich", "jinja2", "click", "distributed", "dask", "ray", "hypothesis"),
)  # those of them that are installed
LARGE, READ = 120_000, 6_000_000  # bytes: larger files are left out, and no more than this of a package is read
VOCABULARY, SOURCE, TARGET = 1500, 48, 24
ENCODER, LAYERS = 2, 8
TESTED, VALIDATED = 700, 300
WIDTH, PENALTY = 4, 1.0  # of the beam


@dataclass(frozen=True)
class Docstring:
    """What a function or class says of itself.

    Attributes:
        body: all but the first paragraph.
        line: the first paragraph.
    """

    body: str
    line: str


def read(package: str) -> list[Docstring]:
    """Returns the docstrings of an installed package that have a body of eight words, and a line of 3 to 16."""
    found, size = [], 0
    for file in source_files(package):
        length = file.stat().st_size
        if length > LARGE or size > READ:
            continue
        size += length
        for item in documented(file):
            line, _, body = (" ".join(part.split()) for part in item.docstring.partition("\n\n"))
            if 3 <= len(line.split()) <= 16 and len(body.split()) >= 8:
                found.append(Docstring(body, line))
    return found


@cache
def docstrings() -> dict[str, list[Docstring]]:
    """Returns the docstrings for *training*, *validation* and *test*; no body and no line is in two, or there twice.

    The hash of a line says where it goes; a docstring whose line or whose body is known from before is left out.
    """
    parts: dict[str, list[Docstring]] = {"training": [], "validation": [], "test": []}
    known: set[str] = set()
    for package in PACKAGES:
        for found in read(package):
            texts = {found.line.lower(), found.body.lower()}
            if not texts & known:
                place = zlib.crc32(found.line.lower().encode()) % 20
                parts["test" if place < 2 else "validation" if place < 3 else "training"].append(found)
                known |= texts
    for part in parts.values():
        part.sort(key=lambda found: zlib.crc32(found.body.encode()))
    return parts


@cache
def subwords() -> Subwords:
    """Returns the subwords of the training."""
    return Subwords.learned((t for found in docstrings()["training"] for t in (found.line, found.body)), VOCABULARY)


def rows(found: Sequence[Docstring]) -> Batch:
    """Returns bodies, cut, as the input *source*, lines as the input *target*, and what is to be said.

    Docstrings whose line is too long are left out.
    """
    known = subwords()
    short = [one for one in found if known.length(one.line) < TARGET]
    given, wanted = shifted(known.rows([one.line for one in short], TARGET - 1))
    return {"source": known.rows([one.body for one in short], SOURCE), "target": given}, wanted


def first_sentence(text: str) -> str:
    """Returns a text up to the end of its first sentence, or of its first section."""
    return re.split(r"(?<=[.!?])\s|\s-{3,}|\s:param|\sArgs:", text, maxsplit=1)[0]


def build(layers: int) -> nn.Module:
    """Returns an untrained model of so many layers of the decoder."""
    torch.manual_seed(0)
    return Translator(subwords().size, (SOURCE, TARGET), encoder=ENCODER, decoder=layers)


def decoded(run: Callable[[Inputs], Inputs], asked: Batch) -> dict[str, float]:
    """Returns how near the lines are, written greedily and by a beam."""
    metrics = {"ROUGE-1": rouge_1, "ROUGE-L": rouge_l}
    return Written(run, asked, subwords()).figures(metrics, width=WIDTH, penalty=PENALTY)


def told(asked: Batch) -> dict[str, dict[str, float]]:
    """Returns the same figures of the first sentence of the body, as long as a line may be."""
    known, (inputs, wanted) = subwords(), asked
    leads = [first_sentence(known.text(row)) for row in inputs["source"]]
    cut = [known.text(row) for row in known.rows(leads, TARGET - 1)]
    lines = [known.text(row) for row in wanted]
    return {"lead-1": {f"{n}, greedy": m(cut, lines) for n, m in (("ROUGE-1", rouge_1), ("ROUGE-L", rouge_l))}}


def task() -> Task:
    """Returns the task: bodies and first lines of docstrings."""
    found = docstrings()
    training, validation, test = (rows(found[part]) for part in ("training", "validation", "test"))
    return Task(
        name="summarisation",
        title="summarisation",
        data=f"docstrings of installed packages, the first {SOURCE} subwords of the body to the first line: "
        f"{len(training[1]):,} for training, {min(VALIDATED, len(validation[1]))} to choose paths, "
        f"{min(TESTED, len(test[1]))} for the test",
        metric="tokens told right, given those before",
        layers=LAYERS,
        build=build,
        pattern="decoder.*",
        draw=draw_from(training, 48),
        loss=loss,
        compared=compared,
        validation=in_batches(validation, VALIDATED),
        test=in_batches(test, TESTED),
        score=score,
        axes={"source": {0: "batch"}, "target": {0: "batch", 1: "length"}},
        steps=3000,
        quick=20,
        rate=5e-3,
        decoded=decoded,
        told=told,
    )
