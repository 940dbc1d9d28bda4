"""The page of all commands, of both command lines: what ``--help`` of each says."""

from __future__ import annotations

import argparse

import click

from rr_export.cli import COMMANDS, cli
from rr_runtime.cli.parser import parser


def commands_page() -> str:
    """Returns the page, in Markdown."""
    parts = ["# Commands", "What `--help` says of every command."]
    parent = click.Context(cli, info_name="rr-export")
    for name in COMMANDS:
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
        parts += [f"## rr-export {name}", f"```text\n{command.get_help(context).rstrip()}\n```"]
    (commands,) = (action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, device in commands.items():
        parts += [f"## rr-runtime {name}", f"```text\n{device.format_help().rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"
