"""The page of all commands: what ``--help`` of each says."""

from __future__ import annotations

import click

from rr_export.cli import COMMANDS, cli


def commands_page() -> str:
    """Returns the page, in Markdown."""
    parts = ["# Commands", "What `--help` says of every command."]
    parent = click.Context(cli, info_name="rr-export")
    for name in COMMANDS:
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
        parts += [f"## rr-export {name}", f"```text\n{command.get_help(context).rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"
