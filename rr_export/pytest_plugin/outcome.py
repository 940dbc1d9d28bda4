"""How a point of a proof is told as the outcome of a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from rr_export.pytest_plugin.case_proof import CaseProof
from rr_export.pytest_plugin.record import ProofRecord
from rr_export.pytest_plugin.wanted import Path_, name_of

if TYPE_CHECKING:
    from rr_export.report.report import Check

SHOWN = 5  # failures of a point that are listed


def prove_point(proof: CaseProof, test: str | Path_, record: ProofRecord, subject: str) -> bool:
    """Returns whether there was anything to compare; the test that asked fails where it does not hold.

    Args:
        proof: the bundle and the model.
        test: the point, or the path.
        record: what is told of it.
        subject: what the record calls the bundle and the model.
    """
    name = name_of(test)
    with record.failing(subject, name):
        checks = proof.checks(test)
    record.add(subject, checks)
    failed = [check for check in checks if check.passed is False]
    if failed:
        parting = ["where they part:", *(f"- {line}" for line in proof.parting)] if proof.parting else []
        pytest.fail("\n".join([headline(name, failed[0]), *parting, *_details(failed)]), pytrace=False)
    return any(check.passed for check in checks)


def headline(name: str, check: Check) -> str:
    """Returns a failed check in one line: how far apart values are, and where that was seen first.

    Args:
        name: of the test, which is shown before it.
        check: the check.
    """
    which = "" if check.name.partition(" ")[0] in name else f"{check.name}: "
    if check.name == "sites" != name:
        which = "not compared, as the sites differ: "
    kept = [row["difference"] for row in check.figures.get("largest_differences", ())]  # of the user's data
    far = max(kept, default=check.figures.get("largest_difference"))
    apart = f"{far:.2g} apart: " if far else ""
    first, more = (*check.failures, check.summary)[0], len(check.failures) - 1
    return " ".join(f"{which}{apart}{first}{f' (and {more} more)' if more > 0 else ''}".split())


def _details(failed: Sequence[Check]) -> list[str]:
    lines = []
    for check in failed:
        more = len(check.failures) - SHOWN
        lines += [f"{check.name}: {check.summary}", *(f"- {text}" for text in check.failures[:SHOWN])]
        lines += [f"- and {more} more"] if more > 0 else []
    return lines
