"""The command line: one subcommand per public function, one module per subcommand."""

from __future__ import annotations

import sys
import warnings
from typing import NoReturn

import click

from rr_export.cli import bench, demo, doctor, export, inspect, lint, package, place, run, verify
from rr_export.cli.console import FAULT, USAGE, err, fail, show_warning
from rr_export.cli.failures import exit_code_of, failure_of_users, told
from rr_export.errors import RRExportError
from rr_runtime import RuntimeFailure


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rr-export")
def cli() -> None:
    """Export randomly routed PyTorch models to ONNX, run them without torch, and prove they are the same."""


def _asks_for_traceback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.obj["whole"] = True


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
    command.params.append(
        click.Option(
            ["--traceback"],
            is_flag=True,
            expose_value=False,
            callback=_asks_for_traceback,
            help="Show all of the traceback of an error.",
        )
    )
    cli.add_command(command)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point; exits with one of the codes of :mod:`rr_export.cli.console`."""
    asked: dict[str, bool] = {}
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            code = cli.main(arguments, standalone_mode=False, obj=asked)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        err.print("aborted")
        sys.exit(130)
    except (click.ClickException, RRExportError, RuntimeFailure, ValueError, TypeError) as error:
        _fail(error, **asked)
    except Exception as error:
        known = isinstance(error, OSError | RuntimeError | MemoryError) or failure_of_users(error) is not None
        if not known:
            fail(f"a fault of rr_export, please report it: {told(error, whole=True)}", code=FAULT)
        _fail(error, **asked)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(error: Exception, *, whole: bool = False) -> NoReturn:
    fail(told(error, whole=whole), code=exit_code_of(error))
