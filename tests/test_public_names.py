"""Pins every public name: adding or removing one is a decision, and changes this file."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import rr_export
import rr_export.errors
import rr_export.training
import rr_runtime

EXPORTER = [
    "TARGETS",
    "Attribution",
    "Bundle",
    "Categorical",
    "Costs",
    "Evaluation",
    "Finding",
    "Front",
    "Gate",
    "LayerChoice",
    "Learned",
    "LearnedMarkov",
    "Markov",
    "Measured",
    "OperationChoice",
    "ParameterChoice",
    "ParityError",
    "Plan",
    "Profile",
    "RRExportError",
    "Report",
    "Site",
    "Task",
    "Uniform",
    "attribute",
    "diff",
    "evaluate",
    "export",
    "fit_budget",
    "forced",
    "freeze",
    "lint",
    "load",
    "package",
    "plan_of",
    "prune",
    "recorded",
    "route_layers",
    "search",
    "seeded",
    "sweep",
    "verify",
    "verify_against",
]
TRAINING = [
    "LiveLaw",
    "Sampling",
    "ScoreFunction",
    "StraightThrough",
    "annealed",
    "consistency",
    "distillation",
    "importance_balance",
    "layer_policies",
    "linear_depth",
    "live_law",
    "load_balance",
    "relaxed_choice",
    "sampled",
    "sandwich_loss",
    "sandwich_paths",
    "set_policies",
    "shrinking_depth",
]
RUNTIME = [
    "BundleError",
    "EnsembleResult",
    "Explanation",
    "PreparedRun",
    "ProviderError",
    "Result",
    "RuntimeFailure",
    "Session",
    "Tuning",
    "__version__",
    "draws",
    "providers",
]


@pytest.mark.parametrize(
    ("package", "expected"),
    [
        pytest.param(rr_export, EXPORTER, id="rr_export"),
        pytest.param(rr_export.training, TRAINING, id="rr_export.training"),
        pytest.param(rr_runtime, RUNTIME, id="rr_runtime"),
    ],
)
def test_public_names(package: ModuleType, expected: list[str]) -> None:
    assert sorted(package.__all__) == sorted(expected)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []


@pytest.mark.parametrize("package", [rr_export, rr_export.training, rr_runtime], ids=lambda package: package.__name__)
def test_every_public_name_has_one_home(package: ModuleType) -> None:
    """The table that imports a name, and the imports that type checkers read, say the same."""
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    told = {a.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for a in node.names}
    assert told == package._HOMES
    assert sorted({*told, "__version__"} & {*package.__all__}) == sorted(package.__all__)


@pytest.mark.parametrize("package", [rr_export, rr_export.training, rr_runtime], ids=lambda package: package.__name__)
def test_public_names_are_documented(package: ModuleType) -> None:
    public = {name: getattr(package, name) for name in package.__all__ if name != "__version__"}
    assert [name for name, value in public.items() if not inspect.getdoc(value)] == []


def test_errors_have_one_root_and_the_package_shows_what_users_catch() -> None:
    root = rr_export.errors.RRExportError
    own = [error for _, error in inspect.getmembers(rr_export.errors, inspect.isclass)]
    assert [error for error in own if not issubclass(error, root)] == []
    shown = [error.__name__ for error in own if error.__name__ in rr_export.__all__]
    assert shown == ["ParityError", "RRExportError"]
