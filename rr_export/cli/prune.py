"""``rr-export prune``: a smaller file, without what no profile takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.markup import escape

from rr_export.cli.console import HOLDS, end, out


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="Where it is written."
)
@click.option("--profile", "profiles", multiple=True, metavar="NAME", help="Keep what this one takes; repeat (all).")
@click.option("--law", metavar="NAME", help="The kept profile whose law runs without a profile have.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier bundle.")
def prune(bundle: Path, output: Path, profiles: Sequence[str], law: str | None, overwrite: bool) -> None:
    """Write BUNDLE without the branches that none of its profiles takes: a smaller file, the same on their paths.

    Sites keep their order, names and draws: a seed takes the same path under a profile as before. Routes are counted
    anew where a branch is gone. Without --law, runs without a profile have the law of BUNDLE where that takes only what
    stays, else that of the first profile; which, is printed. Targets are made anew with `rr-export package`.
    """
    from rr_export.bundle.bundle_reader import load
    from rr_export.targets.prune import prune as run_prune
    from rr_runtime.manifest import Manifest
    from rr_runtime.one_line import list_few

    if output.resolve() == bundle.resolve():
        raise click.UsageError(
            f"--output: expected another folder than {bundle}, against which the pruned bundle is proven, got that; "
            "name another"
        )
    found = load(bundle)
    made = run_prune(found, list(profiles) or None, law=law)
    made.save(output, overwrite=overwrite)
    told = Manifest.parse(made.manifest).pruned
    assert told is not None
    for site in told.sites:
        gone = [name for k, name in enumerate(site.branches) if k not in site.kept]
        if gone:
            stays = list_few(f"{site.branches[k]} ({k} -> {new})" for new, k in enumerate(site.kept))
            out.print(escape(f"{site.name}: without {list_few(gone)}; {stays}"), soft_wrap=True)
    own = "the law that they had" if told.law is None else f"the law of profile {told.law!r}"
    sizes = [sum(f.stat().st_size for f in place.glob("model.onnx*")) for place in (bundle, output)]
    out.print(escape(f"runs without a profile: {own}"), soft_wrap=True)
    if found.targets:
        out.print(
            escape(f"without the targets {list_few(found.targets)}: rr-export package {output} ..."), soft_wrap=True
        )
    out.print(
        escape(f"{output}: {_size(sizes[1])} of {_size(sizes[0])}; rr-export verify {output} --against {bundle}"),
        soft_wrap=True,
    )
    end(HOLDS)


def _size(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size:,} bytes"
