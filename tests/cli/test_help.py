"""The long help of every command of both command lines ends with examples that parse; shells complete what is typed."""

from __future__ import annotations

import argparse
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
from rr_runtime.cli.completion import completion
from rr_runtime.cli.parser import parser
from rr_runtime.tools.known import KNOWN
from website.commands import commands_page


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


def test_what_helps_say_fits_into_a_window_of_the_site() -> None:
    """docs/site.css: 1300 pixels show 110 columns of code."""
    assert [line for line in commands_page().splitlines() if len(line) > 110] == []


def test_every_example_is_of_a_command() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


def test_help_of_the_runtime_ends_with_examples_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = (a.choices for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name in commands:
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([name, "--help"])
        assert ended.value.code == 0
        (call,) = re.findall(r"^example: rr-runtime (.+)$", capsys.readouterr().out, re.MULTILINE)
        assert parser().parse_args(shlex.split(call)).do is not None and call.startswith(name)


@pytest.mark.parametrize(
    "call", ["rr-export lint", "rr-export lint out/ --format pdf", "rr-export freeze out/ path.onnx --pth 1"]
)
def test_examples_that_do_not_parse_are_found(call: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(call)


def test_the_help_says_where_more_is_said() -> None:
    helped = CliRunner().invoke(cli, ["--help"])
    assert "what to do: rr-export explain\n" in helped.output


@pytest.mark.parametrize(
    ("typed", "incomplete", "expected"),
    [
        ([], "ver", {"verify"}),
        ([], "p", {"package", "place", "profile", "prune"}),
        (["package", "out", "shipped", "--target"], "q", {"qnn"}),
        (["lint", "--form"], "", set()),
        (["lint"], "--form", {"--format"}),
    ],
)
def test_completion(typed: list[str], incomplete: str, expected: set[str]) -> None:
    found = ShellComplete(cli, {}, "rr-export", "_RR_EXPORT_COMPLETE").get_completions(typed, incomplete)
    assert {item.value for item in found if item.type == "plain"} == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("rr-runtime ch", {"check"}), ("rr-runtime check out --j", {"--json", "--junit"}), ("rr-runtime no --j", set())],
)
def test_completion_of_the_runtime_in_bash(typed: str, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "script").write_text(completion(parser(), "bash"))
    words = typed.split(" ")
    asked = f"source ./script; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _rr_runtime; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["check", ""], {"nothing.onnx"}),
        (["check", "--junit", ""], {"nothing.onnx"}),
        (["run", "out", "--output", "no"], {"nothing.onnx"}),
        (["bench", "out", "--provider", "cp"], {"cpu"}),
        (["bench", "out", "--provider", ""], {known.name for known in KNOWN}),
        (["--comp"], {"--completion"}),
        (["--completion", "f"], {"fish"}),
    ],
)
def test_bug_files_and_values_are_completed(typed: list[str], expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "script").write_text(completion(parser(), "bash"))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "nothing.onnx").touch()
    words = " ".join(f"'{word}'" for word in ["rr-runtime", *typed])
    asked = (
        f"source ../script; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _rr_runtime; "
        # as bash does by the option -o default
        f"[ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- '{typed[-1]}')); echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path / "files", capture_output=True, text=True, timeout=60)
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize(("shell", "said"), [("zsh", "bashcompinit"), ("fish", "__fish_seen_subcommand_from check")])
def test_the_other_scripts_of_the_runtime(shell: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--completion", shell])
    assert ended.value.code == 0
    assert said in capsys.readouterr().out


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
