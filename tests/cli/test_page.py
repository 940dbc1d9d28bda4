"""docs/command-line.md lists every command, whether it needs torch, and every exit code."""

from __future__ import annotations

import re
from pathlib import Path

from rr_export.cli import COMMANDS, console
from tests.cli.test_start import NEED_TORCH, TORCH_FREE

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")


def test_the_page_lists_every_command_and_whether_it_needs_torch() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| .* \| (yes|no) \|$", PAGE, re.MULTILINE)
    assert {text.split()[0] for text, _ in rows} == set(COMMANDS)
    free = {text.split()[0] for text, needs in rows if needs == "no"}
    assert free == {command[0] for command in TORCH_FREE}
    assert {text.split()[0] for text, needs in rows if needs == "yes"} == {command[0] for command, _ in NEED_TORCH}


def test_the_page_lists_every_exit_code() -> None:
    codes = {console.HOLDS, console.MISMATCH, console.USAGE, console.FAILED, console.FAULT}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)} == codes
