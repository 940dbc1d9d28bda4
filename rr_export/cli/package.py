"""``rr-export package`` and ``rr-export freeze``: other forms of a bundle's model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from rr_export.cli.console import out, progress
from rr_export.cli.golden_option import golden_option, read_golden
from rr_export.cli.options import read_path, read_sizes
from rr_export.cli.users_code import load_function
from rr_export.targets.provider_table import TARGETS, find_target

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--target",
    "targets",
    multiple=True,
    required=True,
    type=click.Choice(list(TARGETS)),
    help="What execution provider it is for; repeat for several.",
)
@click.option("--form", type=click.Choice(["routed", "segments"]), help="This form, in place of the target's own.")
@click.option("--frozen", type=click.IntRange(min=1), metavar="N", help="Static files of N paths drawn from the plan.")
@click.option(
    "--best", metavar="MODULE:FUNCTION", help="With --frozen: the N paths for which FUNCTION(path) is largest."
)
@click.option("--size", "sizes", multiple=True, metavar="AXIS=N", help="Fix a symbolic axis; repeat for several.")
@click.option(
    "--precision", type=click.Choice(["float32", "float16", "qdq", "qdq16"]), default="float32", show_default=True
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE.npz",
    help="With --precision qdq, qdq16: one set of inputs, by name; repeat (default: those of the golden cases).",
)
@click.option("--format", "file_format", type=click.Choice(["onnx", "ort"]), default="onnx", show_default=True)
@click.option("--name", help="The target's name in the bundle (default: that of its provider).")
@golden_option("what it needs")
@click.option("--only", is_flag=True, help="Write the new targets alone, without the routed model: for a device.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier bundle.")
def package(
    bundle: Path, output: Path, targets: Sequence[str], form: str | None, frozen: int | None, best: str | None,
    sizes: Sequence[str], precision: str, calibration: Sequence[Path], file_format: str, name: str | None,
    golden: Sequence[str], only: bool, overwrite: bool,
) -> None:  # fmt: skip
    """Give BUNDLE forms of its model that execution providers want, and write it to the folder OUTPUT.

    All forms share the bundle's weights. `rr-export verify OUTPUT --target NAME` proves them again.
    """
    from rr_export.bundle.bundle_reader import load
    from rr_export.bundle.places import check_one_file
    from rr_export.packaging import package as run_package
    from rr_runtime.array_files import read_arrays

    if best is not None and frozen is None:
        raise click.UsageError("--best: expected --frozen N beside it, got none; say how many paths")
    if calibration and precision not in ("qdq", "qdq16"):
        raise click.UsageError("--calibration: expected --precision qdq or qdq16, got another; leave it away")
    if form is not None and frozen is not None:
        raise click.UsageError("--form: expected no --frozen beside it, got one; frozen paths are a form of their own")
    if name is not None and len(targets) > 1:
        raise click.UsageError("--name: expected one --target, got several; package them one after the other")
    check_one_file(output, targets=targets, external=False)
    metric: Callable[[tuple[int, ...]], float] | None = (
        load_function(best, where="--best", arguments=1) if best is not None else None
    )
    made = load(bundle)
    with progress("packaging") as tell:
        for number, target in enumerate(targets):
            tell(target, number, len(targets))
            made = run_package(
                made,
                target,
                form=form,
                frozen=frozen,
                best=metric,
                sizes=read_sizes(sizes),
                precision=precision,
                calibration=[read_arrays(file, "--calibration") for file in calibration] or None,
                name=name,
                format=file_format,
                golden=read_golden(golden),
            )
    new = [name or target for target in targets]
    made.save(output, only=new if only else (), overwrite=overwrite)
    out.print(_table(output, made, new))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--path", "path_text", required=True, metavar="1,0,-1", help="The routes; -1 where it does not reach.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier bundle or file.")
def freeze(bundle: Path, output: Path, path_text: str, overwrite: bool) -> None:
    """Write the static model of one path of BUNDLE to the folder (or .onnx file) OUTPUT."""
    from rr_export.bundle.bundle_reader import load
    from rr_export.targets.freeze import freeze as run_freeze

    frozen = run_freeze(load(bundle), read_path(path_text) or [])
    frozen.save(output, overwrite=overwrite)
    out.print(f"{escape(str(output))}: the static model of path {escape(str(frozen.manifest['frozen']['path']))}")


def _table(output: Path, bundle: Bundle, names: Sequence[str]) -> Table:
    """What was made: form, files, and what is known not to work there."""
    table = Table(title=escape(f"{output}: {len(names)} new target{'s' * (len(names) > 1)}"))
    for column in ("target", "for", "form", "precision", "files", "good to know"):
        table.add_column(column, overflow="fold")
    for name in names:
        made = bundle.targets[name]
        about = made.about
        notes = list(find_target(about["provider"]).faults)
        if "distance" in about:
            distance = about["distance"]
            notes.insert(
                0,
                f"total variation to the plan's law {distance['total_variation']:.3g}; of site {distance['site']!r}, "
                f"the furthest off, {distance['site_variation']:.3g}",
            )
        notes += _profiles_with_fewer_paths(bundle, {tuple(row["path"]) for row in about.get("paths", ())})
        form = f"{about['form']}, {about['interface']}" if "interface" in about else str(about["form"])
        table.add_row(
            *map(escape, (name, about["provider"], form, about["precision"], str(len(made.models)), "\n".join(notes)))
        )
    return table


def _profiles_with_fewer_paths(bundle: Bundle, paths: Collection[tuple[int, ...]]) -> list[str]:
    """One sentence for each profile that draws paths of which a frozen target has no file: such runs are refused."""
    from rr_export.laws.profile import plan_under

    found = []
    for name, profile in bundle.profiles.items() if paths else ():
        law = plan_under(bundle.plan, profile)
        share = sum(law.probability(path) for path in paths)
        if share < 1 - 1e-9:
            found.append(f"it refuses {1 - share:.1%} of the runs of profile {name!r}, whose paths it has not")
    return found
