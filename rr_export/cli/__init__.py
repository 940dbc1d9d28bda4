"""The command line: one subcommand per public function, one module per subcommand."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn

import click

from rr_export.cli import bench, demo, doctor, export, inspect, lint, package, place, run, verify
from rr_export.cli.console import USAGE, err, fail, show_warning
from rr_export.errors import RRExportError
from rr_runtime import RuntimeFailure


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rr-export")
def cli() -> None:
    """Export randomly routed PyTorch models to ONNX, run them without torch, and prove they are the same."""


for command in (
    export.export,
    package.package,
    package.freeze,
    verify.verify,
    run.run,
    inspect.inspect,
    lint.lint,
    doctor.doctor,
    place.place,
    bench.bench,
    demo.demo,
):
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point: exits with 0, with 1 where something does not hold, with 2 on bad usage or bad input."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            code = cli.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        err.print("aborted")
        sys.exit(130)
    except (RRExportError, RuntimeFailure, ValueError, TypeError) as error:
        fail(str(error))
    except (OSError, RuntimeError, MemoryError) as error:  # the machine's or the user's model's own
        fail(f"{type(error).__name__}: {error}")
    sys.exit(code if isinstance(code, int) else 0)
