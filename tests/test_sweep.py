"""Sweeps: every task once, whoever works, and whatever interrupts it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.bundle.atomic_write import scratch_folder
from rr_export.capture.request import bind
from rr_export.errors import SweepError
from rr_export.parity.terms import Terms
from rr_export.parity.verify import verify_points
from rr_export.sweep import Task, sweep, workers


def square(number: int) -> dict[str, int]:
    return {"square": number**2}


def tasks(count: int) -> list[Task]:
    return [Task(f"task {number}", number) for number in range(count)]


EXPECTED = {f"task {number}": {"square": number**2} for number in range(20)}


class Counted:
    """Work that is counted, and fails at one task."""

    def __init__(self, fails: int | None = None) -> None:
        self.done: list[int] = []
        self.fails = fails

    def __call__(self, number: int) -> dict[str, int]:
        if number == self.fails:
            raise KeyboardInterrupt
        self.done.append(number)
        return square(number)


@pytest.mark.parametrize("jobs", [None, 1, 2])
def test_every_task_is_done_once(jobs: int | None) -> None:
    found = list(sweep(square, tasks(20), jobs=jobs))
    assert len(found) == 20 and dict(found) == EXPECTED


def test_no_workers_and_no_two_alike() -> None:
    with pytest.raises(ValueError, match="jobs: expected a number of workers"):
        list(sweep(square, tasks(1), jobs=0))
    with pytest.raises(ValueError, match="jobs: expected a number of workers"):
        workers(0)
    with pytest.raises(SweepError, match="got 'task 0' twice"):
        list(sweep(square, tasks(1) + tasks(1)))


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_an_interrupted_sweep_goes_on(tmp_path: Path, cut: int) -> None:
    """Also where the interruption cut the last line off."""
    file = tmp_path / "results.jsonl"
    first = Counted(fails=7)
    with pytest.raises(KeyboardInterrupt):
        list(sweep(first, tasks(20), results=file, of="squares"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) - cut])
    second = Counted()
    told: list[int] = []
    found = list(sweep(second, tasks(20), results=file, of="squares", progress=told.append))
    assert len(found) == 20 and dict(found) == EXPECTED
    lost = {0: 0, 1: 1, 30: 1}[cut]
    assert second.done == list(range(7 - lost, 20)) and told == list(range(1, 21))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == 21 and len({row.get("key") for row in rows}) == 21
    third = Counted()
    assert dict(sweep(third, tasks(20), results=file, of="squares")) == EXPECTED and third.done == []


def test_results_are_there_as_they_come(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    running = sweep(square, tasks(3), results=file)
    next(running)
    assert len(file.read_text().splitlines()) == 2  # the head, and the first


@pytest.mark.parametrize("length", [0, 1, 20, -1])
def test_bug_a_file_cut_in_its_first_line_begins_anew(tmp_path: Path, length: int) -> None:
    file = tmp_path / "results.jsonl"
    list(sweep(square, [], results=file, of="squares"))
    file.write_bytes(file.read_bytes()[:length])
    assert dict(sweep(square, tasks(20), results=file, of="squares")) == EXPECTED
    assert len(file.read_text().splitlines()) == 21


@pytest.mark.parametrize("content", [b"\x08\x0a\xff\xfe model", b"\xff\n", b"[]\n", b"notes", b"{"])
def test_bug_a_file_of_another_kind_is_told_as_such_and_stays(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content + b"\n" * (content == b"{"))
    before = file.read_bytes()
    with pytest.raises(SweepError, match=r"model.onnx: expected results of a sweep, got another file; name a new one"):
        list(sweep(square, tasks(3), results=file))
    assert file.read_bytes() == before


def test_bug_what_a_killed_sweep_left_stayed_for_ever(saved: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    with scratch_folder(results) as other:
        left = other.with_name(".results.jsonl.abcdefgh.rr-new")
        left.mkdir()
        (left / "model.pickle").write_bytes(b"weights")
        data_check(saved, routed(), DATA[:2], jobs=2, results=results)
        assert not left.exists() and other.exists()  # whose owner is at work
    assert list(tmp_path.iterdir()) == [results]


def test_results_of_another_sweep_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    list(sweep(square, tasks(3), results=file, of="squares"))
    with pytest.raises(
        SweepError, match=r"expected results of this sweep \(cubes\), got those of another one \(squares"
    ):
        list(sweep(square, tasks(3), results=file, of="cubes"))
    other = tmp_path / "notes.txt"
    for content in (b"my notes\n", b"\x08\xff\n"):
        other.write_bytes(content)
        with pytest.raises(SweepError, match="expected results of a sweep, got another file"):
            list(sweep(square, tasks(3), results=other, of="cubes"))
        assert other.read_bytes() == content


def test_what_is_not_asked_for_any_more_is_not_yielded(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    list(sweep(square, tasks(5), results=file))
    assert dict(sweep(square, tasks(2), results=file)) == {key: EXPECTED[key] for key in ("task 0", "task 1")}


class Slope(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("least", torch.tensor(1e4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            if torch.rand(()) < 0.5:
                x = layer(x)
        return x + torch.relu(x - self.least)


def routed() -> nn.Module:
    torch.manual_seed(0)
    return Slope().eval()


ARGS = (torch.ones(2, 4),)
DATA = [torch.full((2, 4), float(n)) for n in range(6)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rr.export(routed(), ARGS).save(tmp_path_factory.mktemp("sweep") / "out")


def data_check(saved: Path, model: nn.Module, data: list[torch.Tensor], **options: Any) -> Any:
    terms = Terms.asked(rtol=None, atol=None, max_paths=4)
    points = ("sites", "data")
    _, found = verify_points(rr.load(saved), saved, bind(model, ARGS), terms, points=points, data=data, **options)
    return found


def test_two_processes_find_what_one_does(saved: Path, tmp_path: Path) -> None:
    model = routed()
    one, two = (data_check(saved, model, DATA, jobs=jobs) for jobs in (1, 2))
    assert one.passed and two.passed and one.figures["pairs"] == two.figures["pairs"]
    assert one.figures["agreement"] == two.figures["agreement"]
    results = tmp_path / "results.jsonl"
    kept = data_check(saved, model, DATA[:4], jobs=2, results=results)
    assert kept.figures["inputs"] == 4 and list(tmp_path.iterdir()) == [results]
    before = results.read_text()
    more = data_check(saved, model, DATA, jobs=2, results=results)
    assert more.figures == one.figures and results.read_text().startswith(before)


def test_a_difference_is_found_in_another_process(saved: Path, tmp_path: Path) -> None:
    data = [*DATA, torch.full((2, 4), 1e5)]
    model = routed()
    model.get_buffer("least").fill_(2e4)  # no other input reaches that far
    found = data_check(saved, model, data, jobs=2)
    assert found.passed is False and all(text.startswith("input 6,") for text in found.failures)


def test_results_of_another_model_are_refused(saved: Path, tmp_path: Path) -> None:
    results, model = tmp_path / "results.jsonl", routed()
    data_check(saved, model, DATA[:2], results=results)
    with torch.no_grad():
        model.get_submodule("layers.0").bias.add_(1)
    with pytest.raises(SweepError, match="those of another one"):
        data_check(saved, model, DATA[:2], results=results)


def test_a_rewritten_file_is_compared_by_two_processes(saved: Path) -> None:
    data = [{"x": np.full((2, 4), n, np.float32)} for n in range(5)]
    report = rr.verify_against(saved / "model.onnx", saved, data=data, max_paths=2, jobs=2)
    assert next(c for c in report.checks if c.name == "data").figures["inputs"] == 5


def test_a_file_of_results_has_one_writer(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    first = sweep(square, tasks(3), jobs=1, results=kept)
    next(first)
    with pytest.raises(SweepError, match=r"kept.jsonl: expected a file that no other sweep writes to, got one that is"):
        next(sweep(square, tasks(3), jobs=1, results=kept))
    assert len(list(first)) == 2
    assert len(list(sweep(square, tasks(3), jobs=1, results=kept))) == 3


@contextmanager
def dask() -> Iterator[str]:
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        yield "dask"


@contextmanager
def ray() -> Iterator[str]:
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False)
    try:
        register_ray()
        yield "ray"
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("cluster", [dask, ray])
def test_other_machines_find_what_this_one_does(
    saved: Path, tmp_path: Path, cluster: Callable[[], AbstractContextManager[str]]
) -> None:
    one = data_check(saved, routed(), DATA)
    with cluster() as name, joblib.parallel_config(backend=name, n_jobs=2):
        assert dict(sweep(square, tasks(20), results=tmp_path / "squares.jsonl")) == EXPECTED
        found = data_check(saved, routed(), DATA, results=tmp_path / "results.jsonl")
    assert found.passed and found.figures["agreement"] == one.figures["agreement"]


def cube(number: int) -> dict[str, int]:
    return {"square": number**3}


@pytest.mark.parametrize("other", [cube, functools.partial(square), lambda number: {"square": number}])
def test_bug_work_that_is_not_named_got_the_results_of_another(tmp_path: Path, other: Callable[..., Any]) -> None:
    file = tmp_path / "results.jsonl"
    list(sweep(square, tasks(3), results=file))
    with pytest.raises(SweepError, match=r"expected results of this sweep .* another one \(tests.test_sweep.square "):
        list(sweep(other, tasks(3), results=file))


def capped(cap: float) -> nn.Module:
    model = routed()
    model.cap = cap  # type: ignore[assignment]
    return model


def test_bug_results_of_a_model_with_other_attributes_were_taken(saved: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    data_check(saved, capped(50), DATA[:2], results=results)
    data_check(saved, capped(50), DATA[:2], results=results)
    with pytest.raises(SweepError, match="those of another one"):
        data_check(saved, capped(3), DATA[:2], results=results)


def test_bug_results_on_other_terms_or_versions_were_taken(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, given = tmp_path / "results.jsonl", {"data": DATA[:2], "results": tmp_path / "results.jsonl"}
    rr.verify(saved, routed(), ARGS, **given)
    with pytest.raises(SweepError, match="rounds True"):  # the tolerances are those that nobody asked for
        rr.verify(saved, routed(), ARGS, **given, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr("rr_export.parity.data_check.version", lambda part: "0.0")
    with pytest.raises(SweepError, match=r"onnxruntime 0\.0"):
        rr.verify(saved, routed(), ARGS, data=DATA[:2], results=results)


def test_bug_results_of_a_file_with_other_weights_beside_it_were_taken(saved: Path, tmp_path: Path) -> None:
    rewritten, results = tmp_path / "other.onnx", tmp_path / "results.jsonl"
    model = onnx.load(saved / "model.onnx")
    onnx.save(model, rewritten, save_as_external_data=True, location="other.bin", size_threshold=0)
    given = {"data": [{"x": DATA[1].numpy()}], "max_paths": 2, "results": results}
    rr.verify_against(rewritten, saved, **given)
    weights = (tmp_path / "other.bin").read_bytes()
    (tmp_path / "other.bin").write_bytes(weights[:-4] + np.float32(1).tobytes())
    with pytest.raises(SweepError, match="those of another one"):
        rr.verify_against(rewritten, saved, **given)
