"""The long help of every command ends with examples that parse, and shells complete what is typed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from rr_export.cli import COMMANDS, cli
from rr_export.cli.examples import EXAMPLES


def parsed(call: str) -> click.Context:
    """The context of a call of ``rr-export``, which is not run; raises a UsageError where it is none."""
    program, name, *arguments = shlex.split(call)
    assert program == "rr-export"
    parent = click.Context(cli, info_name="rr-export", obj={})
    command = cli.get_command(parent, name)
    assert command is not None
    return command.make_context(name, arguments, parent=parent)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_examples_that_parse(name: str) -> None:
    helped = CliRunner().invoke(cli, [name, "--help"])
    assert helped.exit_code == 0
    shown = re.findall(r"^ +\$ (.+)$", helped.output.partition("\n  Examples:\n")[2], re.MULTILINE)
    assert shown == [call for _, call in EXAMPLES[name]]
    for call in shown:
        assert parsed(call).info_name == name


def test_every_example_is_of_a_command() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize(
    "call", ["rr-export lint", "rr-export lint out/ --format pdf", "rr-export freeze out/ path.onnx --pth 1"]
)
def test_examples_that_do_not_parse_are_found(call: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(call)


def test_the_help_says_where_more_is_said() -> None:
    helped = CliRunner().invoke(cli, ["--help"])
    assert "docs/errors/index.md" in helped.output


@pytest.mark.parametrize(
    ("typed", "incomplete", "expected"),
    [
        ([], "ver", {"verify"}),
        ([], "p", {"package", "place"}),
        (["package", "out", "shipped", "--target"], "q", {"qnn"}),
        (["lint", "--form"], "", set()),
        (["lint"], "--form", {"--format"}),
    ],
)
def test_completion(typed: list[str], incomplete: str, expected: set[str]) -> None:
    found = ShellComplete(cli, {}, "rr-export", "_RR_EXPORT_COMPLETE").get_completions(typed, incomplete)
    assert {item.value for item in found if item.type == "plain"} == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str, tmp_path: Path) -> None:
    made = CliRunner().invoke(cli, ["--completion", shell])
    assert made.exit_code == 0
    assert f"_RR_EXPORT_COMPLETE={shell}_complete" in made.output
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}, to read it")
    script = tmp_path / "script"
    script.write_text(made.output)
    read = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stderr
    if shell == "bash":
        told = f"source {script}; complete -p rr-export"
        bound = subprocess.run(["bash", "-c", told], capture_output=True, text=True, timeout=60)
        assert "-F _rr_export_completion rr-export" in bound.stdout
