"""The language models among the tasks: their text, what they may look at, and what their figures mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("sklearn", reason="the tasks need the extra demo")

import rr_export as rr
from examples.tasks import language, masked, text
from examples.tasks.rivals import pruned
from rr_runtime import Session

TOKENS = torch.arange(2 * text.LENGTH).reshape(2, text.LENGTH) % text.VOCABULARY


def shared(parts: dict[str, list[str]]) -> set[str]:
    """What is in two parts, numbers and signs aside."""
    keys = [{text.key(paragraph) for paragraph in paragraphs} for paragraphs in parts.values()]
    return {name for i, ours in enumerate(keys) for theirs in keys[i + 1 :] for name in ours & theirs}


def test_parts_share_no_paragraph_and_no_file() -> None:
    parts = text.split()
    assert not shared(parts)
    assert min(len(parts[part]) for part in text.PARTS) > 100
    leaked = f"{parts['training'][0]} 17."
    assert shared({**parts, "test": [*parts["test"], leaked]}) == {text.key(leaked)}
    names = [text.part_of(Path(f"numpy/module_{i}.py")) for i in range(5000)]
    assert names == [text.part_of(Path(f"numpy/module_{i}.py")) for i in range(5000)]
    bound = math.sqrt(math.log(2 * 3 / 1e-6) / (2 * len(names)))  # Hoeffding 1963: a sound hash fails once in a million
    for part, share in (("test", 2 / 25), ("validation", 1 / 25), ("training", 22 / 25)):
        assert abs(names.count(part) / len(names) - share) < bound


def test_rows_go_on_where_the_row_before_ended() -> None:
    corpus = text.read()
    for part in text.PARTS:
        rows = corpus.rows[part]
        assert rows.shape[1] == text.LENGTH + 1 and (rows[1:, 0] == rows[:-1, -1]).all()
        assert rows.min() >= 0 and rows.max() < corpus.tokenizer.get_vocab_size() == text.VOCABULARY
    said = "Returns the smallest eigenvalue of a matrix, or 0.5."
    assert corpus.text(corpus.tokenizer.encode(said).ids) == f" {said}"
    end = corpus.tokenizer.token_to_id(text.END)
    assert corpus.text([*corpus.tokenizer.encode("One.").ids, end]) == " One.\n"


def test_paragraphs_are_prose() -> None:
    docstring = (
        "Returns the sum\nof all of its values.\n\nParameters\n----------\nx : array\n    The values to be summed.\n\n"
        "Too short.\n\n>>> total([1, 2]) is a thing of five words.\n\nA sentence that has no end, but words\n\n"
        "Ein Satz mit Umlauten wie ä ist keiner.\n\nExample of how it is written::\n\n    x = total(1, 2, 3).\n"
    )
    assert text.paragraphs([docstring, "The second of the docstrings is prose."]) == [
        "Returns the sum of all of its values.",
        "The second of the docstrings is prose.",
    ]


def changed_before(predict: Callable[[Tensor], Tensor], place: int) -> tuple[float, float]:
    """How far outputs before a place are apart, and from it on, when the token at it is another one."""
    other = TOKENS.clone()
    other[:, place] += 1
    with torch.no_grad():
        apart = (predict(TOKENS) - predict(other)).abs().amax(-1)
    return float(apart[:, :place].max()), float(apart[:, place:].max())


def routed_language() -> torch.nn.Module:
    model = language.build(3).eval()
    rr.route_layers(model, "layers.*", keep=0.5, args=(TOKENS,))
    return model


@pytest.mark.parametrize("path", [[1, 1, 1], [0, 1, 0]])
def test_a_later_token_changes_nothing_before_it(path: list[int]) -> None:
    model = routed_language()
    with rr.forced(model, path):
        before, after = changed_before(lambda tokens: model(tokens)["logits"], 20)
    assert before == 0 and after > 1e-3

    def looks_ahead(tokens: Tensor) -> Tensor:  # the sabotaged twin
        logits: Tensor = model(tokens)["logits"]
        return logits + logits.mean(1, keepdim=True)

    with rr.forced(model, path):
        assert changed_before(looks_ahead, 20)[0] > 0


def test_the_file_reads_any_length_and_no_later_token(tmp_path: Path) -> None:
    model = routed_language()
    bundle = rr.export(model, (), {"tokens": TOKENS}, dynamic_shapes={"tokens": {0: "batch", 1: "time"}})
    bundle.save(tmp_path / "language")
    session, rows = Session(tmp_path / "language"), TOKENS.numpy()
    for path in ([1, 1, 1], [1, 0, 0], [0, 0, 0]):
        whole = session.run({"tokens": rows}, path=path).outputs["logits"]
        with rr.forced(model, path), torch.no_grad():
            assert np.allclose(whole, model(TOKENS)["logits"].numpy(), atol=1e-4)
        for length in (1, 7, text.LENGTH):
            part = session.run({"tokens": rows[:1, :length]}, path=path).outputs["logits"]
            assert np.allclose(part, whole[:1, :length], atol=1e-4)


def test_nats_and_perplexity_are_those_computed_by_hand() -> None:
    logits = np.log(np.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]], np.float32)) + 3
    assert np.allclose(language.nats(logits, np.array([[0, 1]])), [[math.log(2), math.log(10)]])
    assert language.score({"logits": logits}, np.array([[0, 1]])).tolist() == [0.5]
    task = language.task()
    assert task.decoded is not None
    found = task.decoded(
        lambda inputs: {"logits": np.zeros((*inputs["tokens"].shape, text.VOCABULARY), np.float32)}, task.asked()
    )
    assert found["perplexity (less is better)"] == pytest.approx(text.VOCABULARY)  # of what knows nothing
    corpus, rows = text.read(), text.read().rows["test"]
    written = sum(len(corpus.text(row[1:])) for row in rows)
    assert found["bits a character (less is better)"] == pytest.approx(
        math.log2(text.VOCABULARY) * rows[:, 1:].size / written
    )


def test_the_weights_of_an_lstm_are_pruned_too() -> None:
    model = language.build(2).eval()
    made = pruned(model, 0.5)
    weights = [weight for name, weight in made.named_parameters() if "lstm.weight" in name or name == "head.weight"]
    assert len(weights) == 5
    assert sum(int((weight == 0).sum()) for weight in weights) == round(0.5 * sum(w.numel() for w in weights))
    assert all(float((weight == 0).float().mean()) > 0.2 for weight in weights)
    with torch.no_grad():
        hidden = model.tokens(TOKENS)
        assert float((made.layers(hidden) - model.layers(hidden)).abs().max()) > 1e-3  # the LSTM runs with what is left


def test_writing_takes_the_likeliest_token_until_a_paragraph_ends() -> None:
    corpus, seen = text.read(), []
    end = corpus.tokenizer.token_to_id(text.END)
    following = [*corpus.tokenizer.encode("sum of all.").ids, end, end]

    def run(inputs: language.Inputs) -> language.Inputs:
        seen.append(inputs["tokens"].shape[1])
        logits = np.zeros((1, seen[-1], text.VOCABULARY), np.float32)
        logits[0, -1, following[len(seen) - 1]] = 1
        return {"logits": logits}

    assert language.write(corpus, run, "Returns the") == "Returns the sum of all."
    assert seen == list(range(seen[0], seen[0] + len(following) - 1))
    seen.clear()
    language.write(corpus, run, "Returns the", count=2)
    assert len(seen) == 2


def test_what_is_hidden_is_not_looked_at() -> None:
    model, places = masked.build(2).eval(), torch.tensor([[1, 5, 9], [0, 2, 31]])
    hidden = torch.zeros_like(TOKENS).scatter(1, places, 1)

    def apart(changed: Tensor) -> float:
        with torch.no_grad():
            found = model(TOKENS, places)["logits"] - model(TOKENS + changed, places)["logits"]
        return float(found.abs().max())

    assert apart(hidden) == 0
    assert apart(torch.roll(hidden, 1, 1)) > 1e-3  # places that are not hidden, as a sabotaged twin


def test_hidden_places_are_different_and_uniform() -> None:
    places = masked.choose(6000, np.random.default_rng(1))
    assert places.shape == (6000, masked.HIDDEN) and (np.diff(places, axis=1) > 0).all()
    share = np.bincount(places.ravel(), minlength=text.LENGTH) / len(places)
    assert len(share) == text.LENGTH
    # Hoeffding 1963: a sound choice fails once in a million
    assert (abs(share - masked.HIDDEN / text.LENGTH) < math.sqrt(math.log(2 * text.LENGTH / 1e-6) / (2 * 6000))).all()


def test_what_was_hidden_is_filled_in() -> None:
    corpus = text.read()
    tokens = np.array(corpus.tokenizer.encode("Returns the sum of all values.").ids, np.int64)
    places, logits = np.array([1, 3]), np.zeros((1, 2, text.VOCABULARY), np.float32)
    told = [int(tokens[1]), int(tokens[0])]
    logits[0, [0, 1], told] = 1
    filled = masked.fill(corpus, lambda inputs: {"logits": logits}, tokens, places)
    parts = [corpus.text([token]) for token in tokens]
    wanted = f"{parts[0]}[{parts[1]}]{parts[2]}[{parts[0]}, not {parts[3]}]{''.join(parts[4:])}"
    assert filled == wanted.strip()
    assert masked.score({"logits": logits}, tokens[places][None]).tolist() == [0.5]


def test_heads_begin_with_one_neighbour_each() -> None:
    scores = masked.neighbours()[:, torch.arange(text.LENGTH) - 10 + text.LENGTH - 1]  # of the place 10, for all others
    assert scores.argmax(-1).tolist() == [9, 11, 8, 12] and (scores.sum(-1) == 4).all()
