"""The options of every command."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime

import rr_runtime
from rr_runtime.asked import MOST_PROBABLE
from rr_runtime.cli.check import check
from rr_runtime.cli.completion import SHELLS, completion
from rr_runtime.cli.docs_pages import page_named
from rr_runtime.cli.info import info
from rr_runtime.cli.measured import bench, doctor, place
from rr_runtime.cli.run import run
from rr_runtime.command_runs import Many
from rr_runtime.designs import DESIGNS
from rr_runtime.given_inputs import GivenInputs

CODES = f"exit codes: 0 holds, 1 does not hold, 2 bad usage or bad input\nerrors: {page_named()}"


BUNDLE = "a bundle folder, or a single model file"
TARGET = "a target of the bundle, or 'default' (default: the provider's, if there is one)"
THREADS = "threads inside one operator (default: 1)"


class Parser(argparse.ArgumentParser):
    """A parser whose errors read like all others."""

    def error(self, message: str) -> NoReturn:
        """Prints the usage and what is wrong, and exits with 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Returns the options; a list of numbers may begin with a minus, as in ``--path -1,0``."""
        return super().parse_known_args(_joined(sys.argv[1:] if args is None else args), namespace)


class _Completion(argparse.Action):
    """Prints the script of a shell, and exits."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        print(completion(parser, str(values)), end="")
        parser.exit()


