"""The command line: one subcommand per public function."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from rr_export.bundle import load, write_atomically
from rr_export.errors import LintError, ParityError, RRExportError
from rr_export.lint import RULES, SEVERITIES, Finding
from rr_export.lint import lint as run_lint
from rr_export.lint.engines import ENGINES
from rr_export.lint.report import rules_table, sarif, summary, table, to_json
from rr_export.parity.report import Report
from rr_runtime import RuntimeFailure, Session

MISMATCH, USAGE = 1, 2
out = Console()
err = Console(stderr=True)


def _print_rules(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        out.print(rules_table())
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rr-export")
def cli() -> None:
    """Export randomly routed PyTorch models to ONNX, run them without torch, and prove they are the same."""


@cli.command()
@click.argument("model", metavar="MODULE:FUNCTION")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--interface",
    type=click.Choice(["explicit", "host", "standalone"]),
    default="explicit",
    show_default=True,
)
@click.option("--opset", type=int, default=20, show_default=True, help="18 to 21.")
@click.option(
    "--external-data/--single-file",
    default=None,
    help="Weights in a file of their own (default: above 1.5 GB).",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier bundle.")
def export(model: str, output: Path, interface: str, opset: int, external_data: bool | None, overwrite: bool) -> None:
    """Export the model that FUNCTION returns to the folder (or .onnx file) OUTPUT.

    FUNCTION returns (model, args), (model, args, kwargs), or a dictionary with model, args, kwargs and
    dynamic_shapes.
    """
    from rr_export.export import export as run_export

    case = _load_case(model)
    with _progress("exporting"):
        bundle = run_export(**case, interface=interface, opset=opset)
    bundle.save(output, external_data=external_data, overwrite=overwrite)
    out.print(
        f"{escape(str(output))}: {len(bundle.plan.sites)} sites, {bundle.plan.path_count()} paths, "
        f"interface {interface}"
    )


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("model", metavar="[MODULE:FUNCTION]", required=False)
@click.option("--against", type=click.Path(path_type=Path), metavar="BUNDLE", help="The bundle that FILE comes from.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="With --against: an input; repeat.")
@click.option("--rtol", type=click.FloatRange(min=0), default=1e-4, show_default=True)
@click.option("--atol", type=click.FloatRange(min=0), default=1e-5, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="With --against, in place of both: differences as a share of each output's deviation (quantised files).",
)
@click.option("--max-paths", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(
    file: Path, model: str | None, against: Path | None, inputs: Sequence[str], rtol: float, atol: float,
    share: float | None, max_paths: int, as_json: bool,
) -> None:  # fmt: skip
    """Prove that the bundle FILE is the model that FUNCTION returns. Exits with 1 if it is not.

    With --against, prove that FILE, which another tool has made of BUNDLE's model, still is that model; torch and the
    model's source are not needed.
    """
    if (model is None) == (against is None):
        raise click.UsageError(
            f"verify: expected MODULE:FUNCTION or --against BUNDLE, got {'neither' if model is None else 'both'}; "
            "name what FILE is to be compared with"
        )
    if inputs and against is None:
        raise click.UsageError("--input: expected --against beside it, got none; FUNCTION returns the inputs")
    if share is not None and against is None:
        raise click.UsageError("--share: expected --against beside it, got none; use --rtol and --atol")
    options = {"rtol": rtol, "atol": atol, "max_paths": max_paths} | ({"share": share} if share else {})
    report = _prove_rewritten(file, against, inputs, options) if against else _prove(file, model or "", options)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        out.print(report.table())
    sys.exit(0 if report.passed else MISMATCH)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="An input; repeat for several.")
@click.option("--golden", type=int, metavar="N", help="Take the inputs of golden case N instead.")
@click.option("--seed", type=int, help="Use the draws of this seed (0 <= seed < 2^63).")
@click.option("--path", "path_text", metavar="1,0,-1", help="Force these routes; -1 draws.")
@click.option(
    "--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs; several give an ensemble."
)
@click.option("--provider", default="cpu", show_default=True, help="Execution provider.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--json", "as_json", is_flag=True, help="Print path, seed and output shapes as JSON.")
def run(
    bundle: Path, inputs: Sequence[str], golden: int | None, seed: int | None, path_text: str | None, runs: int,
    provider: str, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run BUNDLE without torch, once or as an ensemble of paths."""
    if golden is not None and inputs:
        raise click.UsageError("--golden: expected no --input beside it, got one; the golden case has all inputs")
    feeds = _golden_inputs(bundle, golden) if golden is not None else _read_inputs(inputs)
    session = Session(bundle, provider=provider)
    if output is not None and output.exists():
        _fail(f"{output}: expected no such file, got one; choose another name")
    if runs > 1 and path_text is not None:
        _fail("--path: expected a single run, got --runs as well; a forced path gives the same outputs every time")
    if runs > 1:
        with _progress("running"):
            ensemble = session.ensemble(feeds, runs=runs, seed=seed)
        results = {**ensemble.mean, **{f"{k}.std": v for k, v in ensemble.std.items()}}
        facts: dict[str, Any] = {
            "runs": runs,
            "distinct_paths": None if ensemble.paths is None else len({tuple(p) for p in ensemble.paths.tolist()}),
        }
    else:
        result = session.run(feeds, seed=seed, path=_read_path(path_text))
        results = dict(result.outputs)
        facts = {"path": None if result.path is None else result.path.tolist(), "seed": result.seed}
    if output is not None:
        with output.open("wb") as stream:
            np.savez(stream, **results)  # type: ignore[arg-type]
    if as_json:
        shapes = {k: {"dtype": str(v.dtype), "shape": list(v.shape)} for k, v in results.items()}
        click.echo(json.dumps({**facts, "outputs": shapes}))
        return
    for name, fact in facts.items():
        out.print(f"{name}: {fact}")
    for name, value in results.items():
        out.print(f"{escape(name)}: {value.dtype} {list(value.shape)}\n{escape(str(value))}")


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--size", "sizes", multiple=True, metavar="AXIS=N", help="Size of a dynamic axis, for counting FLOPs.")
@click.option("--json", "as_json", is_flag=True)
def inspect(bundle: Path, sizes: Sequence[str], as_json: bool) -> None:
    """Print the sites of BUNDLE, its expected cost per run, and whether it keeps the graph contract."""
    from rr_export.inspection import inspect as run_inspect

    found = run_inspect(load(bundle), dict(_read_size(s) for s in sizes))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        for table in found.tables(str(bundle)):
            out.print(table)
    sys.exit(0 if found.sound else MISMATCH)


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--format", "form", type=click.Choice(["table", "json", "sarif"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write the report to this file instead (replaces it).")
@click.option(
    "--fail-on",
    type=click.Choice([*SEVERITIES, "never"]),
    default="error",
    show_default=True,
    help="Exit with 1 from this severity on.",
)
@click.option("--select", multiple=True, metavar="CODES", help="Only these codes (RR103,RR2: a prefix takes all).")
@click.option("--ignore", multiple=True, metavar="CODES", help="All but these codes.")
@click.option(
    "--engine",
    type=click.Choice(list(ENGINES)),
    default="onnxruntime",
    show_default=True,
    help="What will read the file.",
)
@click.option("--rules", is_flag=True, is_eager=True, expose_value=False, callback=_print_rules, help="List all rules.")
def lint(
    files: Sequence[str], form: str, output: Path | None, fail_on: str, select: Sequence[str], ignore: Sequence[str],
    engine: str,
) -> None:  # fmt: skip
    """Report what is wrong with the randomness of any ONNX file (.onnx, .ort, or a bundle folder)."""
    chosen = _read_codes("--select", select, set(RULES)) - _read_codes("--ignore", ignore, set())
    files = list(dict.fromkeys(files))
    findings: list[Finding] = []
    unread: set[str] = set()
    for file in files:
        try:
            findings += [f for f in run_lint(file, engine=engine) if f.code in chosen]
        except LintError as error:  # the other files are reported all the same
            err.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
            unread.add(file)
    files = [file for file in files if file not in unread]
    if not files:
        sys.exit(USAGE)
    if form == "table":
        written = io.StringIO()
        console = out if output is None else Console(width=120, no_color=True, file=written)
        console.print(table(findings, files) if findings else summary(findings, files))
        text = written.getvalue()
    else:
        text = json.dumps((to_json if form == "json" else sarif)(findings, files), indent=1)
    if output is not None:
        write_atomically(output, text.encode())
    elif form != "table":
        click.echo(text)
    if unread:
        sys.exit(USAGE)
    worst = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on != "never" else ()
    sys.exit(MISMATCH if any(f.severity in worst for f in findings) else 0)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--runs", type=click.IntRange(min=10), default=200, show_default=True, help="Timed runs per row.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--provider", default="cpu", show_default=True)
