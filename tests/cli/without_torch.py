"""Runs commands where torch cannot be imported, in one process: ``run_commands``, and the program that it starts.

The program prints, for each command, its exit code, what it printed, which modules it asked for in vain, and which
modules of ``rr_export.cli`` and of ``HEAVY`` were there afterwards.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ABSENT = ("torch", "torchvision", "transformers")
HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "scipy", "matplotlib", "rr_runtime.session")


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int | str
    printed: str
    asked: list[str]
    there: list[str]


def run_commands(
    commands: Sequence[Sequence[str]], folder: Path, *, python: Sequence[str] = (sys.executable,)
) -> list[Ran]:
    """Runs commands in a folder; one that begins with ``python`` is code."""
    call = [*python, __file__, json.dumps(commands)]
    ended = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return [Ran(*json.loads(line)) for line in ended.stdout.splitlines()]


class Refusing(importlib.abc.MetaPathFinder):
    """Finds no module of ``ABSENT``."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in ABSENT:
            self.asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main() -> None:
    refusing = Refusing()
    sys.meta_path.insert(0, refusing)
    from rr_export.cli import COMMANDS
    from rr_export.cli import main as run

    for arguments in json.loads(sys.argv[1]):
        refusing.asked.clear()
        printed, code = io.StringIO(), None
        try:
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                if arguments[0] == "python":
                    exec(arguments[1])
                else:
                    run(arguments)
        except SystemExit as ended:
            code = ended.code or 0
        except ImportError as error:
            code, printed = "ImportError", io.StringIO(str(error))
        modules = {module for module, _ in COMMANDS.values()}
        there = [m for m in modules if f"rr_export.cli.{m}" in sys.modules] + [m for m in HEAVY if m in sys.modules]
        print(json.dumps([code, printed.getvalue(), refusing.asked, sorted(there)]))


if __name__ == "__main__":
    main()
