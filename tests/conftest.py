"""Exports shared by all stages: each is made once per session."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.parity import law, random_node
from tests import nets

DYNAMIC = {"x": {0: "batch"}}
# Tests that prove something else than the law of a model, in which a proof samples it a tenth as often: they would take
# longer over the sampling than over all else. Tests of the law, and those that are marked, have the whole number.
NOT_OF_THE_LAW = tuple(
    f"tests/{place}"
    for place in (
        "bundle/", "capture/test_", "cli/", "demo/", "diff/", "eager/", "overview/", "pytest_plugin/", "quality/",
        "report/", "targets/", "tools/", "training/", "capture/python/test_aliases", "capture/python/test_ancestry",
        "capture/python/test_composition", "capture/python/test_cursors", "capture/python/test_effects",
        "capture/python/test_fields", "capture/python/test_growing", "capture/python/test_hooks",
        "capture/python/test_lifting", "capture/python/test_memory", "capture/python/test_own_containers",
        "capture/python/test_places", "capture/python/test_shapes", "capture/python/test_splitting",
        "capture/python/test_targets", "capture/python/test_training", "parity/test_axis", "parity/test_data",
        "parity/test_divergence", "parity/test_far", "parity/test_golden", "parity/test_loading", "parity/test_open",
        "parity/test_recheck", "parity/test_rounding", "parity/test_target", "parity/test_tolerances",
        "parity/test_training", "parity/test_weights", "test_benchmarks", "test_combined", "test_content",
        "test_models", "test_studies", "test_tasks", "test_trainers",
    )
)  # fmt: skip
SAMPLES = ((law, "OS_RUNS"), (law, "LONG_RUNS"), (law, "EAGER_RUNS"), (random_node, "SESSIONS"))
WHOLE = ("slow", "zoo", "packages", "generated", "survival", "providers")  # marks


def rest_slow(rows: Iterable[Any], quick: int = 1) -> list[Any]:
    """Returns the parameters of a test, of which all but the first few are marked slow."""
    found = [row if isinstance(row, tuple) else (row,) for row in rows]
    return [pytest.param(*row, marks=[pytest.mark.slow] if i >= quick else []) for i, row in enumerate(found)]


@pytest.fixture(scope="session")
def everything_model() -> nn.Module:
    return nets.everything()


@pytest.fixture(scope="session", params=["explicit", "host", "standalone"])
def any_bundle(request: pytest.FixtureRequest, everything_model: nn.Module) -> rr.Bundle:
    return rr.export(everything_model, (nets.example(),), dynamic_shapes=DYNAMIC, interface=request.param)


@pytest.fixture(scope="session")
def everything_bundle(everything_model: nn.Module) -> rr.Bundle:
    return rr.export(everything_model, (nets.example(),), dynamic_shapes=DYNAMIC)


@pytest.fixture(scope="session")
def everything_proto(everything_bundle: rr.Bundle, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    file = tmp_path_factory.mktemp("everything") / "model.onnx"
    everything_bundle.save(file)
    everything_bundle.path = None
    return onnx.load(file)


@pytest.fixture(scope="session")
def saved(everything_model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle folder on disk; tests must not change it."""
    bundle = rr.export(everything_model, (nets.example(),), dynamic_shapes=DYNAMIC)
    return bundle.save(tmp_path_factory.mktemp("saved") / "bundle")


@pytest.fixture(autouse=True)
def few_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
    yield
    torch.set_num_threads(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Has the law sampled less often where it is not what a test is about; its fixtures included."""
    with pytest.MonkeyPatch.context() as patch:
        if item.nodeid.startswith(NOT_OF_THE_LAW) and not any(map(item.get_closest_marker, WHOLE)):
            for module, name in SAMPLES:
                patch.setattr(module, name, getattr(module, name) // 10)
        return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which part of the tests took how long: seconds of all workers together."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                file = Path(report.nodeid.partition("::")[0])
                seconds[str(file.parent if len(file.parts) > 2 else file)] += report.duration
    terminalreporter.section("seconds by part")
    for part, took in seconds.most_common():
        terminalreporter.write_line(f"{took:7.1f}  {part}")


def nodes_named(model: ir.Model | ir.Graph, op_type: str) -> list[ir.Node]:
    graph = model.graph if isinstance(model, ir.Model) else model
    return [n for n in ir.traversal.RecursiveGraphIterator(graph) if n.op_type == op_type]
