"""Texts that files write: decoding against search of all texts, metrics by hand, and data without leakage."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("sklearn", reason="the tasks need the extra demo")
pytest.importorskip("tokenizers", reason="the tasks need the extra demo")

from examples.tasks import summarisation, translation
from examples.tasks.decoding import Step, beam, greedy, steps_of
from examples.tasks.sequences import draw_from, score
from examples.tasks.subwords import BEGIN, END, PADDING, Subwords, shifted
from examples.tasks.summarisation import first_sentence
from examples.tasks.text_metrics import bleu, chrf, exact, longest_common, rouge_1, rouge_l, words
from examples.tasks.transformer import Translator

LONGEST, TOKENS = 4, (END, 3, 4)


def drawn(seed: int, *, count: int = 3) -> Step:
    """A made-up model: the log-probabilities of every row after every prefix are drawn once, for `TOKENS` alone."""
    rng = np.random.default_rng(seed)
    known: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def step(rows: NDArray[np.int64], prefixes: NDArray[np.int64]) -> NDArray[np.float64]:
        said = np.full((len(rows), 5), -np.inf)
        for row, prefix, out in zip(rows, prefixes, said, strict=True):
            assert prefix[0] == BEGIN and not {END, PADDING} & set(prefix[1:]) and row < count
            key = (int(row), *map(int, prefix))
            if key not in known:
                known[key] = np.log(rng.dirichlet(np.ones(len(TOKENS))))
            out[list(TOKENS)] = known[key]
        return said

    return step


def likeliest(step: Step, row: int, penalty: float) -> tuple[int, ...]:
    """The best of all texts: the oracle."""

    def worth(text: tuple[int, ...]) -> float:
        total = 0.0
        for place, token in enumerate(text):
            total += step(np.array([row]), np.array([[BEGIN, *text[:place]]]))[0, token]
        return total / len(text) ** penalty

    open_ = [text for size in range(LONGEST) for text in itertools.product(TOKENS[1:], repeat=size)]
    whole = [(*text, END) for text in open_] + list(itertools.product(TOKENS[1:], repeat=LONGEST))
    return max(whole, key=worth)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_there_are_texts_finds_the_likeliest(penalty: float) -> None:
    missed = 0
    for seed in range(12):
        step = drawn(seed)
        found = beam(step, 3, width=40, longest=LONGEST, penalty=penalty)
        short = greedy(step, 3, longest=LONGEST)
        for row in range(3):
            wanted = likeliest(step, row, penalty)
            assert tuple(found[row]) == (*wanted, *[PADDING] * (LONGEST - len(wanted)))
            missed += tuple(short[row][: len(wanted)]) != wanted
    assert missed  # the oracle tells greedy from the best


def test_a_beam_of_one_is_greedy() -> None:
    for seed in range(30):
        one = beam(drawn(seed), 3, width=1, longest=LONGEST)
        np.testing.assert_array_equal(one, greedy(drawn(seed), 3, longest=LONGEST))


def test_a_wider_beam_is_not_the_greedy_one() -> None:
    assert any(
        (beam(drawn(seed), 3, width=3, longest=LONGEST) != greedy(drawn(seed), 3, longest=LONGEST)).any()
        for seed in range(10)
    )


def test_steps_ask_the_file_for_the_next_token_alone() -> None:
    asked = []

    def run(inputs: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.float32]]:
        asked.append(inputs)
        return {"logits": np.tile(np.array([1.0, 2.0, 3.0], np.float32), (*inputs["target"].shape, 1))}

    source = np.arange(6).reshape(3, 2)
    said = steps_of(run, source)(np.array([2, 0]), np.array([[1, 5], [1, 6]]))
    np.testing.assert_array_equal(asked[0]["source"], [[4, 5], [0, 1]])
    np.testing.assert_allclose(np.exp(said).sum(1), 1)
    np.testing.assert_allclose(np.diff(said), 1)


def test_metrics_are_those_by_hand() -> None:
    assert exact(["a", "b"], ["a", "c"]) == 0.5
    assert words("Return `x_1`, or None.") == ["return", "x", "1", "or", "none"]
    assert longest_common("abcbdab", "bdcaba") == 4  # Cormen et al., Introduction to Algorithms, section 15.4
    # Lin 2004, section 3: S2 and S3 against S1; of four words each, three and two are in order.
    reference = "police killed the gunman"
    assert rouge_l(["police kill the gunman"], [reference]) == pytest.approx(3 / 4)
    assert rouge_l(["the gunman kill police"], [reference]) == pytest.approx(2 / 4)
    assert rouge_1(["the gunman kill police"], [reference]) == pytest.approx(3 / 4)
    assert rouge_1(["the the the", "x"], ["the cat", "y"]) == pytest.approx((2 * 1 / 5) / 2)  # one of 3, one of 2
    assert rouge_l([""], [reference]) == rouge_1([""], [reference]) == 0
    # BLEU of one text of five words, of which 4, 3, 2 and 1 n-grams of 5, 4, 3 and 2 are there
    assert bleu(["a b c d x"], ["a b c d e"]) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert chrf(["abc"], ["abc"]) == pytest.approx(1) and chrf(["xyz"], ["abc"]) == 0
    # of single letters 3 of 4 are there; of pairs 2 of 3, of threes 1 of 2, of fours none: precision as recall
    assert chrf(["abcd"], ["abce"]) == pytest.approx((3 / 4 + 2 / 3 + 1 / 2 + 0) / 4, abs=1e-9)


def test_rows_of_subwords_come_back() -> None:
    known = Subwords.learned(["pájaro azul", "pájaro rojo"] * 5, 300, tags=["<pt>"])
    texts = ["pájaro azul", "rojo 東"]
    given, wanted = shifted(known.rows(texts, 12))
    assert [known.text(row) for row in wanted] == texts and given.shape == wanted.shape == (2, 13)
    assert (given[:, 0] == BEGIN).all() and (np.sort(wanted, 1)[:, -1] > END).all()
    np.testing.assert_array_equal(given[:, 1:][given[:, 1:] > 0], wanted[wanted > END])
    assert ((wanted == END).sum(1) == 1).all()
    tagged = known.rows(["<pt> pájaro"], 12)[0]
    assert known.tokenizer.id_to_token(int(tagged[0])) == "<pt>" and known.text(tagged[1:]) == "pájaro"


def test_batches_are_cut_to_what_is_in_them() -> None:
    source = np.tril(np.ones((40, 40), np.int64)) * 7
    given, wanted = shifted(source[:, :20])
    inputs, target = draw_from(({"source": source, "target": given}, wanted), 2)(np.random.default_rng(0))
    assert inputs["source"].shape[1] == int((inputs["source"] != 0).sum(1).max()) < 40
    assert inputs["target"].shape == target.shape and target.shape[1] == int((target != 0).sum(1).max())


def test_bug_a_model_that_copies_almost_always_was_not_exact() -> None:
    torch.manual_seed(0)
    model = Translator(300, (6, 5), encoder=1, decoder=1).eval()
    torch.nn.init.constant_(model.copies.bias, 15.0)
    source, target = torch.randint(3, 300, (4, 6)), torch.randint(3, 300, (4, 5))
    with torch.no_grad():
        found = model(source, target)["logits"]
        model.double()
        precise = model(source, target)["logits"]
    assert float((found - precise).abs().max()) < 1e-5


def test_the_score_leaves_padding_out() -> None:
    logits = np.zeros((1, 3, 4), np.float32)
    logits[0, 0, 3] = logits[0, 1, 1] = 1
    assert score({"logits": logits}, np.array([[3, 2, PADDING]])) == [0.5]


def texts_of(pairs: list[translation.Pair]) -> set[str]:
    return {text for pair in pairs for text in (pair.source, pair.target)}


def test_no_name_of_the_test_is_known_from_training() -> None:
    parts = {part: texts_of(found) for part, found in translation.pairs().items()}
    assert all(len(texts) > 300 for texts in parts.values())
    for one, other in itertools.combinations(parts.values(), 2):
        assert not one & other
    assert len(parts["training"]) > 5 * len(parts["test"])
    assert all(pair.source != pair.target for found in translation.pairs().values() for pair in found)
    wanted = translation.Pair("pt", "corona danesa", "coroa dinamarquesa")
    assert any((p.language, p.source, p.target.lower()) == (wanted.language, wanted.source, wanted.target)
               for found in translation.pairs().values() for p in found)  # fmt: skip


def test_no_docstring_of_the_test_is_known_from_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "made_up_texts"
    package.mkdir()
    body = "It has a body of more than eight words, number {}."
    code = [f'def f{i}():\n    """Return the number {i} of all.\n\n    {body.format(i)}\n    """\n' for i in range(80)]
    code += [
        'def twice():\n    """return the number 3 of all.\n\n    Another body, of more words than eight, as ever."""\n'
    ]
    code += [f'def again():\n    """Say it again for all.\n\n    {body.format(5)}"""\n']
    code += ['def short():\n    """Return the number.\n\n    Few words."""\n']
    (package / "__init__.py").write_text("".join(code))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(summarisation, "PACKAGES", ("made_up_texts", "no_such_package"))
    summarisation.docstrings.cache_clear()
    try:
        parts = summarisation.docstrings()
    finally:
        summarisation.docstrings.cache_clear()
    assert sum(map(len, parts.values())) == 80 and all(parts.values())
    for texts in (lambda found: found.line.lower(), lambda found: found.body.lower()):
        assert len({texts(found) for part in parts.values() for found in part}) == 80


def test_lines_are_whole_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Subwords.learned(["a b c"], 300)
    monkeypatch.setattr(summarisation, "subwords", lambda: known)
    lines = ["a " * size for size in (3, summarisation.TARGET - 1, summarisation.TARGET)]
    inputs, wanted = summarisation.rows([summarisation.Docstring("b " * 500, line.strip()) for line in lines])
    assert [known.text(row) for row in wanted] == [line.strip() for line in lines[:2]]
    assert inputs["source"].shape == (2, summarisation.SOURCE) and inputs["target"].shape == wanted.shape


def test_the_first_sentence_ends_where_a_section_begins() -> None:
    assert first_sentence("It is 1.5 of x. And more.") == "It is 1.5 of x."
    assert first_sentence("Parameters ---------- x : int") == "Parameters"
    assert first_sentence("Does it :param x: what") == "Does it"
