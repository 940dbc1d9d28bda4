"""The paths of a model, found while pytest collects tests: before anything is exported."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import pytest

from rr_export.pytest_plugin.cases import read_case
from rr_export.pytest_plugin.quiet_tracing import quiet_tracing
from rr_export.pytest_plugin.wanted import EACH, Path_, Wanted


def collected_paths(where: str, function: Callable[..., Any], wanted: Wanted) -> list[Path_]:
    """Returns the paths that the point "paths" compares; the test is called for its case, but nothing is exported.

    A test that wants fixtures or parameters, which there are none of yet, is not collected.

    Args:
        where: the mark of the test.
        function: the test.
        wanted: what it asks for.
    """
    fixtures = ", ".join(inspect.signature(function).parameters)
    if fixtures:
        pytest.fail(
            f"{where}: expected a test without fixtures where paths='{EACH}', as they are counted while tests are "
            f"collected, got one with {fixtures}; list the paths, or use assert_parity, where each is a subtest",
            pytrace=False,
        )
    case = read_case(function(), where)
    from rr_export.bundle.bundle_reader import load
    from rr_export.capture.request import bind
    from rr_export.capture.trace import trace_plan
    from rr_export.parity.paths import paths_to_compare

    if case.bundle is None:
        training = None if wanted.export.get("keep_training_routes") else ()
        with quiet_tracing():
            request = bind(case.model, case.args, case.kwargs, case.dynamic_shapes)
            plan = trace_plan(request, training=training)
    else:
        plan = (load(case.bundle) if isinstance(case.bundle, str | os.PathLike) else case.bundle).plan
    return paths_to_compare(plan, wanted.terms.get("max_paths", 256))[0]