def parser() -> Parser:
    """Returns the parser; its results hold the function to call as ``do``."""
    made = Parser(
        prog="rr-runtime",
        description="Look at, run, check and measure bundles of randomly routed ONNX models; no torch needed.",
        epilog=f"example: rr-runtime check out/\n{CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=_versions())
    made.add_argument(
        "--completion",
        choices=SHELLS,
        action=_Completion,
        default=argparse.SUPPRESS,
        help="print what makes a shell complete: source it",
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add_info(commands)
    _add_run(commands)
    _add_check(commands)
    _add_doctor(commands)
    _add_place(commands)
    _add_bench(commands)
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print it as JSON, one line, the last one")
        command.add_argument("--progress", action="store_true", help="tell a program on standard error how far it is")
    return made


def routes(text: str) -> list[int]:
    """Returns the routes of ``1,0,-1``."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected integers joined by commas, got {text!r}; for instance 1,0,-1"
        ) from None


def numbers(text: str) -> list[float]:
    """Returns the numbers of ``0.5,0.5,0.5``."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers joined by commas, got {text!r}; for instance 0.5") from None


def _joined(arguments: Sequence[str]) -> list[str]:
    """The arguments, what begins like a negative number joined to the option before: argparse knows no ``-1,0``."""
    found: list[str] = []
    for number, text in enumerate(arguments):
        if text == "--":
            return [*found, *arguments[number:]]
        option = found[-1] if found else ""
        if re.match(r"-\.?[0-9]", text) and option.startswith("--") and "=" not in option:
            found[-1] = f"{option}={text}"
        else:
            found.append(text)
    return found


def _versions() -> str:
    return f"rr-runtime {rr_runtime.__version__} (onnxruntime {onnxruntime.__version__}, numpy {np.__version__})"


def _command(commands: Any, name: str, do: Callable[..., Any], about: str, example: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=f"example: {example}\n{CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(do=do)
    return made


def _add_info(commands: Any) -> None:
    made = _command(
        commands,
        "info",
        info,
        "tell what is in a bundle: inputs, outputs, sites, profiles, targets, golden cases, files",
        "rr-runtime info out/",
    )
    made.add_argument("bundle", type=Path, help=BUNDLE)


def _add_run(commands: Any) -> None:
    made = _command(
        commands,
        "run",
        _run,
        "run a bundle, once or as an ensemble of paths",
        "rr-runtime run out/ --input image=cat.png --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --seed 7",
    )
    made.add_argument("bundle", type=Path, help=BUNDLE)
    made.add_argument(
        "--input",
        action="append",
        default=[],
        dest="inputs",
        metavar="NAME=VALUE",
        help="a .npy, .npz, .json or image file, numbers such as 3 or [[1, 2]], utf8:TEXT; or FILE.npz, FILE.json "
        "of several inputs by name; repeat",
    )
    made.add_argument("--text", action="append", default=[], dest="texts", help="text for a tokenizer; repeat")
    made.add_argument("--tokenizer", type=Path, metavar="FILE", help="its tokenizer.json (default: near the bundle)")
    made.add_argument("--mean", type=numbers, default=[], metavar="M,M,M", help="of images: subtracted from [0, 1]")
    made.add_argument("--std", type=numbers, default=[], metavar="S,S,S", help="of images: then divided by")
    made.add_argument("--golden", type=int, metavar="N", help="take the inputs of golden case N instead")
    made.add_argument("--seed", type=int, help="use the draws of this seed (0 <= seed < 2^63)")
    made.add_argument("--path", type=routes, dest="route", metavar="1,0,-1", help="force these routes; -1 draws")
    made.add_argument("--profile", metavar="NAME", help="draw the routes by this law of the bundle")
    made.add_argument("--budget", type=float, metavar="X", help="or by the best of the menu that costs at most so much")
    made.add_argument("--runs", type=int, default=1, help="runs; several give mean and deviation (default: 1)")
    made.add_argument("--decision", choices=[MOST_PROBABLE], help="draw nothing: the most probable path")
    made.add_argument("--why", action="store_true", help="say why it took its path, and what other branches give")
    made.add_argument("--draws", choices=DESIGNS, help="how the draws of the runs hang together (default: independent)")
    made.add_argument("--until", type=float, metavar="ERROR", help="end when no standard error is larger")
    made.add_argument("--quantiles", type=numbers, default=[], metavar="Q,Q", help="such as 0.05,0.5,0.95")
    made.add_argument("--vote", action="append", default=[], metavar="OUTPUT", help="runs vote for its class; repeat")
    _form(made, provider="cpu")
    made.add_argument("--output", type=Path, metavar="FILE", help="write the outputs to this .npz or .json file")
    made.add_argument("--overwrite", action="store_true", help="replace that file")


def _run(
    inputs: Sequence[str],
    texts: Sequence[str],
    tokenizer: Path | None,
    mean: Sequence[float],
    std: Sequence[float],
    draws: str | None,
    until: float | None,
    quantiles: Sequence[float],
    vote: Sequence[str],
    **options: Any,
) -> Any:
    many = Many(draws, until, tuple(quantiles), tuple(vote))
    return run(given=GivenInputs(inputs, texts, tokenizer, mean, std), many=many, **options)


def _add_check(commands: Any) -> None:
    made = _command(
        commands,
        "check",
        check,
        "run the golden cases of every form that a bundle has, on the CPU and the form's own provider, and compare",
        "rr-runtime check device/ --junit check.xml",
    )
    made.add_argument("bundles", nargs="+", type=Path, metavar="bundle", help="a bundle folder; several one by one")
    made.add_argument("--provider", help="on this provider only: the own model and the targets made for it")
    made.add_argument("--target", help="this form only; 'default' is the own model, 'all' every form there is")
    made.add_argument(
        "--junit",
        type=Path,
        dest="junit_file",
        metavar="FILE",
        help="write it as JUnit XML: a test case per golden case",
    )


def _add_doctor(commands: Any) -> None:
    made = _command(
        commands,
        "doctor",
        doctor,
        "tell which execution providers work here, and what each would do with a bundle",
        "rr-runtime doctor out/ --provider cpu",
    )
    made.add_argument("bundle", nargs="?", type=Path, help=f"{BUNDLE}; none: the providers alone")
    made.add_argument("--provider", action="append", default=[], dest="providers", help="only this one; repeat")
    made.add_argument("--target", help=TARGET)


def _add_place(commands: Any) -> None:
    made = _command(
        commands,
        "place",
        place,
        "tell which nodes run where, and what skipping saves",
        "rr-runtime place out/ --provider cpu",
    )
    made.add_argument("path", type=Path, metavar="bundle", help=BUNDLE)
    _form(made, provider="cpu")
    made.add_argument("--runs", type=int, default=50, help="timed rounds; 0 times nothing (default: 50)")
    made.add_argument("--threads", type=int, default=1, help=THREADS)


def _add_bench(commands: Any) -> None:
    made = _command(
        commands, "bench", bench, "tell what runs cost: the law over paths", "rr-runtime bench out/ --provider cpu"
    )
    made.add_argument("path", type=Path, metavar="bundle", help="a bundle folder with golden cases")
    made.add_argument(
        "--provider", action="append", dest="providers", help="execution provider; repeat to compare (default: cpu)"
    )
    made.add_argument("--target", action="append", default=[], dest="targets", help=f"{TARGET}; repeat to compare")
    made.add_argument(
        "--profile",
        action="append",
        default=[],
        dest="profiles",
        help="time runs by this law of the bundle too; repeat",
    )
    made.add_argument("--runs", type=int, default=200, help="timed rounds, at least 10 (default: 200)")
    made.add_argument("--threads", type=int, default=1, help=THREADS)
    made.add_argument(
        "--loads", type=int, default=3, help="processes that measure load time and memory; 0: none (default: 3)"
    )
    made.add_argument("--usual", type=routes, metavar="1,0,1", help="the most probable path, such as 1,0,1")
    made.add_argument("--frozen", type=Path, metavar="FOLDER", help="a bundle of the static file of that path")
    made.add_argument("--seed", type=int, help="the first of the seeds (default: a fresh one)")
    made.add_argument("--record", action="store_true", help="find and write what is fastest here, for provider='auto'")


def _form(made: argparse.ArgumentParser, *, provider: str) -> None:
    made.add_argument("--provider", default=provider, help=f"execution provider (default: {provider})")
    made.add_argument("--target", help=TARGET)
