"""What is wrong with the randomness of any ONNX file."""

from rr_export.lint.finding import RULES, SEVERITIES, Finding, Rule
from rr_export.lint.linter import lint

__all__ = ["RULES", "SEVERITIES", "Finding", "Rule", "lint"]
