"""The proof that a file and a model are the same: path by path, seed by seed, in law, and in laziness."""

from rr_export.parity.against import verify_against
from rr_export.parity.target_check import verify_targets
from rr_export.parity.verify import verify
from rr_export.report.report import Check, Report

__all__ = ["Check", "Report", "verify", "verify_against", "verify_targets"]
