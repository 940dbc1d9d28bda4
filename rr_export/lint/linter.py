"""The linter: a file -> its findings."""

from __future__ import annotations

import os

from rr_export.errors import LintError
from rr_export.lint.dataflow import Dataflow
from rr_export.lint.finding import ENGINES, SEVERITIES, Finding
from rr_export.lint.reading import read
from rr_export.lint.rules.branches import check_decisions
from rr_export.lint.rules.contract import check_contract
from rr_export.lint.rules.engine_limits import ENGINE_CHECKS
from rr_export.lint.rules.random_nodes import check_random_nodes
from rr_export.lint.rules.weight_places import check_weights


def lint(path: str | os.PathLike[str], *, engine: str = "onnxruntime") -> list[Finding]:
    """Returns what is wrong with the randomness of a file, the worst first; an empty list: nothing.

    Any ONNX model can be looked at, also one that rr_export did not write, whose external data is missing, or that
    is in onnxruntime's ``.ort`` format. Random operators are known by their schemas (``onnx.defs``). Where the file
    carries our manifest, the part that decides is also cut out and run.

    Args:
        path: a ``.onnx`` or ``.ort`` file, or a bundle folder.
        engine: what will read the file: "onnxruntime" or "openvino" (OpenVINO's own reader).

    Raises:
        LintError: it is no ONNX model.
        ValueError: the engine is unknown.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {engine!r}; choose one")
    subject = read(path)
    found = list(subject.remarks)
    try:
        flow = Dataflow(subject.model)
        for check in (check_random_nodes, check_decisions, check_contract, check_weights, ENGINE_CHECKS[engine]):
            found += check(subject, flow)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise LintError(
            f"{subject.path}: expected nodes as their operators demand, got a malformed one ({type(error).__name__}: "
            f"{error}); see what onnx.checker says"
        ) from error
    return sorted(found, key=lambda f: SEVERITIES.index(f.severity))
