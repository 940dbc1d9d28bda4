"""``rr-export diff``: what changed from one model to another."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rr_export.cli.console import HOLDS, MISMATCH, end, progress
from rr_export.cli.data_files import read_data, read_tolerance
from rr_export.cli.model_options import METAVAR, ModelOptions, load_case, model_options
from rr_export.cli.report_files import ReportFiles, report_files
from rr_export.report.changes import ASPECTS, Changes
from rr_runtime.strict_json import strict_json

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle

CHECKPOINTS = (".safetensors", ".pt", ".pth", ".bin")
FORMS = {
    "json": lambda changes: strict_json(changes.to_json(), indent=1) + "\n",
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
    metavar="ASPECTS",
    help=f"Exit with 1 where one of these changed or could not be compared: {', '.join(ASPECTS)}; or 'any', or 'never' "
    f"(default: {FAIL_ON}; of checkpoints: weights).",
)
@report_files(FORMS)
def diff(
    before: str, after: str, data: Sequence[str], rtol: Sequence[str], atol: Sequence[str], max_paths: int, runs: int,
    fail_on: str | None, model_options: ModelOptions, reports: ReportFiles,
) -> None:  # fmt: skip
    """Tell what changed from A to B: sites, laws, paths of seeds, weights, graph, outputs, size and latency.

    A is a bundle; B is another one, or a model, which is exported like A for that (but for its targets and
    profiles). Or both are checkpoints (.safetensors, .pt), of which weights are compared. Exits with 0 where nothing
    of --fail-on changed, else with 1.
    """
    checkpoints = [Path(name).suffix in CHECKPOINTS for name in (before, after)]
    if any(checkpoints) and not all(checkpoints):
        raise click.UsageError(
            f"diff: expected two checkpoints, or a bundle before a bundle or a model, got {before} and {after}; load a "
            "checkpoint into a model with --weights"
        )
    asked = _aspects(fail_on, checkpoints=any(checkpoints), timed=runs > 0)
    with reports.written(f"{before} -> {after}") as tell, progress("comparing") as moved:
        if any(checkpoints):
            changes = _checkpoints(Path(before), Path(after))
        else:
            from rr_export.diff.bundles import diff as run_diff

            old, new = _bundles(before, after, model_options)
            changes = run_diff(
                old,
                new,
                data=read_data(data, old.manifest["inputs"]),
                rtol=read_tolerance("rtol", rtol),
                atol=read_tolerance("atol", atol),
                max_paths=max_paths,
                timed_runs=runs,
                progress=moved,
            )
        tell(changes)
    end(MISMATCH if changes.changed(asked) else HOLDS)


def _aspects(text: str | None, *, checkpoints: bool, timed: bool) -> Sequence[str]:
    """The aspects that a text names, all of which are compared."""
    apart = ("latency",) if not timed else ()
    known = ("weights",) if checkpoints else tuple(name for name in ASPECTS if name not in apart)
    if text is None:
        return known if checkpoints else FAIL_ON.split(",")
    names = [part.strip() for part in text.split(",") if part.strip()]
    if names in (["any"], ["never"]):
        return known if names == ["any"] else ()
    what = " of checkpoints" if checkpoints else " with --runs 0" if apart else ""
    for name in names:
        if name not in known:
            raise click.UsageError(f"--fail-on: expected some of {', '.join(known)}, any or never{what}, got {name!r}")
    return names


def _bundles(before: str, after: str, given: ModelOptions) -> tuple[Bundle, Bundle]:
    """The bundle at one place, and that at another, or of a model that is exported like the first."""
    from rr_export.bundle.bundle_reader import load

    old = load(before)
    if Path(after).exists():
        if given.given:
            raise click.UsageError(f"{given.given}: expected a model in place of {after}, got a bundle; drop it")
        return old, load(after)
    if ":" not in after:  # the name of no model
        raise click.UsageError(
            f"diff: expected a bundle or a model (MODULE:FUNCTION, hf:FOLDER, timm:NAME), got {after!r}, where nothing "
            "is; check the path"
        )
    from rr_export.export import export

    case: dict[str, Any] = load_case(after, given)
    told = old.manifest
    interface = {} if told["interface"] == "plain" else {"interface": told["interface"]}
    kept = bool(told.get("training_routes"))
    new = export(**case, **interface, opset=told["opset"], keep_training_routes=kept)
    # its forms are made of the model that is compared, and its profiles beside it
    return replace(old, targets={}, profiles={}), new


def _checkpoints(before: Path, after: Path) -> Changes:
    """The weights of two checkpoints."""
    from rr_export.diff.weight_changes import compare_weights
    from rr_export.sources.checkpoint import read_checkpoint, stored_numbers

    old, new = (
        {name: functools.partial(stored_numbers, f"{file}: {name}", tensor) for name, tensor in tensors.items()}
        for file, tensors in ((file, read_checkpoint(file)) for file in (before, after))
    )
    return Changes(str(before), str(after), (compare_weights(old, new),))
