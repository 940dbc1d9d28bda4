"""Handmade files and bundles, written once, and sessions on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rr_runtime import Session

from . import handmade


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bundle folder of every interface; not to be changed."""
    folder = tmp_path_factory.mktemp("bundles")
    return {interface: handmade.write_bundle(folder / interface, interface) for interface in handmade.INTERFACES}


@pytest.fixture(scope="session")
def sessions(bundles: dict[str, Path]) -> dict[str, Session]:
    """A session on a bundle folder of every interface."""
    return {interface: Session(folder) for interface, folder in bundles.items()}


@pytest.fixture(scope="session")
def explicit(sessions: dict[str, Session]) -> Session:
    return sessions["explicit"]


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bundle that the test may damage."""

    def write(interface: str = "explicit", *, external: bool = False) -> Path:
        return handmade.write_bundle(tmp_path / "bundle", interface, external=external)

    return write
