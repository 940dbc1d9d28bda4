"""The tag of a release is the version of both packages: ``python -m tests.versions_agree v0.1.0``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def disagreements(tag: str) -> list[str]:
    """Returns one line for each place that has another version than a tag."""
    projects = {name: ROOT / name for name in ("pyproject.toml", "runtimes/python/pyproject.toml")}
    found = {
        name: tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"] for name, file in projects.items()
    }
    return [f"{name}: expected version {tag[1:]}, got {v}" for name, v in found.items() if f"v{v}" != tag]


if __name__ == "__main__":
    wrong = disagreements(sys.argv[1])
    print("\n".join(wrong) or f"{sys.argv[1]}: the version of both packages")
    sys.exit(bool(wrong))