def bench(bundle: Path, runs: int, threads: int, provider: str) -> None:
    """Time BUNDLE on several paths, interleaved, with the inputs of its golden cases."""
    from rr_export.timing import bench_bundle

    with _progress("timing") as tell:
        table = bench_bundle(bundle, runs=runs, threads=threads, provider=provider, progress=tell)
    out.print(table)


@cli.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
@click.option("--keep", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="P(run) of every layer.")
def demo(output: Path, keep: float) -> None:
    """Route a pretrained sentence encoder, export it, prove it, and search with the exported file alone."""
    from rr_export.demo import run_demo

    run_demo(output, keep=keep, console=out)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Entry point: exits with 0, with 1 where something does not hold, with 2 on bad usage or bad input."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = cli.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        err.print("aborted")
        sys.exit(130)
    except (RRExportError, RuntimeFailure, ValueError, TypeError) as error:
        _fail(str(error))
    except (OSError, RuntimeError, MemoryError) as error:  # the machine's or the user's model's own
        _fail(f"{type(error).__name__}: {error}")
    sys.exit(code if isinstance(code, int) else 0)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    err.print(f"[yellow]warning:[/] {escape(str(message))}")


def _fail(text: str) -> NoReturn:
    err.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)
    sys.exit(USAGE)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Shows a bar on standard error; yields a function that moves it: (stage, done, total)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        said: set[str] = set()

        def tell(stage: str, done: int, total: int) -> None:
            bar.update(task, description=f"{title}: {stage}", completed=done, total=total)
            if not err.is_terminal and stage not in said:
                said.add(stage)
                err.print(f"{title}: {stage}")

        if not err.is_terminal:
            err.print(f"{title} ...")
        yield tell


