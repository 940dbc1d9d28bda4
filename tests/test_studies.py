"""The studies, shortened: each trains, is exported, proven and evaluated from its files; and what is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn", reason="the studies need the extra demo")

from examples.tasks import __main__ as command
from examples.tasks import docstrings, extractors, learned_chain, smallest, study, thor, timing
from examples.tasks.study import Grid, Study, beside, gain, over_trainings, section
from rr_runtime import Session

RESULTS = command.RESULTS


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(timing, "ROUNDS", 2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


def holds(found: Study) -> bool:
    return "paths: holds" in found.verified and "law: holds" in found.verified and "not tried" not in found.verified


def check_told(found: Study, tmp_path: Path) -> None:
    """It is kept, drawn and shown; the page has a table of as many columns in every row."""
    module = command.find_study(found.task)
    found.save(tmp_path / "found.json")
    again = Study.load(tmp_path / "found.json")
    assert again == Study(**json.loads(json.dumps(vars(found))))
    for name in ("found.svg", "found.png"):
        module.draw(again, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 5000
    for grid in module.grids(again):
        assert grid.shown().row_count == len(grid.rows) > 0
        assert {len(row) for row in grid.rows} == {len(grid.head)}
        assert not any("nan" in cell for row in grid.rows for cell in row)
    page = "\n\n".join(section(module, again))
    assert f"python -m examples.tasks {found.task}`" in page and module.verdict(again) in page


def test_random_experts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thor, "LAYERS", 2)
    found = thor.study(tmp_path, quick=True)
    assert holds(found)
    figures = found.figures
    # An ensemble is put together from paths: as the session makes it, in float32.
    assert figures["put together"] < 1e-6
    paths = figures["paths"][thor.KINDS[0]]
    assert paths["worst"][0] <= paths["mean"][0] <= paths["best"][0]
    assert figures["models"]["random experts: one run"]["accuracy"] == figures["paths"]["random experts"]["mean"]
    for kind in thor.KINDS:
        # -log is convex: the log loss of a mean is at most the mean of the log losses.
        rows = figures["models"]
        assert rows[f"{kind}: all 16 paths"]["log loss"][0] <= rows[f"{kind}: one run"]["log loss"][0]
        for design in thor.DESIGNS:
            cells = figures["designs"][kind][design]
            assert cells["16"][0] < cells["2"][0]
    check_told(found, tmp_path)


def test_a_network_of_random_experts_has_what_it_is_compared_with() -> None:
    def count(kind: str, part: str) -> int:
        return sum(p.numel() for name, p in thor.build(kind, 0).named_parameters() if part in name)

    single, dense, experts = (count(kind, "f.") for kind in ("single", "dense", "experts"))
    assert experts == thor.EXPERTS * single
    assert dense == pytest.approx(experts, rel=0.02)  # all but norms and the last biases
    x, y = torch.randn(8, 64), torch.arange(8)
    model = thor.build("experts", 0)
    with torch.no_grad():
        torch.manual_seed(1)
        plain = thor.loss_of(model, consistency=0.0)(x, y)
        torch.manual_seed(1)
        consistent = thor.loss_of(model, consistency=1.0)(x, y)
    assert consistent > plain  # the same two paths, which differ


def test_a_learned_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_chain, "COUNT", 3)
    found = learned_chain.study(tmp_path, quick=True)
    assert holds(found)
    laws = found.figures["laws"]
    assert laws["uniform"]["expected cost"] == pytest.approx([1.0])
    assert laws["uniform"]["entropy"] == pytest.approx([learned_chain.COUNT * np.log(3)])
    for law in ("independent", "chain"):
        assert laws[law]["entropy"][0] < laws["uniform"]["entropy"][0]
        assert laws[law]["expected cost"][0] == pytest.approx(1.0, abs=0.15)
    tables = found.figures["tables"]
    assert [np.shape(table) for table in tables["independent"]] == [(1, 3)] * learned_chain.COUNT
    assert [np.shape(table) for table in tables["chain"]] == [(1, 3), *[(3, 3)] * (learned_chain.COUNT - 1)]
    plan = Session(tmp_path / "chain-0").sites
    assert [site.branches for site in plan] == [learned_chain.BRANCHES] * learned_chain.COUNT
    check_told(found, tmp_path)


def test_the_joint_law_of_a_chain_is_that_of_the_formula() -> None:
    first, second = learned_chain.joint([[[0.2, 0.8]], [[0.5, 0.5], [0.1, 0.9]]])
    np.testing.assert_allclose(first, [[0.2, 0.8]])
    np.testing.assert_allclose(second, [[0.1, 0.1], [0.08, 0.72]])


def test_routed_extractors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docstrings, "EACH", 40)
    monkeypatch.setattr(docstrings, "read", docstrings.read.__wrapped__)  # the other tests keep what they have read
    found = extractors.study(tmp_path, quick=True)
    assert holds(found) and "gates: holds" in found.verified
    for taken in found.figures["shares"].values():
        assert sum(taken) == pytest.approx(1.0)
    free, priced = found.figures["shares"].values()
    flops = np.array(found.figures["flops"])
    assert flops.min() > 0 and flops.argmin() == 0  # the bag of words
    assert flops @ np.array(priced) <= flops @ np.array(free) + 1e-9
    session = Session(tmp_path / "routed-0.0")
    assert list(session.profiles) == ["uniform"]
    words = {"words": docstrings.read()[0][:1]}
    gated = session.run(words)
    assert gated.path is not None
    logits = gated.outputs["extractor.probabilities"]
    assert int(logits.argmax()) == gated.path[0]
    check_told(found, tmp_path)


def test_a_gate_learns_what_its_rows_need() -> None:
    """Two kinds of sentences, each right with one extractor alone: a gate tells them, until one is dear."""
    torch.manual_seed(0)
    model = extractors.build()
    with torch.no_grad():
        model.embedding.weight[1:] = 0
        model.embedding.weight[1, 0], model.embedding.weight[2, 0] = 1.0, -1.0
    x = np.array([[1] * 4 + [0] * 20, [2] * 4 + [0] * 20] * 8)
    y = np.array([0, 1] * 8)

    class Says(torch.nn.Module):
        def __init__(self, library: int) -> None:
            super().__init__()
            self.library = library

        def forward(self, words: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.full(words.shape[:1], self.library), extractors.WIDTH).float()

    model.extractor.branches = torch.nn.ModuleList([Says(0), Says(1), Says(2)])
    with torch.no_grad():
        model.head.weight.copy_(4 * torch.eye(8, extractors.WIDTH))
        model.head.bias.zero_()
    for costs, expected in (([0.0, 0.0, 0.0], [0, 1]), ([0.0, 50.0, 50.0], [0, 0])):
        extractors.train_gate(model, x, y, np.array(costs), 60)
        router = model.extractor.get_submodule("routing_gate")
        found = router.rows(*model.read(torch.from_numpy(x[:2]))).argmax(1)
        assert found.tolist() == expected


def losses(**tested: float) -> dict[str, Any]:
    test = {"layer1": 0.5, "layer2": 0.6, "expected": 0.53, "mean output": 0.45} | tested
    alone = {"constant": (1.0, 1.0), "layer1": (0.4, 0.55), "layer2": (0.5, 0.58)}
    return {
        **{"losses": {"training": test, "test": test}, "losses_alone": alone, "verified": True},
        **{"observed": {"layer1": 0.7, "layer2": 0.3}, "r2": {"layer1": 0.5, "layer2": 0.4}},
    }


def test_the_smallest_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/test_examples.py runs the example itself."""
    monkeypatch.setattr(smallest.two_paths, "main", lambda output: losses())
    found = smallest.study(tmp_path)
    told = smallest.verdict(found)
    assert "layer1 loses 0.050 less" in told and "layer2 loses 0.020 more" in told
    assert "that beats layer1 alone (0.550)" in told
    monkeypatch.setattr(smallest.two_paths, "main", lambda output: losses(**{"mean output": 0.56}))
    assert "does not beat layer1" in smallest.verdict(smallest.study(tmp_path))
    check_told(found, tmp_path)


