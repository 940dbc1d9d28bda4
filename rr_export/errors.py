"""The errors of rr_export: one class per stage, all below :class:`RRExportError`.

Wrong arguments are ``ValueError`` and ``TypeError``, raised before any work.
"""

from __future__ import annotations

import typing


class RRExportError(Exception):
    """Something that rr_export was asked to do cannot be done faithfully."""


class SourceError(RRExportError):
    """The model that was named cannot be made, or the checkpoint is not that of the model."""


class PlanError(RRExportError):
    """The sites and policies of a model do not fit together."""


class RunError(RRExportError):
    """A site was called where no route can be chosen faithfully."""


class CaptureError(RRExportError):
    """The model cannot be captured as one graph that computes the same."""


class LoweringError(RRExportError):
    """The captured graph cannot be turned into standard ONNX that is as lazy as the model."""


class BundleError(RRExportError):
    """What is on disk is not a bundle, is damaged, or is in the way."""


class PackageError(RRExportError):
    """The model cannot be given the form that an execution provider wants."""


class LintError(RRExportError):
    """What was given to the linter is no ONNX model."""


class SweepError(RRExportError):
    """Results of a sweep cannot be kept, or belong to another one."""


class ParityError(RRExportError):
    """The file and the model are not the same.

    Attributes:
        report: what was compared and what differed, or None.
    """

    def __init__(self, message: str, report: typing.Any = None) -> None:
        super().__init__(message)
        self.report = report

    def __repr__(self) -> str:
        """Shows the first line: the others are the report's."""
        return f"ParityError({str(self).partition(chr(10))[0][:100]!r})"
