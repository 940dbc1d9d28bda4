"""The bundle of which everything is known, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.overview.known import known


@pytest.fixture(scope="package")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; tests must not change it."""
    return known(tmp_path_factory.mktemp("known"))
