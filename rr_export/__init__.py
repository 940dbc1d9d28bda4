"""rr_export: randomly routed PyTorch models as one ONNX file, proven to be the same model."""

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.eager.blocks import forced, recorded, seeded
from rr_export.eager.layer_choice import LayerChoice
from rr_export.eager.operation_choice import OperationChoice
from rr_export.eager.parameter_choice import ParameterChoice
from rr_export.errors import ParityError, RRExportError
from rr_export.export import export
from rr_export.laws.plan import Plan, Site
from rr_export.laws.policies import Categorical, Markov, Uniform
from rr_export.lint import Finding, lint
from rr_export.parity import Report, verify, verify_against
from rr_export.targets import TARGETS, freeze, package
from rr_export.wrap import plan_of, route_layers

__all__ = [
    "TARGETS",
    "Bundle",
    "Categorical",
    "Finding",
    "LayerChoice",
    "Markov",
    "OperationChoice",
    "ParameterChoice",
    "ParityError",
    "Plan",
    "RRExportError",
    "Report",
    "Site",
    "Uniform",
    "export",
    "forced",
    "freeze",
    "lint",
    "load",
    "package",
    "plan_of",
    "recorded",
    "route_layers",
    "seeded",
    "verify",
    "verify_against",
]
