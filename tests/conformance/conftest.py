"""Copies of cases that tests may damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.runner import CASES


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a case into a folder of cases of its own, and returns that."""

    def copy(case: str) -> Path:
        shutil.copytree(CASES / case, tmp_path / "cases" / case)
        return tmp_path / "cases"

    return copy
