"""``rr-export diff``: what changed from one model to another."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rr_export.cli.console import HOLDS, MISMATCH, progress
from rr_export.cli.data_files import read_data, read_tolerance
from rr_export.cli.model_options import METAVAR, ModelOptions, load_case, model_options
from rr_export.cli.report_files import ReportFiles, report_files
from rr_export.report.changes import ASPECTS, Changes

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".bin")
FORMS = {
    "json": lambda changes: json.dumps(changes.to_json(), indent=1) + "\n",
    "markdown": lambda changes: changes.markdown(),
}
FAIL_ON = "sites,laws,paths,weights,graph,outputs"  # sizes and latencies are noisy, and follow from the others


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar=f"B|{METAVAR}")
@model_options
@click.option(
    "--data",
    multiple=True,
    metavar="FILE|MODULE:FUNCTION",
    help="Inputs on which outputs are compared: .npz or .npy, or a function (default: those of A's golden cases).",
)
@click.option("--rtol", multiple=True, metavar="R|NAME=R", help="Of all outputs, or of an output or dtype; repeat.")
@click.option("--atol", multiple=True, metavar="A|NAME=A", help="Alike.")
@click.option("--max-paths", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--runs", type=click.IntRange(min=0), default=50, show_default=True, help="Timed runs; 0: none.")
@click.option(
    "--fail-on",
    default=FAIL_ON,
    show_default=True,
    metavar="ASPECTS",
    help=f"Exit with 1 where one of these changed: {', '.join(ASPECTS)}; or 'any', or 'never'.",
)
@report_files(FORMS)
def diff(
    before: str, after: str, data: Sequence[str], rtol: Sequence[str], atol: Sequence[str], max_paths: int, runs: int,
    fail_on: str, model_options: ModelOptions, reports: ReportFiles,
) -> None:  # fmt: skip
    """Tell what changed from A to B: sites, laws, paths of seeds, weights, graph, outputs, size and latency.

    A is a bundle; B is another one, or a model, which is exported like A for that. Or both are checkpoints
    (.safetensors, .pt), of which weights are compared. Exits with 0 where nothing of --fail-on changed, else with 1.
    """
    asked = _aspects(fail_on)
    with reports.written(f"{before} -> {after}") as tell, progress("comparing") as moved:
        if Path(before).suffix in CHECKPOINTS or Path(after).suffix in CHECKPOINTS:
            changes = _checkpoints(Path(before), Path(after))
        else:
            from rr_export.bundle.bundle_reader import load
            from rr_export.diff.bundles import diff as run_diff

            old = load(before)
            changes = run_diff(
                old,
                _after(after, old, model_options),
                data=read_data(data, old.manifest["inputs"]),
                rtol=read_tolerance("rtol", rtol),
                atol=read_tolerance("atol", atol),
                max_paths=max_paths,
                timed_runs=runs,
                progress=moved,
            )
        tell(changes)
    sys.exit(MISMATCH if changes.changed(asked) else HOLDS)


def _aspects(text: str) -> Sequence[str]:
    """The aspects that a text names."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if names in (["any"], ["never"]):
        return ASPECTS if names == ["any"] else ()
    for name in names:
        if name not in ASPECTS:
            raise click.UsageError(f"--fail-on: expected some of {', '.join(ASPECTS)}, any or never, got {name!r}")
    return names


def _after(text: str, before: Bundle, given: ModelOptions) -> Bundle:
    """The bundle at a place, or of a model that is exported like the other one."""
    from rr_export.bundle.bundle_reader import load

    if Path(text).exists():
        if given.given:
            raise click.UsageError(f"{given.given}: expected a model in place of {text}, got a bundle; drop it")
        return load(text)
    if ":" not in text:  # the name of no model
        raise click.UsageError(
            f"diff: expected a bundle or a model (MODULE:FUNCTION, hf:FOLDER, timm:NAME), got {text!r}, where nothing "
            "is; check the path"
        )
    from rr_export.export import export

    case: dict[str, Any] = load_case(text, given)
    told = before.manifest
    return export(**case, interface=told["interface"], opset=told["opset"])


def _checkpoints(before: Path, after: Path) -> Changes:
    """The weights of two checkpoints."""
    from rr_export.diff.weight_changes import compare_weights
    from rr_export.sources.checkpoint import read_checkpoint

    old, new = ({name: _reader(tensor) for name, tensor in read_checkpoint(file).items()} for file in (before, after))
    return Changes(str(before), str(after), (compare_weights(old, new),))


def _reader(tensor: Any) -> Callable[[], Any]:
    """What gives the numbers of a tensor; numpy has no bfloat16, all of whose numbers float32 has."""
    return lambda: (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).detach().numpy()
