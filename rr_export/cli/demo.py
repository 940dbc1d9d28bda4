"""``rr-export demo``: the whole way with a pretrained model."""

from __future__ import annotations

from pathlib import Path

import click

from rr_export.cli.console import out


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
@click.option("--keep", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="P(run) of every layer.")
@click.option(
    "--untrained", is_flag=True, help="The pretrained weights, without what training for short paths changed."
)
def demo(output: Path, keep: float, untrained: bool) -> None:
    """Route a pretrained sentence encoder, export it, prove it, search with the file, and say when routing pays."""
    from rr_export.demo import run_demo

    run_demo(output, keep=keep, delta=not untrained, console=out)