def test_differences_count_above_twice_their_error() -> None:
    assert gain([0.9, 0.8], [0.7, 0.8]) == (pytest.approx(0.1), pytest.approx(0.1))
    assert beside([0.9, 0.8], [0.7, 0.8]) == "not told apart from"
    assert beside([0.9, 0.8], [0.7, 0.61]) == "above" and beside([0.7, 0.61], [0.9, 0.8]) == "below"
    assert beside([0.9], [0.1]) == "not told apart from"  # of one training there is no error
    assert over_trainings([0.5]) == "0.500" and over_trainings([0.4, 0.6]) == "0.500 ± 0.141"
    assert Grid("Of rows", ("", "a"), (("b", "1"),)).markdown() == "Of rows:\n\n|  | a |\n|---|---:|\n| b | 1 |"


@pytest.mark.parametrize("name", command.STUDIES)
def test_the_page_has_what_is_kept(name: str) -> None:
    found = Study.load(RESULTS / f"{name}.json")
    page = (command.ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for part in section(command.find_study(name), found):
        assert part in page
    assert (RESULTS / f"{name}.svg").is_file()


def test_a_study_has_every_part() -> None:
    parts = [name for name in vars(study.Studied) if not name.startswith("_")]
    assert sorted(parts) == ["draw", "grids", "study", "verdict"]
    for name in command.STUDIES:
        module = command.find_study(name)
        assert all(callable(getattr(module, part)) for part in parts)
