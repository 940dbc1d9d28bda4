"""The command ``python -m rr_runtime doctor | place | bench``: prints what was measured as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rr_runtime.errors import RuntimeFailure
from rr_runtime.tools.bench import bench
from rr_runtime.tools.doctor import doctor
from rr_runtime.tools.opening import Fails
from rr_runtime.tools.place import place
from rr_runtime.tools.timing import Tell

HOLDS, MISMATCH, USAGE = 0, 1, 2
PROGRESS = "rr-progress: "  # before each line of progress on standard error
ERROR = "error: "  # before what is wrong, on standard error


def measure(arguments: Sequence[str], progress: Tell | None = None) -> dict[str, Any]:
    """Returns what the tool gives that a command line names.

    Args:
        arguments: such as ``["place", "out", "--provider", "cpu"]``.
        progress: told (stage, done, total).

    Raises:
        Fails: the form that was asked for is there, and does not run.
        RuntimeFailure: the bundle is at fault, or there is no such provider.
        ValueError: an argument is wrong.
    """
    options = vars(_parser().parse_args(arguments))
    tool = options.pop("tool")
    tells = options.pop("progress")
    options.pop("json")
    result: dict[str, Any] = tool(**options, progress=_tell if tells else progress)
    return result


def run_command(arguments: Sequence[str]) -> int:
    """Prints what the tool gives; returns 0, 1 where something does not hold, or 2 on bad usage or bad input."""
    logging.basicConfig(level=logging.ERROR)
    try:
        result = measure(arguments)
        text = json.dumps(result, allow_nan=False)
    except Fails as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        return MISMATCH
    except (RuntimeFailure, ValueError, TypeError) as error:
        print(f"{ERROR}{error}", file=sys.stderr)
        return USAGE
    except (OSError, RuntimeError, MemoryError) as error:  # the machine's own
        print(f"{ERROR}{type(error).__name__}: {error}", file=sys.stderr)
        return USAGE
    print(f"\n{text}", flush=True)
    return HOLDS if result["holds"] else MISMATCH


def main() -> None:
    """Runs the command and ends the process; some providers crash while they are unloaded."""
    code = run_command(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _tell(stage: str, done: int, total: int) -> None:
    print(f"{PROGRESS}{json.dumps([stage, done, total])}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rr_runtime", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="doctor | place | bench")
    each = argparse.ArgumentParser(add_help=False)
    each.add_argument("--json", action="store_true", help="what is printed is JSON, with or without it")
    each.add_argument("--progress", action="store_true", help="tell on standard error how far it is")
    found = commands.add_parser("doctor", parents=[each], help="what every provider is here, and does with a bundle")
    found.add_argument("bundle", nargs="?", type=Path)
    found.add_argument("--provider", action="append", default=[], dest="providers", help="only this one; repeat")
    found.add_argument("--target", help="which form of the model")
    found.set_defaults(tool=doctor)
    found = commands.add_parser("place", parents=[each], help="which nodes run where, and what skipping saves")
    found.add_argument("path", type=Path, metavar="bundle")
    found.add_argument("--provider", required=True)
    found.add_argument("--target", help="which form of the model")
    found.add_argument("--runs", type=int, default=50, help="timed rounds; 0 times nothing")
    found.add_argument("--threads", type=int, default=1)
    found.set_defaults(tool=place)
    found = commands.add_parser("bench", parents=[each], help="what runs cost")
    found.add_argument("path", type=Path, metavar="bundle")
    found.add_argument("--provider", action="append", dest="providers", required=True)
    found.add_argument("--target", action="append", default=[], dest="targets")
    found.add_argument("--runs", type=int, default=200)
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--loads", type=int, default=3, help="processes that measure load time and memory")
    found.add_argument("--usual", type=_routes, help="the most probable path, such as 1,0,1")
    found.add_argument("--frozen", type=Path, help="a bundle of the static file of that path")
    found.add_argument("--seed", type=int, help="the first of the seeds")
    found.add_argument("--record", action="store_true", help="find and write what is fastest here, for provider='auto'")
    found.set_defaults(tool=bench)
    return parser


def _routes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected integers joined by commas, got {text!r}; for instance 1,0,-1"
        ) from None
