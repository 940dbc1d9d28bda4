"""docs/tools.md shows commands and keys that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from rr_export.cli import cli

PAGE = (Path(__file__).parent.parent.parent / "docs" / "tools.md").read_text()


def test_the_commands_shown_are_there_with_their_options() -> None:
    shown = re.findall(r"^\$ rr-export (.+)$", PAGE, re.MULTILINE)
    assert {line.split()[0] for line in shown} >= {"doctor", "place", "bench"}
    for line in shown:
        name, *arguments = shlex.split(line, comments=True)
        command = cli.get_command(click.Context(cli), name)
        assert command is not None and command.make_context(name, arguments).command.name == name
