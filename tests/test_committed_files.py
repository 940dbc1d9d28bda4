"""Holds that no file names a path of somebody's machine or the host of a package registry."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Written with character classes, so that this file does not match itself.
MACHINE_PATH = re.compile(rb"(?<![\w.~$)}-])[/](?:work|home/\w+|Users/\w+|root|tmp/w|opt/(?:wheels|pypi))[/]")
REGISTRY_HOST = re.compile(
    rb"\b(?:py[p]i\.(?:org|io)|python[h]osted\.org|np[m]js\.(?:org|com)|deb[i]an\.(?:org|net)|cr[a]tes\.io"
    rb"|download\.pyt[o]rch\.org)\b"
    rb"|://[\w.-]*(?:py[p]i|np[m]js|deb[i]an|python[h]osted)"
)


def files_to_commit(root: Path) -> list[Path]:
    """Returns every file that git tracks, or would after `git add --all`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, check=True, text=True).stdout
    paths = (root / name for name in listed.split("\0") if name)
    return [path for path in paths if path.is_file()]


def machine_names(files: list[Path]) -> list[str]:
    """Returns one line for each machine path or registry host in the files."""
    return [
        f"{file.name}: {match.group().decode(errors='replace')}"
        for file in files
        for pattern in (MACHINE_PATH, REGISTRY_HOST)
        for match in pattern.finditer(file.read_bytes())
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_files_name_no_machine() -> None:
    files = files_to_commit(ROOT)
    assert ROOT / "pyproject.toml" in files
    assert machine_names(files) == []


@pytest.mark.parametrize(
    "text",
    [
        "see " + "/work" + "/notes.md",
        "cd '" + "/tmp" + "/w/v'",
        "--find-links=" + "/opt" + "/wheels/",
        "/home" + "/someone/model.onnx",
        "https://files.python" + "hosted.org/x.whl",
        "index-url = https://py" + "pi.org/simple",
        "registry.np" + "mjs.org",
        "http://deb.deb" + "ian.org",
        "https://py" + "pi.example.com/simple",
    ],
)
def test_machine_names_are_rejected(text: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text(f"first line\n{text}\n")
    assert len(machine_names([file])) >= 1


@pytest.mark.parametrize("text", ["network/x", "homework/x", "docs/work/x", "on Debian", "pip install x"])
def test_ordinary_words_are_accepted(text: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text(text)
    assert machine_names([file]) == []
