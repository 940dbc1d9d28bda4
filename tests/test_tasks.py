"""The tasks, shortened: each trains, is exported, proven and compared from its files; and what tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sklearn", reason="the tasks need the extra demo")

from examples.tasks import __main__ as command
from examples.tasks import comparison, docstrings, summarisation, text, timing, weights
from examples.tasks.comparison import Comparison, Row, compare
from examples.tasks.show import (
    answers_markdown,
    answers_table,
    answers_verdict,
    draw,
    markdown,
    overview,
    said,
    table,
    verdict,
)
from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.training import nested_path, random_path, train_plain
from rr_runtime import Session

READ = (docstrings.read, summarisation.docstrings, summarisation.subwords, text.split, text.read)  # what they kept


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(comparison, "RANDOM_PATHS", 2)
    monkeypatch.setattr(comparison, "PRUNED", (0.5,))
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(summarisation, "ENCODER", 1)
    monkeypatch.setattr(summarisation, "PACKAGES", ("networkx",))  # the others take long to read
    monkeypatch.setattr(docstrings, "EACH", 300)
    monkeypatch.setattr(text, "CHARACTERS", 20_000)
    for read in READ:
        read.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for read in READ:
        read.cache_clear()


def find(name: str) -> Task:
    if name == "speech":
        pytest.importorskip("espeakng_loader", reason="speech needs the extra test")
    return command.find(name)


def shortened(task: Task) -> Task:
    """The task with few rows to score, and fewer layers, as all of them take long to export."""

    def cut(batches: Sequence[Batch]) -> list[Batch]:
        return [({name: rows[:80] for name, rows in inputs.items()}, target[:80]) for inputs, target in batches[:1]]

    layers = 3 if task.name == "digits" else 2
    return replace(task, validation=cut(task.validation), test=cut(task.test), answered=4, layers=layers)


@pytest.mark.parametrize("name", command.TASKS)
def test_a_task_is_trained_exported_proven_and_compared(name: str, tmp_path: Path) -> None:
    task = shortened(find(name))
    found = compare(task, tmp_path, steps=6, evaluations=14)
    assert "paths: holds" in found.verified and "law: holds" in found.verified
    kinds = [row.kind for row in found.rows]
    sizes = min(4, task.layers)
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        **{"static": sizes, "routed": sizes, "skipped": sizes, "pruned": 1, "int8": 1}
    }
    for row in found.rows:
        assert 0 <= row.quality <= 1 and row.milliseconds > 0 and row.megabytes > 0
        assert (row.better is None) == (row.kind == "static")
        assert (row.worst is None) == (row.kind not in ("routed", "skipped"))
    modelled = {name for name in found.decoded if any(row.name == name for row in found.rows)}
    if task.decoded is not None:  # every row
        assert len(modelled) == len(kinds)
    if task.told is not None:  # and what needs no model
        assert len(kinds) < len(found.decoded)
        assert all(0 <= value <= 1 for figures in found.decoded.values() for value in figures.values())
    if task.decoded is not None:
        assert len({tuple(found.decoded[name]) for name in modelled}) == 1
    inputs, target = task.test[0]
    session = Session(tmp_path / "routed")
    assert session.profiles
    outputs = session.run(inputs, budget=1.0).outputs
    assert task.score(outputs, target).shape == target.shape[:1]
    assert list(found.said) == ([row.name for row in found.rows if row.kind == "routed"] if task.said else [])
    assert all(found.said.values())
    if task.told is not None:  # whole texts, and a seed is one path for them
        assert task.decoded is not None
        taken: list[tuple[int, ...]] = []

        def sampled(inputs: Inputs) -> Inputs:
            result = session.run(inputs, seed=7)
            taken.append(tuple(result.path))
            return result.outputs

        task.decoded(sampled, task.asked())
        assert len(set(taken)) == 1 < len(taken)
    whole = next(row for row in found.rows if row.name == f"skipped {task.layers}")
    plain = next(row for row in found.rows if row.name == f"static {task.layers}")
    if whole.layers == task.layers:  # the same weights, on the path of all layers
        assert whole.quality == plain.quality and whole.better == 0


@pytest.mark.parametrize("name", command.TASKS)
def test_training_lowers_the_loss(name: str) -> None:
    task = find(name)
    model, rng = task.build(2), np.random.default_rng(5)
    held = [task.draw(rng) for _ in range(4)]

    def loss() -> float:
        model.eval()
        with torch.no_grad():
            return float(np.mean([float(task.loss(model(**inputs), target)) for inputs, target in held]))

    before = loss()
    train_plain(task, model, 40, lambda done, total: None)
    assert loss() < 0.97 * before


def test_what_was_trained_is_measured_again_without_training(tmp_path: Path) -> None:
    task = replace(find("digits"), layers=2)

    def told(done: int, total: int) -> None:
        told.steps += 1  # type: ignore[attr-defined]

    def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in model.state_dict().items()}

    for make in (partial(weights.static, task, 2), partial(weights.routed, task)):
        told.steps = 0  # type: ignore[attr-defined]
        first = weights_of(make(3, tmp_path, told, trained=False))
        assert told.steps == 3  # type: ignore[attr-defined]
        again = weights_of(make(3, tmp_path, told, trained=True))
        assert told.steps == 3  # type: ignore[attr-defined]
        assert first.keys() == again.keys() and all(torch.equal(first[name], again[name]) for name in first)
        with pytest.raises(weights.MissingWeightsError, match=r"of 4 steps of digits, got .*'steps': '3'"):
            make(4, tmp_path, told, trained=True)
        with pytest.raises(weights.MissingWeightsError, match=r"got no file; run: python -m examples\.tasks digits"):
            make(3, tmp_path / "elsewhere", told, trained=True)


def test_the_command_says_what_it_cannot_measure_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for names, told in ((["thor"], "expected tasks beside --trained, got thor"), (["speech"], "got no file")):
        with pytest.raises(SystemExit):
            command.main([*names, "--trained", "--output", str(tmp_path)])
        assert told in capsys.readouterr().err


def test_paths_of_training_have_so_many_layers() -> None:
    assert nested_path(8, 2) == [1, 0, 0, 0, 0, 0, 0, 1]
    assert nested_path(8, 1) == [1, 0, 0, 0, 0, 0, 0, 0]
    assert all(sum(nested_path(layers, count)) == count for layers in range(1, 9) for count in range(1, layers + 1))
    rng = np.random.default_rng(0)
    counts = np.bincount([sum(random_path(4, rng)) for _ in range(4000)], minlength=5)
    assert counts[0] == 0
    # Hoeffding 1963: a sound drawing fails once in a million
    assert (abs(counts[1:] / 4000 - 0.25) < np.sqrt(np.log(2 * 4 / 1e-6) / 8000)).all()


def test_an_overview_has_every_task_and_marks_what_is_not_below() -> None:
    lines = overview([comparison_of(0.01, 0.02), comparison_of(-0.03, 0.02), comparison_of(0.0, 0.02)]).splitlines()
    assert lines[0].startswith("| routed less static | score | 25% of the layers |")
    cells = ("**+0.010**", "-0.030 ± 0.020", "**+0.000**")
    assert lines[2:] == [f"| a toy | accuracy | {cell} |" for cell in cells]


def comparison_of(routed: float, error: float) -> Comparison:
    rows = (
        Row("static", "static 1", 1, 1.0, 0.8, 0.01, 1.0),
        Row("static", "static 2", 2, 2.0, 0.9, 0.01, 2.0),
        Row("routed", "routed 1", 1, 1.1, 0.8 + routed, 0.01, 2.0, 0.1, 0.5, routed, error),
    )
    return Comparison("toy", "a toy", "no data", "accuracy", 1, "all", rows, {}, "none")


def test_the_verdict_tells_where_routing_loses(tmp_path: Path) -> None:
    assert "at 1 layers. A path takes 1.10 times" in verdict(comparison_of(0.01, 0.01))
    level = verdict(comparison_of(-0.015, 0.01))
    assert "at no layers; below it, but within twice the standard error, at 1 (-0.015). A path" in level
    assert "at no layers; below it at 1 (-0.050)" in verdict(comparison_of(-0.05, 0.01))
    assert all("Better" not in verdict(comparison_of(routed, 0.01)) for routed in (0.05, -0.05))
    late, early = (Row("skipped", "skipped 1", 1, took, 0.83, 0.01, 2.0) for took in (1.1, 0.9))
    for routed, rival, tail in ((0.02, late, "longer: skipped 1 (+0.010)."), (0.04, late, ""), (0.02, early, "")):
        plain = comparison_of(routed, 0.01)
        told = verdict(replace(plain, rows=(*plain.rows, replace(rival, better=0.0))))
        assert told.endswith(tail) and ("Better" in told) == bool(tail)
    found = comparison_of(-0.05, 0.01)
    found.save(tmp_path / "toy.json")
    assert Comparison.load(tmp_path / "toy.json") == found
    assert table(found).row_count == 3
    told = replace(found, said={"routed 1": "A\nb.", "2": "the ``x``"})
    assert said(told) == "- routed 1: `A b.`\n- 2: ``` the ``x`` ```"
    assert "| routed 1 | 1 | 1.10 | 55% | 0.750 ± 0.010 | -0.050 ± 0.010 | 0.100 | 0.500 | 2.00 |" in markdown(found)
    for name in ("toy.svg", "toy.png"):
        draw(found, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    draw(found, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "toy.svg").read_bytes()


def test_whole_answers_are_told_with_where_they_lose() -> None:
    figures = {"static 1": {"ROUGE": 0.5, "exact": 0.25}, "routed 1": {"ROUGE": 0.45, "exact": 0.25}}
    found = replace(comparison_of(0, 0.01), decoded={"lead": {"ROUGE": 0.125}, **figures})
    assert answers_verdict(found).endswith("in: ROUGE at 1 (-0.050) layers.")
    assert "| lead | 0.125 | - |\n| static 1 | 0.500 | 0.250 |" in answers_markdown(found)
    assert answers_table(found).row_count == 3
    better = {**figures, "routed 1": {"ROUGE": 0.6, "exact": 0.3}}
    assert answers_verdict(replace(found, decoded=better)).endswith("in: nowhere.")
    spent = {"static 1": {"bits (less is better)": 2.0}, "routed 1": {"bits (less is better)": 2.5}}
    assert answers_verdict(replace(found, decoded=spent)).endswith("in: bits (less is better) at 1 (+0.500) layers.")
    spent = {"static 1": {"bits (less is better)": 2.0}, "routed 1": {"bits (less is better)": 1.5}}
    assert answers_verdict(replace(found, decoded=spent)).endswith("in: nowhere.")


def test_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([])
    assert ended.value.code == 2 and "expected the name of a task" in capsys.readouterr().err
