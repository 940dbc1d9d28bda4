"""Text for language models: prose of the docstrings of installed libraries, as tokens, in parts that share no file."""

from __future__ import annotations

import re
import sysconfig
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from examples.tasks.docstrings import LARGE, LIBRARIES
from rr_export.demo.docstrings import documented, source_files

VOCABULARY = 512
LENGTH = 32  # tokens of a row
CHARACTERS = 150_000  # of each library, at least, where it has as many
TEST, VALIDATION = 500, 200  # rows
END = "<end>"  # of a paragraph
PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Corpus:
    """Tokens of paragraphs one after another, in rows.

    Attributes:
        tokenizer: byte-pair encoding, learned from the training part.
        rows: int64 [N, LENGTH + 1] by part; a row is followed by the next one, with whose first token it ends.
        characters: how many characters the training part has.
    """

    tokenizer: Tokenizer
    rows: dict[str, NDArray[np.int64]]
    characters: int

    def __str__(self) -> str:
        """What it is, in words."""
        return (
            f"prose of docstrings of installed libraries: {self.characters:,} characters for training, as {VOCABULARY} "
            f"kinds of tokens; {len(self.rows['validation'])} rows of {LENGTH} tokens to choose paths and "
            f"{len(self.rows['test'])} for the test, from other files"
        )

    def text(self, tokens: Iterable[int]) -> str:
        """Returns what the tokens say, with a new line where a paragraph ends."""
        written: str = self.tokenizer.decode([int(token) for token in tokens], skip_special_tokens=False)
        return written.replace(END, "\n")


def part_of(file: Path) -> str:
    """Returns the part that a file belongs to, by a hash of its name: 8 % test, 4 % choose paths, the others train."""
    place = zlib.crc32(file.as_posix().encode()) % 25
    return "test" if place < 2 else "validation" if place < 3 else "training"


def paragraphs(docstrings: Iterable[str]) -> list[str]:
    """Returns the paragraphs of docstrings that are prose: whole sentences, without tables and code."""
    found = []
    for docstring in docstrings:
        for block in docstring.split("\n\n"):
            text = " ".join(block.split())
            if re.fullmatch(r"[A-Z][ -~]*\.", text) and len(text.split()) >= 5 and not re.search(">>>|::|---", text):
                found.append(text)
    return found


def key(paragraph: str) -> str:
    """Returns the letters alone: paragraphs that differ in numbers or signs only count as the same."""
    return re.sub("[^a-z]", "", paragraph.lower())


@cache
def split() -> dict[str, list[str]]:
    """Returns paragraphs by part, each once: numbers and signs aside, those of a part are in no other one."""
    found: dict[str, dict[str, str]] = {part: {} for part in PARTS}
    root = Path(sysconfig.get_paths()["purelib"])
    for library in LIBRARIES:
        characters = 0
        for file in source_files(library):
            if characters >= CHARACTERS:
                break
            if file.stat().st_size > LARGE or "tests" in file.parts:
                continue
            part = found[part_of(file.relative_to(root))]
            for text in paragraphs(item.docstring for item in documented(file)):
                characters += len(text) if part.setdefault(key(text), text) is text else 0
    seen: set[str] = set()
    kept = {}
    for part, texts in found.items():
        kept[part] = [text for name, text in texts.items() if name not in seen]
        seen |= set(texts)
    return kept


@cache
def read() -> Corpus:
    """Returns the text of all libraries as tokens; the paragraphs of a part are in a random order."""
    texts = split()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts["training"], trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[END], show_progress=False)
    )
    rows, rng = {}, np.random.default_rng(0)
    for part, written in texts.items():
        order = rng.permutation(len(written))
        encoded = tokenizer.encode_batch([written[i] for i in order])
        ids = np.array([token for one in encoded for token in (*one.ids, tokenizer.token_to_id(END))], np.int64)
        count = (len(ids) - 1) // LENGTH
        rows[part] = np.stack([ids[i * LENGTH : (i + 1) * LENGTH + 1] for i in range(count)])
    rows["test"], rows["validation"] = rows["test"][:TEST], rows["validation"][:VALIDATION]
    return Corpus(tokenizer, rows, sum(map(len, texts["training"])))
