"""How near written texts are to those that were wanted: the same, BLEU and chrF, ROUGE."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence


def exact(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Returns the share of texts that are as wanted, letter by letter."""
    return sum(one == other for one, other in zip(found, wanted, strict=True)) / len(wanted)


def bleu(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Returns BLEU over all texts, from 0 to 1, with one reference each (Papineni et al. 2002, by sacrebleu)."""
    from sacrebleu.metrics import BLEU

    return float(BLEU().corpus_score(list(found), [list(wanted)]).score) / 100


def chrf(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Returns chrF over all texts, from 0 to 1: F2 of n-grams of letters, n up to 6 (Popović 2015, by sacrebleu)."""
    from sacrebleu.metrics import CHRF

    return float(CHRF().corpus_score(list(found), [list(wanted)]).score) / 100


def words(text: str) -> list[str]:
    """Returns the runs of letters and digits of a text, in small letters: what ROUGE compares."""
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge_1(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Returns ROUGE-1, the mean F1 of the words that two texts share, each as often as it is in both (Lin 2004)."""

    def one(a: list[str], b: list[str]) -> float:
        return _f1((Counter(a) & Counter(b)).total(), len(a), len(b))

    return _mean(found, wanted, one)


def rouge_l(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Returns ROUGE-L, the mean F1 of the longest common subsequence of words (Lin 2004, section 3, beta = 1)."""

    def one(a: list[str], b: list[str]) -> float:
        return _f1(longest_common(a, b), len(a), len(b))

    return _mean(found, wanted, one)


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = row
        row = [0]
        for place, other in enumerate(b):
            row.append(before[place] + 1 if word == other else max(before[place + 1], row[place]))
    return row[-1]


def _f1(shared: int, found: int, wanted: int) -> float:
    return 2 * shared / (found + wanted) if shared else 0.0


def _mean(found: Sequence[str], wanted: Sequence[str], one: Callable[[list[str], list[str]], float]) -> float:
    pairs = zip(found, wanted, strict=True)
    return sum(one(words(a), words(b)) for a, b in pairs) / len(wanted)