def _prove(place: Path, model: str, options: dict[str, Any]) -> Report:
    """The report on a bundle and its eager model, which the bundle then carries."""
    from rr_export.parity import verify as run_verify

    loaded, case = load(place), _load_case(model)
    case.pop("dynamic_shapes", None)
    with _progress("verifying") as tell:
        report = _report(lambda: run_verify(loaded, **case, **options, progress=tell))
    if loaded.path is not None and loaded.path.is_dir():
        loaded.write_parity(report.to_json())
    return report


def _prove_rewritten(file: Path, bundle: Path, inputs: Sequence[str], options: dict[str, Any]) -> Report:
    """The report on a file that another tool has made of a bundle's model."""
    from rr_export.parity import verify_against

    given = _read_inputs(inputs) or None
    with _progress("verifying") as tell:
        return _report(lambda: verify_against(file, load(bundle), inputs=given, **options, progress=tell))


def _report(prove: Callable[[], Report]) -> Report:
    try:
        return prove()
    except ParityError as error:
        if error.report is None:
            raise
        report: Report = error.report
        return report


def _load_case(name: str) -> dict[str, Any]:
    """Calls ``module:function`` (the working folder is on the path) and returns export's arguments."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise click.UsageError(f"model: expected MODULE:FUNCTION, got {name!r}; for instance my_models:encoder")
    sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(
            f"model: expected an importable {name!r}, got {error}; run where the module lies"
        ) from error
    finally:
        sys.path.pop(0)
    if not callable(make):
        raise click.UsageError(f"model: expected {name!r} to be a function, got {type(make).__name__}; name a function")
    with redirect_stdout(sys.stderr):  # what the function prints is no part of the command's output
        made = make()
    if isinstance(made, dict):
        unknown = sorted(set(made) - {"model", "args", "kwargs", "dynamic_shapes"})
        if unknown or "model" not in made:
            raise click.UsageError(
                f"model: expected the keys model, args, kwargs, dynamic_shapes from {name!r}, got "
                f"{sorted(made)}; mend them"
            )
        return {"args": (), **made}
    if isinstance(made, tuple) and 2 <= len(made) <= 3:
        return dict(zip(("model", "args", "kwargs"), made, strict=False))
    raise click.UsageError(
        f"model: expected {name!r} to return (model, args), (model, args, kwargs) or a dictionary, got "
        f"{type(made).__name__}; see rr-export export --help"
    )


def _read_codes(option: str, texts: Sequence[str], default: set[str]) -> set[str]:
    """Returns the codes that an option names, each in full or by a prefix."""
    asked = [part.strip().upper() for text in texts for part in text.split(",") if part.strip()]
    found: set[str] = set()
    for part in asked:
        codes = {code for code in RULES if code.startswith(part)}
        if not codes:
            raise click.UsageError(f"{option}: expected codes such as RR103, got {part!r}; see rr-export lint --rules")
        found |= codes
    return found if asked else default


def _read_inputs(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    read = [_read_input(text) for text in texts]
    for number, (name, _) in enumerate(read):
        if name in [n for n, _ in read[:number]]:
            raise click.UsageError(f"--input: expected every name once, got {name!r} twice; drop one")
    return dict(read)


def _read_input(text: str) -> tuple[str, NDArray[Any]]:
    name, _, file = text.partition("=")
    if not file:
        raise click.UsageError(f"--input: expected NAME=FILE.npy, got {text!r}; name the input")
    try:
        array = np.load(file)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive of several arrays")
        return name, array
    except (OSError, ValueError) as error:
        raise click.UsageError(
            f"--input {name}: expected a .npy file, got {error}; write it with numpy.save"
        ) from error


def _golden_inputs(bundle: Path, number: int) -> dict[str, NDArray[Any]]:
    golden = load(bundle).golden
    if not golden:
        _fail(f"--golden: expected a bundle folder with golden cases, got none in {bundle}; give --input")
    if not 0 <= number < len(golden):
        _fail(f"--golden: expected 0..{len(golden) - 1}, got {number}; the bundle has {len(golden)} golden cases")
    return dict(golden[number].inputs)


def _read_path(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise click.UsageError(
            f"--path: expected integers joined by commas, got {text!r}; for instance 1,0,-1"
        ) from error


def _read_size(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if not size.isdigit() or int(size) < 1:
        raise click.UsageError(f"--size: expected AXIS=N with N of at least 1, got {text!r}; for instance batch=8")
    return name, int(size)
