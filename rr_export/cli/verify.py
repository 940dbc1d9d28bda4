"""``rr-export verify``: a bundle is, or is not, a model or another file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from rr_export.cli.console import HOLDS, MISMATCH, end, progress
from rr_export.cli.data_files import DataOptions, data_options, read_data, read_tolerance
from rr_export.cli.model_options import METAVAR, ModelOptions, load_case, model_options
from rr_export.cli.options import read_inputs
from rr_export.cli.report_files import ReportFiles, report_files
from rr_export.errors import ParityError
from rr_export.report.report import Report


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("model", metavar=f"[{METAVAR}]", required=False)
@model_options
@click.option("--against", type=click.Path(path_type=Path), metavar="BUNDLE", help="The bundle that FILE comes from.")
@click.option(
    "--target", "targets", multiple=True, metavar="NAME", help="A target of the bundle FILE, or 'all'; repeat."
)
@click.option("--provider", default="cpu", show_default=True, help="With --target: where it runs.")
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="With --against or --target: an input; repeat."
)
@data_options
@click.option(
    "--rtol",
    multiple=True,
    metavar="R|NAME=R",
    help="Of all outputs, or of an output or dtype; repeat. Without it: by the type of number, 1e-4 for float32.",
)
@click.option("--atol", multiple=True, metavar="A|NAME=A", help="Alike: 1e-5 for float32.")
@click.option(
    "--share",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="With --against, in place of both: differences as a share of each output's deviation (quantised files).",
)
@click.option("--max-paths", type=click.IntRange(min=1), default=256, show_default=True)
@click.option("--record", is_flag=True, help="Write the report into the bundle FILE, as parity.json.")
@report_files()
def verify(
    file: Path, model: str | None, against: Path | None, targets: Sequence[str], provider: str, inputs: Sequence[str],
    data: DataOptions, rtol: Sequence[str], atol: Sequence[str], share: float | None, max_paths: int, record: bool,
    reports: ReportFiles, model_options: ModelOptions,
) -> None:  # fmt: skip
    """Prove that the bundle FILE is MODEL: what a function returns, hf:FOLDER or timm:NAME.

    With --against, prove that FILE, which another tool has made of BUNDLE's model, still is that model; with --target,
    that targets of FILE are its own model, on an execution provider of this machine. Neither needs the source model.

    FILE stays as it is, unless --record is given. Exits with 0 if it holds, 1 if it does not, 2 on bad usage or bad
    input, 3 if the model or the function fails. Once the proof has begun, the reports are written whatever ends it.
    """
    asked = [name for name, given in (("MODEL", model), ("--against", against), ("--target", targets)) if given]
    if len(asked) != 1:
        raise click.UsageError(
            "verify: expected one of MODEL, --against BUNDLE and --target NAME, "
            f"got {' and '.join(asked) or 'none'}; name what FILE is to be compared with"
        )
    if model is None and model_options.given:
        raise click.UsageError(f"{model_options.given}: expected MODEL beside it, got none; it says more of that model")
    if provider != "cpu" and not targets:
        raise click.UsageError("--provider: expected --target beside it, got none; name the targets to run there")
    if inputs and model is not None:
        raise click.UsageError(
            "--input: expected --against or --target beside it, got none; MODEL has inputs of its own"
        )
    if share is not None and against is None:
        raise click.UsageError("--share: expected --against beside it, got none; use --rtol and --atol")
    if record and (model is None or not file.is_dir()):
        raise click.UsageError(
            "--record: expected a bundle folder and MODEL, got "
            f"{'no MODEL' if model is None else f'{file}, which is none'}; only a whole proof is recorded"
        )
    options: dict[str, Any] = {"rtol": read_tolerance("rtol", rtol), "atol": read_tolerance("atol", atol)}
    options |= {"max_paths": max_paths} | ({"share": share} if share else {})
    with reports.written(str(file)) as tell:
        if targets:
            report = _prove_targets(file, targets, provider, inputs, data, options)
        elif against:
            report = _prove_rewritten(file, against, inputs, data, options)
        else:
            report = _prove(file, model or "", model_options, data, options)
        tell(report)
    if data.worst is not None:
        _keep_worst(data.worst, report)
    if record:
        from rr_export.bundle.bundle_reader import load

        load(file).write_parity(report.to_json())
    end(HOLDS if report.passed else MISMATCH)


def _keep_worst(file: Path, report: Report) -> None:
    """The input with the largest difference is in the file, if there is any."""
    from rr_runtime.output_files import write_outputs

    kept = next((check.worst for check in report.checks if check.worst), None)
    if kept is not None:
        write_outputs(file, kept)


def _prove(place: Path, model: str, given: ModelOptions, data: DataOptions, options: dict[str, Any]) -> Report:
    """The report on a bundle and its eager model."""
    from rr_export.bundle.bundle_reader import load
    from rr_export.parity.verify import verify as run_verify

    loaded, case = load(place), load_case(model, given)
    case.pop("dynamic_shapes", None)
    case |= {"data": read_data(data.names, loaded.manifest["inputs"]), **data.spread}
    with progress("verifying") as tell:
        return _report(lambda: run_verify(loaded, **case, **options, progress=tell))


def _prove_rewritten(
    file: Path, bundle: Path, inputs: Sequence[str], data: DataOptions, options: dict[str, Any]
) -> Report:
    """The report on a file that another tool has made of a bundle's model."""
    from rr_export.bundle.bundle_reader import load
    from rr_export.parity.against import verify_against

    given, original = read_inputs(inputs) or None, load(bundle)
    options |= {"data": read_data(data.names, original.manifest["inputs"]), **data.spread}
    with progress("verifying") as tell:
        return _report(lambda: verify_against(file, original, inputs=given, **options, progress=tell))


def _prove_targets(
    bundle: Path,
    targets: Sequence[str],
    provider: str,
    inputs: Sequence[str],
    data: DataOptions,
    options: dict[str, Any],
) -> Report:
    """The report on targets of a bundle and its own model."""
    from rr_export.bundle.bundle_reader import load
    from rr_export.parity.target_check import verify_targets

    names = () if "all" in targets else tuple(targets)
    given, opened = read_inputs(inputs) or None, load(bundle)
    options |= {"data": read_data(data.names, opened.manifest["inputs"]), **data.spread}
    with progress("verifying") as tell:
        return _report(lambda: verify_targets(opened, names, provider=provider, inputs=given, **options, progress=tell))


def _report(prove: Callable[[], Report]) -> Report:
    try:
        return prove()
    except ParityError as error:
        if error.report is None:
            raise
        report: Report = error.report
        return report
