"""Each broken file is made once per session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lint.zoo import ZOO


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the file of a specimen; tests must not change it."""
    files: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in files:
            files[name] = ZOO[name].make(tmp_path_factory.mktemp(name))
        return files[name]

    return make
