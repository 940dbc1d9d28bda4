"""Calls functions in a fresh process: a provider that crashes takes nothing with it, and memory starts from nothing."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import rr_runtime
from rr_runtime.errors import RuntimeFailure

SECONDS = 900  # emulators take minutes
MARK = "rr-result: "  # before the line with the result: providers print, too


def call(function: str, **arguments: Any) -> dict[str, Any]:
    """Returns what a function gives that is called in a process of its own.

    Where the system starts no second process of this Python (an emulator), it is called in this one.

    Args:
        function: ``module:name``, of a function that takes and returns what JSON can say.
        arguments: its arguments.

    Raises:
        RuntimeFailure: the process crashed, raised, or took too long.
    """
    source = str(Path(rr_runtime.__file__).parent.parent)
    search = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "rr_runtime.tools.child", function, json.dumps(arguments)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": search},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except OSError:
        return _call_here(function, arguments)
    except subprocess.TimeoutExpired as error:
        raise RuntimeFailure(
            f"{function}: expected an end within {SECONDS} s, got none; try another provider, or a smaller model"
        ) from error
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            result: dict[str, Any] = json.loads(line.removeprefix(MARK))
            if "raised" not in result:
                return result
            raise RuntimeFailure(result["raised"])
    raise RuntimeFailure(
        f"{function}: expected a result, got {_ending(done.returncode)}: {_last_lines(done.stderr)}; "
        "try another provider or version"
    )


def _call_here(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    module, _, name = function.partition(":")
    result: dict[str, Any] = getattr(importlib.import_module(module), name)(**arguments)
    return result


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"a crash ({signal.Signals(-code).name})"
    except ValueError:
        return f"a crash (signal {-code})"


def _last_lines(text: str) -> str:
    return " / ".join([line.strip() for line in text.splitlines() if line.strip()][-3:]) or "no message"


def main() -> None:
    """Calls the function that the command line names, and prints what it gives, or how it failed."""
    try:
        result = _call_here(sys.argv[1], json.loads(sys.argv[2]))
    except (RuntimeFailure, ValueError, TypeError) as error:
        result = {"raised": str(error)}
    print(f"\n{MARK}{json.dumps(result)}", flush=True)
    os._exit(0)  # some providers crash while they are unloaded, when the result is there


if __name__ == "__main__":
    main()
