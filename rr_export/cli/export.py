"""``rr-export export``: a model becomes a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape

from rr_export.cli.console import out, progress
from rr_export.cli.golden_option import golden_option, read_golden
from rr_export.cli.model_options import METAVAR, ModelOptions, hub_around, load_case, model_options
from rr_export.cli.options import read_sizes
from rr_export.cli.report_files import FAILURE_HELPS, ReportFiles, report_files
from rr_export.targets.provider_table import TARGETS


@click.command()
@click.argument("model", metavar=METAVAR)
@click.argument("output", type=click.Path(path_type=Path))
@model_options
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
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(list(TARGETS)),
    help="Add the form of the model that an execution provider wants; repeat for several.",
)
@click.option("--size", "sizes", multiple=True, metavar="AXIS=N", help="With --target: fix a named axis there.")
@click.option(
    "--keep-training-routes",
    is_flag=True,
    help="Layer drop and stochastic depth decide as in training; everything else stays in evaluation mode.",
)
@golden_option("every branch")
@click.option("--require-sites", is_flag=True, help="A model that decides nothing is an error.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier bundle.")
@report_files(helps=FAILURE_HELPS)
def export(
    model: str, output: Path, interface: str, opset: int, external_data: bool | None, targets: Sequence[str],
    sizes: Sequence[str], keep_training_routes: bool, require_sites: bool, golden: Sequence[str],
    overwrite: bool, model_options: ModelOptions, reports: ReportFiles,
) -> None:  # fmt: skip
    """Export MODEL to the folder (or .onnx file) OUTPUT.

    MODEL is module:function, hf:FOLDER (a folder in the layout of Hugging Face; OUTPUT gets that layout too, with the
    bundle in its folder onnx), or timm:NAME (and arguments of timm.create_model: timm:resnet18,num_classes=10).

    A function returns (model, args), (model, args, kwargs), or a dictionary with model, args, kwargs and
    dynamic_shapes.
    """
    from rr_export.bundle.places import check_one_file, check_place, check_room

    with reports.written(str(output)):
        check_place(output, overwrite=overwrite)
        check_one_file(output, targets=targets, external=bool(external_data))
        from rr_export.capture.trace import check_opset
        from rr_export.export import checked_targets
        from rr_export.export import export as run_export
        from rr_export.laws.runs_to_record import untaken
        from rr_export.sources.model_case import tensor_bytes

        check_opset(opset)
        fixed = read_sizes(sizes)
        checked_targets(interface, targets, fixed)
        recorded = read_golden(golden)
        case = load_case(model, model_options)
        check_room(output, tensor_bytes(case["model"]))
        with progress("exporting"):
            bundle = run_export(
                **case,
                interface=interface,
                opset=opset,
                target=targets,
                sizes=fixed,
                keep_training_routes=keep_training_routes,
                require_sites=require_sites,
                golden=recorded,
            )
        around = None if output.suffix == ".onnx" else hub_around(model, model_options)
        bundle.save(output, external_data=external_data, overwrite=overwrite, around=around)
    out.print(
        f"{escape(str(output))}: {len(bundle.plan.sites)} sites, {bundle.plan.path_count()} paths, "
        f"interface {interface}"
        + (f", targets {', '.join(bundle.targets)}" if bundle.targets else "")
        + (f", {len(bundle.golden)} golden cases" if output.suffix != ".onnx" else "")  # which has room for none
    )
    left_out = {
        "branches that no golden case takes": untaken(bundle.plan, [case.taken for case in bundle.golden]),
        "ways of conditions on the input that no golden case goes": bundle.manifest.get("unseen_conditions", []),
    }
    for what, names in left_out.items():
        if names and bundle.golden and output.suffix != ".onnx":
            out.print(f"{what}: {escape(', '.join(names))}")
