"""Routing with pruning and fewer bits, shortened: every combination is made, proven, measured and shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the tasks need the extra demo")

import rr_export as rr
from examples.tasks import combine as command
from examples.tasks import combined
from examples.tasks.combined import Cell, Combined, combine
from examples.tasks.combined_show import draw, markdown, proofs, table, verdict
from examples.tasks.comparison import _export
from examples.tasks.rivals import route_quietly
from examples.tasks.task import Task
from rr_runtime import Session
from tests.test_tasks import shortened

FORMS = ["routed", "pruned", *(f"{b}{f}" for b in ("", "pruned, ") for f in ("int8 dynamic", "int8 QDQ", "fp16"))]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_task() -> Task:
    """The task of docstrings with random words, few rows and three layers."""
    from examples.tasks import docstrings

    rng = np.random.default_rng(0)
    rows = [
        ({"words": rng.integers(1, docstrings.WORDS, (n, docstrings.LENGTH))}, rng.integers(0, 8, n)) for n in (12, 40)
    ]
    return Task(
        name="toy", title="a toy", data="random words", metric="accuracy", layers=3, build=docstrings.build,
        pattern="layers.*", draw=lambda rng: ({}, None), loss=lambda outputs, target: torch.zeros(()),
        compared=lambda outputs: outputs["logits"], validation=rows[:1], test=rows[1:], score=docstrings.score,
        axes={"words": {0: "batch"}}, steps=1, quick=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Combined, Path]:
    task, folder = small_task(), tmp_path_factory.mktemp("combined")
    model = task.build(task.layers)
    route_quietly(task, model, 0.75)
    bundle = _export(task, model, folder / "routed")
    for name, path, cost in (("small", [1, 0, 0], 0.4), ("whole", [1, 1, 1], 1.0)):
        bundle = bundle.with_profile(name, path, measured=rr.Measured(cost, cost, 0.0, "accuracy"))
    bundle.save(folder / "routed", overwrite=True)
    return combine(task, rr.load(folder / "routed"), folder, rounds=1, points=("paths",)), folder


def test_every_combination_is_measured_and_proven(found: tuple[Combined, Path]) -> None:
    made, folder = found
    assert list(dict.fromkeys(cell.form for cell in made.cells)) == FORMS
    for cell in made.cells:
        assert cell.ratio > 0 and cell.megabytes > 0 and 0 <= cell.quality <= 1 and 0 <= cell.agreement <= 1
        assert cell.profile == "small" or not cell.form.startswith("pruned")
        if cell.form == "routed":
            assert (cell.ratio, cell.better, cell.apart, cell.agreement) == (1, 0, 0, 1)
        elif cell.form == "pruned":
            assert cell.apart < 1e-5 and cell.agreement == 1 and cell.better == 0 and "holds on 1 paths" in cell.proof
        else:
            assert 0 < cell.apart < 0.5
    sizes = {cell.form: cell.megabytes for cell in made.cells}
    assert sizes["pruned"] < sizes["routed"]
    for form in ("int8 dynamic", "int8 QDQ", "fp16"):
        assert sizes[f"pruned, {form}"] < sizes[form] < sizes["routed"]
    task = small_task()
    whole, pruned = Session(folder / "routed"), Session(folder / "pruned")
    assert pruned.manifest.pruned is not None and list(pruned.profiles) == ["small"]
    inputs = task.test[0][0]
    expected = whole.run(inputs, profile="small").outputs["logits"]
    np.testing.assert_allclose(pruned.run(inputs, budget=0.5).outputs["logits"], expected, atol=1e-5)


def test_what_a_form_loses_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task()
    right = [{"logits": np.eye(8)[target]} for _, target in task.test]
    wrong = [{"logits": np.roll(answers["logits"], 1, axis=1)} for answers in right]
    assert combined._differences(task, right, right) == (0.0, 1.0)
    assert combined._differences(task, right, wrong) == (1.0, 0.0)


def cell(form: str, profile: str, **changes: object) -> Cell:
    plain = Cell(form, profile, 1.0, 1.0, 0.5, 0.8, 0.0, 0.01, 0.0, 1.0, "holds on 2 paths, exactly")
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_the_words_say_what_is_smaller_slower_and_worse(tmp_path: Path) -> None:
    cells = (
        cell("routed", "small"), cell("routed", "whole"),
        cell("int8", "small", megabytes=0.25, ratio=1.5, better=-0.05),
        cell("int8", "whole", megabytes=0.25, ratio=1.25),
        cell("fp16", "small", ratio=0.5, proof="does not hold as asked: nearest"), cell("fp16", "whole", ratio=0.5),
    )  # fmt: skip
    made = Combined("toy", "a toy", "accuracy", True, 32, 1, cells, "none")
    said = verdict(made)
    assert "The smallest is *int8*, 25% of the routed file." in said
    assert "faster than the routed file here: *fp16* (0.50 times)." in said
    assert "slower than the routed file here: *int8* (1.25 to 1.50 times)." in said
    assert "worse on a path: *int8* (-0.050)." in said and "allows: *fp16*." in said
    even = replace(made, cells=cells[:2])
    assert verdict(even).endswith("None is worse on a path beyond twice the standard error of the difference.")
    assert proofs(even) == ["routed: holds on 2 paths, exactly"]
    assert table(made).row_count == 6
    lines = markdown(made).splitlines()
    assert (
        lines[0].count(" | ") == 7
        and "| int8 | 0.25 | small | 1.50 (50%) | 0.800 | -0.050 ± 0.010 | 0 | 100.0% |" in lines
    )
    made.save(tmp_path / "toy.json")
    assert Combined.load(tmp_path / "toy.json") == made
    for name in ("toy.svg", "toy.png"):
        draw(made, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000


def test_the_page_is_what_its_figures_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = command.ROOT / "docs" / "combined.md"
    text = page.read_text(encoding="utf-8")
    if command.FIGURES.is_file():
        made = Combined.load(command.FIGURES)
        assert not made.quick
        assert markdown(made) in text and verdict(made) in text and all(proof in text for proof in proofs(made))
    assert text.startswith((command.ROOT / "examples" / "tasks" / "combined.md").read_text(encoding="utf-8").rstrip())


@pytest.mark.slow
def test_the_command_trains_and_combines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find", lambda name: replace(shortened(FIND(name)), quick=4))
    made = command.run("docstrings", tmp_path, quick=True)
    assert [f for f in FORMS if f in {c.form for c in made.cells}]
    again = command.run("docstrings", tmp_path / "again", quick=True, bundle=tmp_path / "routed")
    assert {c.form for c in again.cells} == {c.form for c in made.cells}


FIND = command.find
