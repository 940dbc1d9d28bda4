"""Texts as rows of subwords: byte-pair encoding, learned from the texts of the training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Joined
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

PADDING, BEGIN, END = 0, 1, 2
SPECIAL = ("<padding>", "<begin>", "<end>")


@dataclass(frozen=True)
class Subwords:
    """Texts to numbers and back (Sennrich, Haddow, Birch 2016, on bytes: any text can be written).

    Attributes:
        tokenizer: what does it.
    """

    tokenizer: Tokenizer

    @staticmethod
    def learned(texts: Iterable[str], size: int, *, tags: Sequence[str] = ()) -> Subwords:
        """Returns a vocabulary of so many subwords; tags such as ``<pt>`` are one each."""
        made = Tokenizer(BPE())
        made.normalizer, made.pre_tokenizer, made.decoder = NFC(), ByteLevel(add_prefix_space=True), Joined()
        trainer = BpeTrainer(
            vocab_size=size,
            special_tokens=[*SPECIAL, *tags],
            initial_alphabet=ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(texts, trainer)
        return Subwords(made)

    @property
    def size(self) -> int:
        """How many subwords there are."""
        return int(self.tokenizer.get_vocab_size())

    def rows(self, texts: Sequence[str], longest: int) -> NDArray[np.int64]:
        """Returns the texts, cut and filled up with 0, int64 [N, longest]."""
        rows = np.full((len(texts), longest), PADDING, np.int64)
        for row, found in zip(rows, self.tokenizer.encode_batch(list(texts)), strict=True):
            ids = found.ids[:longest]
            row[: len(ids)] = ids
        return rows

    def length(self, text: str) -> int:
        """Returns how many subwords a text has."""
        return len(self.tokenizer.encode(text).ids)

    def text(self, row: Iterable[int]) -> str:
        """Returns what a row says, up to its end."""
        ids: list[int] = []
        for token in row:
            if token in (END, PADDING):
                break
            ids.append(int(token))
        return str(self.tokenizer.decode(ids)).strip()


def shifted(rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns what a decoder is given and what it is to say, each int64 [N, T + 1], from rows int64 [N, T].

    The first begins with BEGIN, the second ends with END; both are filled up with 0.
    """
    count = len(rows)
    given = np.concatenate([np.full((count, 1), BEGIN, np.int64), rows], 1)
    wanted = np.concatenate([rows, np.full((count, 1), PADDING, np.int64)], 1)
    wanted[np.arange(count), (rows != PADDING).sum(1)] = END
    return given, wanted
