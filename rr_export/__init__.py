"""rr_export: randomly routed PyTorch models as one ONNX file, proven to be the same model.

A public name is imported when it is first asked for: what needs no torch never imports it, and works without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rr_export.extras import told_extra
from rr_runtime.lazy_names import import_when_asked

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle
    from rr_export.bundle.bundle_reader import load
    from rr_export.diff.bundles import diff
    from rr_export.eager.blocks import forced, recorded, seeded
    from rr_export.eager.gate import Gate
    from rr_export.eager.layer_choice import LayerChoice
    from rr_export.eager.learned import Learned, LearnedMarkov
    from rr_export.eager.operation_choice import OperationChoice
    from rr_export.eager.parameter_choice import ParameterChoice
    from rr_export.errors import ParityError, RRExportError
    from rr_export.export import export
    from rr_export.laws.budget import fit_budget
    from rr_export.laws.costs import Costs
    from rr_export.laws.plan import Plan, Site
    from rr_export.laws.policies import Categorical, Markov, Uniform
    from rr_export.laws.profile import Profile
    from rr_export.lint.finding import Finding
    from rr_export.lint.linter import lint
    from rr_export.packaging import package
    from rr_export.parity.against import verify_against
    from rr_export.parity.verify import verify
    from rr_export.quality.attribution import Attribution, attribute
    from rr_export.quality.evaluation import Evaluation, evaluate
    from rr_export.quality.front import Front
    from rr_export.quality.searching import search
    from rr_export.report.report import Report
    from rr_export.sweep import Task, sweep
    from rr_export.targets.freeze import freeze
    from rr_export.targets.provider_table import TARGETS
    from rr_export.targets.prune import prune
    from rr_export.wrap import plan_of, route_layers
    from rr_runtime.profile import Measured

__all__ = [
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

_HOMES = {
    "TARGETS": "rr_export.targets.provider_table",
    "Attribution": "rr_export.quality.attribution",
    "Bundle": "rr_export.bundle.bundle",
    "Categorical": "rr_export.laws.policies",
    "Costs": "rr_export.laws.costs",
    "Evaluation": "rr_export.quality.evaluation",
    "Finding": "rr_export.lint.finding",
    "Front": "rr_export.quality.front",
    "Gate": "rr_export.eager.gate",
    "LayerChoice": "rr_export.eager.layer_choice",
    "Learned": "rr_export.eager.learned",
    "LearnedMarkov": "rr_export.eager.learned",
    "Markov": "rr_export.laws.policies",
    "Measured": "rr_runtime.profile",
    "OperationChoice": "rr_export.eager.operation_choice",
    "ParameterChoice": "rr_export.eager.parameter_choice",
    "ParityError": "rr_export.errors",
    "Plan": "rr_export.laws.plan",
    "Profile": "rr_export.laws.profile",
    "RRExportError": "rr_export.errors",
    "Report": "rr_export.report.report",
    "Site": "rr_export.laws.plan",
    "Task": "rr_export.sweep",
    "Uniform": "rr_export.laws.policies",
    "attribute": "rr_export.quality.attribution",
    "diff": "rr_export.diff.bundles",
    "evaluate": "rr_export.quality.evaluation",
    "export": "rr_export.export",
    "fit_budget": "rr_export.laws.budget",
    "forced": "rr_export.eager.blocks",
    "freeze": "rr_export.targets.freeze",
    "lint": "rr_export.lint.linter",
    "load": "rr_export.bundle.bundle_reader",
    "package": "rr_export.packaging",
    "plan_of": "rr_export.wrap",
    "prune": "rr_export.targets.prune",
    "recorded": "rr_export.eager.blocks",
    "route_layers": "rr_export.wrap",
    "search": "rr_export.quality.searching",
    "seeded": "rr_export.eager.blocks",
    "sweep": "rr_export.sweep",
    "verify": "rr_export.parity.verify",
    "verify_against": "rr_export.parity.against",
}

import_when_asked(__name__, _HOMES, told_extra)
