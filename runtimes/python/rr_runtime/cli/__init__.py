"""The command line of the runtime: ``rr-runtime``, or ``python -m rr_runtime``; one file per command."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from rr_runtime.cli.docs_pages import page_of
from rr_runtime.cli.outcome import CLOSED, HOLDS, MISMATCH, USAGE, Outcome, json_text
from rr_runtime.cli.parser import parser
from rr_runtime.cli.progress import tell_machine, tell_person
from rr_runtime.errors import RuntimeFailure
from rr_runtime.output_files import write_text
from rr_runtime.tools.opening import Fails
from rr_runtime.tools.timing import Tell

ERROR = "error: "  # before what is wrong, on standard error

__all__ = ["ERROR", "HOLDS", "MISMATCH", "USAGE", "main", "measure", "run_command"]


def measure(arguments: Sequence[str], progress: Tell | None = None) -> dict[str, Any]:
    """Returns what the command that a command line names finds (JSON-ready).

    Args:
        arguments: such as ``["place", "out", "--provider", "cpu"]``.
        progress: told (stage, done, total).

    Raises:
        Fails: the form that was asked for is there, and does not run.
        RuntimeFailure: the bundle is at fault, or there is no such provider.
        ValueError: an argument is wrong.
    """
    options = vars(parser().parse_args(arguments))
    return _outcome(options, progress).result


def run_command(arguments: Sequence[str]) -> int:
    """Prints what the command finds; returns 0, 1 where something does not hold, or 2 on bad usage or bad input."""
    logging.basicConfig(level=logging.ERROR)
    options = vars(parser().parse_args(arguments))
    as_json = bool(options.get("json"))
    tell = tell_machine if options["progress"] else tell_person
    try:
        outcome = _outcome(options, tell)
        text = json_text(outcome.result) if as_json else outcome.text()
    except Fails as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        return MISMATCH
    except (RuntimeFailure, ValueError, TypeError) as error:
        print(f"{ERROR}{error}\nsee {page_of(error)}", file=sys.stderr)
        return USAGE
    except (OSError, RuntimeError, MemoryError) as error:  # the machine's own
        print(f"{ERROR}{type(error).__name__}: {error}", file=sys.stderr)
        return USAGE
    for wrong in outcome.errors:
        print(f"{ERROR}{wrong}", file=sys.stderr)
    print(f"\n{text}" if as_json else text, flush=True)  # JSON is one line, the last: providers print too
    code = outcome.code
    for file, content in outcome.files.items():
        try:
            write_text(file, content)
        except ValueError as error:
            print(f"{ERROR}{error}\nsee {page_of(error)}", file=sys.stderr)
            code = USAGE
    return code


def main() -> None:
    """Runs the command and ends the process; some providers crash while they are unloaded.

    Where nobody reads what is printed, as behind ``| head``, it ends without a word.
    """
    try:
        try:
            code = run_command(sys.argv[1:])
        except SystemExit as ended:  # of the parser: help, or bad usage
            code = ended.code if isinstance(ended.code, int) else HOLDS
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = CLOSED
    os._exit(code)


def _outcome(options: dict[str, Any], progress: Tell | None) -> Outcome:
    own = {name: value for name, value in options.items() if name not in ("do", "json", "progress")}
    outcome: Outcome = options["do"](**own, progress=progress)
    return outcome
