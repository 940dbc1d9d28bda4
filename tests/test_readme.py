"""The README's examples and commands work as printed, and it fits on two screens."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rr_export as rr
from rr_export.cli import COMMANDS, cli
from rr_runtime.cli import run_command
from rr_runtime.cli.parser import parser
from tests.cli.test_help import parsed

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROVIDERS = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_example_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example, _ = blocks("python")
    (targets,) = blocks("python", PROVIDERS)  # goes on with the model of the first
    assert len([line for line in example.splitlines() if line and not line.startswith(("import", "from"))]) <= 10
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "16 of 16 paths" in printed and "the same model" in printed
    assert "(8, 2)" in printed
    assert (tmp_path / "out" / "example" / "manifest.json").exists()
    exec(compile(targets, "providers.md", "exec"), names)
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
    _, lines = blocks("python")
    names: dict[str, Any] = {"rr": rr, "model": Skips().eval(), "x": torch.ones(2, 4)}
    exec(compile(lines, "README.md", "exec"), names)
    assert names["bundle"].plan.path_count() == 2


def test_its_two_targets_are_there() -> None:
    commands = re.findall(r"^make (\S+)", "".join(blocks("bash")), re.MULTILINE)
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
    assert {"export", "verify", "lint"} <= named <= set(COMMANDS)


def test_its_calls_parse() -> None:
    calls = re.findall(
        r"^(rr-export .+?)(?: *#.*)?$", "".join(blocks("bash") + blocks("bash", PROVIDERS)), re.MULTILINE
    )
    assert len(calls) > 7
    for call in calls:
        assert parsed(call).info_name in COMMANDS
    device = re.findall(r"^rr-runtime (.+?)(?: *#.*)?$", "".join(blocks("bash")), re.MULTILINE)
    assert len([parser().parse_args(call.split()) for call in device]) == 3


def test_bug_its_commands_for_the_device_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = nn.Sequential(*[nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(4)], nn.Linear(16, 2)).eval()
    rr.route_layers(model, "[0-3]", keep=0.8)
    monkeypatch.chdir(tmp_path)
    rr.export(model, (torch.randn(8, 16),), dynamic_shapes={"input": {0: "batch"}}).save("out")
    (block,) = (block for block in blocks("bash") if "--only" in block)
    calls = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert [call[:2] for call in calls] == [["rr-export", "package"], ["rr-runtime", "check"], ["rr-runtime", "run"]]
    for program, *arguments in calls:
        if program == "rr-export":
            cli.main(arguments, standalone_mode=False, obj={})
        else:
            assert run_command(arguments) == 0, capsys.readouterr().err
