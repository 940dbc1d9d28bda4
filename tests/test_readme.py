"""The README's example and commands work as printed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example, _, targets = blocks("python")
    assert len([line for line in example.splitlines() if line and not line.startswith(("import", "from"))]) <= 15
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "16 of 16 paths" in printed and "the same model" in printed
    assert "(8, 2)" in printed
    assert (tmp_path / "out" / "example" / "manifest.json").exists()
    exec(compile(targets, "README.md", "exec"), names)  # goes on with the model of the first
    printed = capsys.readouterr().out
    assert all(f"target {name}" in printed for name in ("cuda", "qnn", "cpu")) and "the same model" in printed


class Skips(nn.Module):
    """What the README says of a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.rand(()) < 0.7:
            x = self.layer(x)
        return x


def test_routing_written_as_python_runs_as_printed() -> None:
    _, lines, _ = blocks("python")
    names: dict[str, Any] = {"rr": rr, "model": Skips().eval(), "x": torch.ones(2, 4)}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["bundle"].plan.path_count() == 2


def test_the_first_two_commands_are_targets() -> None:
    commands = re.findall(r"^make (\S+)", blocks("bash")[0], re.MULTILINE)
    assert commands == ["demo", "test"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", README)) | set(commands) <= set(targets)


def test_one_command_installs_both_packages() -> None:
    """What it installs: ``test_packaging.py``."""
    (command,) = re.findall(r"^pip install ([^#\n]+?) *#", "".join(blocks("bash")), re.MULTILINE)
    assert command == "'.[torch]'"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"'\.\[([\w,]+)\]'", README)
    assert named and {extra for names in named for extra in names.split(",")} <= extras.keys()


def test_the_commands_named_are_there() -> None:
    named = set(re.findall(r"rr-export ([a-z]+)", README))
    assert {"export", "verify", "run", "inspect"} <= named <= set(COMMANDS)


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)
