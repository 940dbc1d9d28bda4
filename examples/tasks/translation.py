"""Translation: names of the CLDR between five Romance languages, by a transformer with routed encoder and decoder."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from babel import localedata
from torch import nn

from examples.tasks.sequences import Written, compared, draw_from, in_batches, loss, score
from examples.tasks.subwords import Subwords, shifted
from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.text_metrics import bleu, chrf, exact
from examples.tasks.transformer import Translator

LANGUAGES = ("ca", "es", "fr", "it", "pt")
KINDS = (
    *("languages", "territories", "scripts", "variants", "currency_names", "currency_names_plural"),
    *("time_zones", "meta_zones"),
)
VOCABULARY, SOURCE, TARGET = 800, 20, 18
PAIRS = 4  # layers of the encoder, and of the decoder
TESTED, VALIDATED = 1000, 400
WIDTH, PENALTY = 4, 1.0  # of the beam


Key = tuple[str, ...]
"""What a name is of: its kind, what it is (such as EUR), and the forms of the name."""


@dataclass(frozen=True)
class Pair:
    """A name in two languages.

    Attributes:
        language: of the target.
        source: the name.
        target: the same in that language.
    """

    language: str
    source: str
    target: str


def names(language: str) -> dict[Key, str]:
    """Returns what the CLDR calls languages, places, scripts, currencies, time zones and units, by what they are."""
    known = localedata.LocaleDataDict(localedata.load(language))
    units = {unit: forms.get("long", {}) for unit, forms in known["unit_patterns"].items()}
    parts = {**{kind: known[kind] for kind in KINDS}, "units": units}
    return dict(_flat((), parts))


def _flat(key: Key, named: Any) -> Iterator[tuple[Key, str]]:
    if isinstance(named, str) and named:
        yield key, named
    elif isinstance(named, Mapping):
        for name in named:
            yield from _flat((*key, str(name)), named[name])


@cache
def pairs() -> dict[str, list[Pair]]:
    """Returns the pairs for *training*, *validation* and *test*.

    What a name is of decides where it goes, in all languages; and a pair with a text, source or target, that is in the
    test is left out of the validation, and one with a text that is in either of them out of the training.
    """
    books = {language: names(language) for language in LANGUAGES}
    parts: dict[str, list[Pair]] = {"test": [], "validation": [], "training": []}
    for key in sorted(set().union(*books.values())):
        place = zlib.crc32(key[1].encode()) % 20
        part = "test" if place < 2 else "validation" if place < 3 else "training"
        known = {language: book[key] for language, book in books.items() if key in book}
        for one, source in known.items():
            others = {language: text for language, text in known.items() if language != one and text != source}
            parts[part] += [Pair(language, source, text) for language, text in others.items()]
    taken: set[str] = set()
    for part, found in parts.items():
        unique = dict.fromkeys(pair for pair in found if not {pair.source, pair.target} & taken)
        order = np.random.default_rng(0).permutation(len(unique))
        rows = list(unique)
        parts[part] = [rows[i] for i in order]
        taken |= {text for pair in unique for text in (pair.source, pair.target)}
    return parts


@cache
def subwords() -> Subwords:
    """Returns the subwords of the training, one tag for each target language among them."""
    texts = dict.fromkeys(text for pair in pairs()["training"] for text in (pair.source, pair.target))
    return Subwords.learned(texts, VOCABULARY, tags=[f"<{language}>" for language in LANGUAGES])


def rows(found: Sequence[Pair]) -> Batch:
    """Returns the pairs that are short enough as inputs *source* and *target*, and what is to be said."""
    known = subwords()
    sources = [f"<{pair.language}> {pair.source}" for pair in found]
    lengths = [(known.length(s), known.length(p.target)) for s, p in zip(sources, found, strict=True)]
    short = [i for i, (source, target) in enumerate(lengths) if source <= SOURCE and target < TARGET]
    given, wanted = shifted(known.rows([found[i].target for i in short], TARGET - 1))
    return {"source": known.rows([sources[i] for i in short], SOURCE), "target": given}, wanted


def build(layers: int) -> nn.Module:
    """Returns an untrained model of so many layers, half of them of the decoder, or one more."""
    torch.manual_seed(0)
    return Translator(subwords().size, (SOURCE, TARGET), encoder=layers // 2, decoder=layers - layers // 2)


def decoded(run: Callable[[Inputs], Inputs], asked: Batch) -> dict[str, float]:
    """Returns how near the translations are, written greedily and by a beam."""
    metrics = {"exact": exact, "BLEU": bleu, "chrF": chrf}
    return Written(run, asked, subwords()).figures(metrics, width=WIDTH, penalty=PENALTY)


def told(asked: Batch) -> dict[str, dict[str, float]]:
    """Returns the same figures of the sources, untranslated."""
    known, (inputs, wanted) = subwords(), asked
    sources = [known.text(row[1:]) for row in inputs["source"]]
    targets = [known.text(row) for row in wanted]
    return {"untranslated": {f"{n}, greedy": m(sources, targets) for n, m in (("BLEU", bleu), ("chrF", chrf))}}


def task() -> Task:
    """Returns the task; no text of the test is known from the training, in any language."""
    found = pairs()
    training = rows(found["training"])
    test, validation = rows(found["test"]), rows(found["validation"])
    return Task(
        name="translation",
        title="translation",
        data="names of languages, places, currencies, time zones and units of the CLDR between Catalan, Spanish, "
        f"French, Italian and Portuguese: {len(training[1]):,} pairs for training, {VALIDATED} to choose paths, "
        f"{TESTED:,} of other things for the test",
        metric="tokens told right, given those before",
        layers=2 * PAIRS,
        build=build,
        pattern=("encoder.*", "decoder.*"),
        draw=draw_from(training, 64),
        loss=loss,
        compared=compared,
        validation=in_batches(validation, VALIDATED),
        test=in_batches(test, TESTED),
        score=score,
        axes={"source": {0: "batch"}, "target": {0: "batch", 1: "length"}},
        steps=4500,
        quick=20,
        rate=5e-3,
        decoded=decoded,
        told=told,
    )
