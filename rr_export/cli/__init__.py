"""The command line: one subcommand per public function, one module per subcommand.

A command's module is imported when the command is asked for, and imports what it needs when it runs: the help of all of
them needs none, and what needs no torch starts without.
"""

from __future__ import annotations

import functools
import sys
import warnings
from importlib import import_module
from typing import NoReturn

import click
from click.shell_completion import CompletionItem, get_completion_class

from rr_export.cli.console import FAULT, USAGE, end_unread, err, fail, show_warning
from rr_export.cli.error_pages import ARGUMENTS, INDEX, page_of, place_of
from rr_export.cli.examples import epilog_of
from rr_export.cli.failures import FunctionFailed, exit_code_of, is_expected, model_failed, told
from rr_export.extras import told_extra

# The module of every command, and the first sentence of its help.
COMMANDS = {
    "export": ("export", "Export MODEL to the folder (or .onnx file) OUTPUT."),
    "verify": ("verify", "Prove that the bundle FILE is MODEL: what a function returns, hf:FOLDER or timm:NAME."),
    "diff": (
        "diff",
        "Tell what changed from A to B: sites, laws, paths of seeds, weights, graph, outputs, size and latency.",
    ),
    "inspect": (
        "inspect",
        "Print the sites of BUNDLE, its expected cost per run, and whether it keeps the graph contract.",
    ),
    "report": ("report", "Write all that is known of BUNDLE as one page of HTML that opens offline."),
    "lint": ("lint", "Report what is wrong with the randomness of any ONNX file (.onnx, .ort, or a bundle folder)."),
    "run": ("run", "Run BUNDLE without torch, once or as an ensemble of paths."),
    "profile": (
        "profile",
        "Give BUNDLE another law over its sites under NAME, or take one away; its model files stay as they are.",
    ),
    "menu": (
        "menu",
        "Print the menu of BUNDLE: its measured profiles by cost, which are best for it, and which a budget takes.",
    ),
    "package": (
        "package",
        "Give BUNDLE forms of its model that execution providers want, and write it to the folder OUTPUT.",
    ),
    "prune": (
        "prune",
        "Write BUNDLE without the branches that none of its profiles takes: a smaller file, the same on their paths.",
    ),
    "freeze": ("package", "Write the static model of one path of BUNDLE to the folder (or .onnx file) OUTPUT."),
    "doctor": ("doctor", "Tell which execution providers work here, and what each would do with BUNDLE."),
    "place": (
        "place",
        "Tell which nodes of BUNDLE, inside which branch, run on which provider, and time each site's branches.",
    ),
    "bench": (
        "bench",
        "Time BUNDLE with the inputs of its first golden case: the law over paths, each branch, loading and memory.",
    ),
    "fit": (
        "fit",
        "Give BUNDLE a profile that meets a budget: the law of its runs that is nearest to its own and costs no more.",
    ),
    "search": ("search", "Search the paths of BUNDLE of which none is both better and cheaper, by a metric of yours."),
    "attribute": (
        "attribute",
        "Tell how much each site and branch of BUNDLE matters for a metric of yours, around one path.",
    ),
    "explain": (
        "explain",
        "Print what is said of ERROR: texts, why they come, and what to do; without ERROR, which errors there are.",
    ),
    "demo": (
        "demo",
        "Route a pretrained sentence encoder, export it, prove it, search with the file, and say when routing pays.",
    ),
}


class Commands(click.Group):
    """The group of ``COMMANDS``, which imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns their names, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the command, None where there is none of that name."""
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Returns the names that begin so, and options; imports no command."""
        names = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes every name with its sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes where more is said."""
        formatter.write_paragraph()
        formatter.write_text(
            "\b\nA command's own help ends with examples: rr-export verify --help\n"
            f"Errors, exit codes and what to do: {place_of(INDEX)}"
        )

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; what only an extra brings is told as such."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            text = told_extra(error, ctx.invoked_subcommand or "")
            if text is None:
                raise
            raise click.ClickException(text) from error
        except SystemExit as error:  # no command ends so, but where nobody reads what it prints
            if isinstance(error.__context__, BrokenPipeError):
                raise
            raise FunctionFailed(model_failed(error)) from error


@functools.cache
def _load(name: str) -> click.Command:
    command: click.Command = getattr(import_module(f"{__name__}.{COMMANDS[name][0]}"), name)
    command.params.append(
        click.Option(
            ["--traceback"],
            is_flag=True,
            expose_value=False,
            callback=_asks_for_traceback,
            help="Show all of the traceback of an error.",
        )
    )
    command.epilog = epilog_of(name)
    return command


def _asks_for_traceback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.obj["whole"] = True


def _print_completion(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is None or context.resilient_parsing:
        return
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "rr-export", "_RR_EXPORT_COMPLETE").source())
    context.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rr-export")
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    callback=_print_completion,
    help="Print what makes a shell complete commands, options and their values: source it.",
)
def cli() -> None:
    """Export randomly routed PyTorch models to ONNX, run them without torch, and prove they are the same."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point; exits with one of the codes of :mod:`rr_export.cli.console`."""
    asked: dict[str, bool] = {}
    printed = sys.stdout
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            code = cli.main(arguments, standalone_mode=False, obj=asked)
    except click.UsageError as error:
        error.show()
        click.echo(f"see {place_of(ARGUMENTS)}", err=True)
        sys.exit(USAGE)
    except click.Abort as error:
        if isinstance(error.__cause__, EOFError):  # which click takes for the end of what somebody types
            _fail_by(error.__cause__, **asked)
        err.print("aborted")
        sys.exit(130)
    except SystemExit as ended:
        # where nobody reads what is printed, click replaces the stream, rich has the error, and both exit with 1
        if sys.stdout is not printed or isinstance(ended.__context__, BrokenPipeError):
            end_unread()
        raise
    except Exception as error:
        _fail_by(error, **asked)
    sys.exit(code if isinstance(code, int) else 0)


def _fail_by(error: Exception, *, whole: bool = False) -> NoReturn:
    """Prints what is said of an error and exits with its code."""
    if not is_expected(error):
        fail(f"a fault of rr_export, please report it: {told(error, whole=True)}", code=FAULT)
    page = page_of(error)
    fail(told(error, whole=whole) + (f"\nsee {page}" if page else ""), code=exit_code_of(error))
