"""Runs by the random node: a process that fails is an error, and none is started that nobody asks for."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rr_export.bundle.bundle_reader import load
from rr_export.lowering.deciding_slice import RoutingSlice, routing_slice
from rr_export.parity import random_node
from rr_export.parity.random_node import SESSIONS, first_random_runs
from tests import nets


@pytest.fixture(scope="module")
def routing(saved: Path) -> RoutingSlice:
    return routing_slice(saved / "model.onnx", load(saved), {"x": nets.example().numpy()})


def test_first_runs_take_paths_of_their_routes(routing: RoutingSlice, saved: Path) -> None:
    plan = load(saved).plan
    with first_random_runs(routing) as drawn:
        first = drawn()
    assert first.shape == (SESSIONS, 2, len(plan.sites))
    assert len(np.unique(first[:, 0], axis=0)) > 1
    for routes, path in first[:50]:
        np.testing.assert_array_equal(plan.taken(routes), path)


def test_a_process_that_fails_is_an_error(routing: RoutingSlice) -> None:
    with (
        first_random_runs(replace(routing, outputs=("no such value", "rr_path_taken"))) as drawn,
        pytest.raises(subprocess.CalledProcessError),
    ):
        drawn()


def test_nothing_is_started_where_nothing_is_wanted(routing: RoutingSlice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_node.subprocess, "Popen", pytest.fail)
    for wanted, has in ((False, True), (True, False)):
        with (
            first_random_runs(replace(routing, has_random_node=has), wanted=wanted) as drawn,
            pytest.raises(LookupError, match="random node: expected a file that has one"),
        ):
            drawn()
