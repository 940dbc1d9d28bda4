"""``rr-export demo``: the whole way with a pretrained model."""

from __future__ import annotations

from pathlib import Path

import click

from rr_export.cli.console import out


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True)
@click.option("--keep", type=click.FloatRange(0, 1), default=0.8, show_default=True, help="P(run) of every layer.")
def demo(output: Path, keep: float) -> None:
    """Route a pretrained sentence encoder, export it, prove it, and search with the exported file alone."""
    from rr_export.demo import run_demo

    run_demo(output, keep=keep, console=out)
