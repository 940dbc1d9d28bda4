"""``rr-export run``: a bundle runs without torch."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from rr_export.cli.console import fail, out, progress
from rr_export.cli.options import read_golden_inputs, read_inputs, read_path


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="An input; repeat for several.")
@click.option("--golden", type=int, metavar="N", help="Take the inputs of golden case N instead.")
@click.option("--seed", type=int, help="Use the draws of this seed (0 <= seed < 2^63).")
@click.option("--path", "path_text", metavar="1,0,-1", help="Force these routes; -1 draws.")
@click.option(
    "--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs; several give an ensemble."
)
@click.option("--provider", default="cpu", show_default=True, help="Execution provider.")
@click.option("--target", help="A target of the bundle, or 'default' (default: the provider's, if there is one).")
@click.option("--output", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--json", "as_json", is_flag=True, help="Print path, seed and output shapes as JSON.")
def run(
    bundle: Path, inputs: Sequence[str], golden: int | None, seed: int | None, path_text: str | None, runs: int,
    provider: str, target: str | None, output: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Run BUNDLE without torch, once or as an ensemble of paths."""
    import numpy as np

    from rr_export.bundle.atomic_write import write_atomically
    from rr_runtime import Session

    if golden is not None and inputs:
        raise click.UsageError("--golden: expected no --input beside it, got one; the golden case has all inputs")
    feeds = read_golden_inputs(bundle, golden) if golden is not None else read_inputs(inputs)
    session = Session(bundle, provider=provider, target=target)
    if output is not None and output.exists():
        fail(f"{output}: expected no such file, got one; choose another name")
    if output is not None and not output.parent.is_dir():
        fail(f"{output}: expected a folder {output.parent}, got none; make it first")
    if runs > 1 and path_text is not None:
        fail("--path: expected a single run, got --runs as well; a forced path gives the same outputs every time")
    if runs > 1:
        with progress("running"):
            ensemble = session.ensemble(feeds, runs=runs, seed=seed)
        results = {**ensemble.mean, **{f"{k}.std": v for k, v in ensemble.std.items()}}
        facts: dict[str, Any] = {
            "runs": runs,
            "distinct_paths": None if ensemble.paths is None else len({tuple(p) for p in ensemble.paths.tolist()}),
        }
    else:
        result = session.run(feeds, seed=seed, path=read_path(path_text))
        results = dict(result.outputs)
        facts = {"path": None if result.path is None else result.path.tolist(), "seed": result.seed}
    if output is not None:
        archive = io.BytesIO()
        np.savez(archive, **results)  # type: ignore[arg-type]
        write_atomically(output, archive.getvalue())
    if as_json:
        shapes = {k: {"dtype": str(v.dtype), "shape": list(v.shape)} for k, v in results.items()}
        click.echo(json.dumps({**facts, "outputs": shapes}))
        return
    for name, fact in facts.items():
        out.print(f"{name}: {fact}")
    for name, value in results.items():
        out.print(f"{escape(name)}: {value.dtype} {list(value.shape)}\n{escape(str(value))}")
