"""The workflows are what GitHub takes, and their commands name targets, extras, files and modules that there are."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from rr_export.cli import COMMANDS
from tests.versions_agree import disagreements

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOOLS = ("build", "pip", "pytest", "twine")  # modules that a step installs before it runs them
SOUND = {"name": "x", "on": "push", "jobs": {"one": {"runs-on": "ubuntu-24.04", "steps": [{"run": "true"}]}}}


def schema_says(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=120)


def commands_of(workflow: Path) -> list[str]:
    """Returns the commands of all steps of a workflow."""
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    return [line for job in jobs for step in job["steps"] for line in step.get("run", "").splitlines()]


def wrong_names(command: str) -> Iterator[str]:
    """Yields what a command names and is not there; of what a job downloads or builds, nothing is known."""
    words = shlex.split(command)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    extras = [name for word in words for inside in re.findall(r"^\.\[([\w,]+)\]$", word) for name in inside.split(",")]
    yield from (f"extra {extra}" for extra in extras if extra not in PROJECT["optional-dependencies"])
    if words[0] == "make":
        yield from (f"target {word}" for word in words[1:] if word not in targets)
    if words[0] == "rr-export" and not words[1].startswith("-") and words[1] not in COMMANDS:
        yield f"command {words[1]}"
    for word in words:
        path = word.rpartition("=")[2]
        if "/" in path and not path.startswith("dist/") and not (ROOT / path).exists():
            yield f"file {path}"
    if words[:2] == ["python", "-m"] and words[2] not in TOOLS and find_spec(words[2]) is None:
        yield f"module {words[2]}"
    for option, name in pairwise(words):
        if option in ("-c", "-r") and not (ROOT / name).exists():
            yield f"file {name}"


def test_github_takes_the_workflows() -> None:
    assert [file.name for file in WORKFLOWS] == ["ci.yml", "release.yml"]
    said = schema_says(*WORKFLOWS)
    assert said.returncode == 0, said.stdout


def test_a_workflow_that_github_refuses_is_rejected(tmp_path: Path) -> None:
    sound, broken = tmp_path / "sound.yml", tmp_path / "broken.yml"
    sound.write_text(json.dumps(SOUND), encoding="utf-8")
    broken.write_text(json.dumps(SOUND).replace("runs-on", "runs-at"), encoding="utf-8")
    assert schema_says(sound).returncode == 0
    said = schema_says(broken)
    assert said.returncode == 1 and "runs-at" in said.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.stem)
def test_commands_name_what_there_is(workflow: Path) -> None:
    commands = commands_of(workflow)
    assert len(commands) > 5
    assert [wrong for command in commands for wrong in wrong_names(command)] == []


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("make tset", "target tset"),
        ("python -m pip install '.[troch]'", "extra troch"),
        ("python -m pytest tests/absent.py", "file tests/absent.py"),
        ("python -m tests.absent", "module tests.absent"),
        ("python -m pip install -c absent.txt build", "file absent.txt"),
        ("rr-export lnit x", "command lnit"),
    ],
)
def test_a_command_that_names_what_is_not_there_is_rejected(command: str, wrong: str) -> None:
    assert list(wrong_names(command)) == [wrong]


def test_every_python_that_is_declared_runs() -> None:
    jobs: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert jobs["tests"]["strategy"]["matrix"]["python"] == declared


def test_the_tag_of_a_release_is_the_version_of_both() -> None:
    assert disagreements(f"v{PROJECT['version']}") == []
    assert len(disagreements("v9.9.9")) == 2
