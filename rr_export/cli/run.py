"""``rr-export run``: a bundle runs without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from rr_export.cli.console import progress
from rr_export.cli.options import read_numbers, read_path
from rr_runtime.strict_json import strict_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A .npy, .npz, .json or image file, numbers such as 3 or [[1, 2]], utf8:TEXT; or FILE.npz, FILE.json of "
    "several inputs by name; repeat.",
)
@click.option("--text", "texts", multiple=True, help="Text for a tokenizer; repeat for a batch.")
@click.option("--tokenizer", type=click.Path(path_type=Path), metavar="FILE", help="Its file (default: near BUNDLE).")
@click.option("--mean", metavar="M,M,M", help="Of images: subtracted from [0, 1].")
@click.option("--std", metavar="S,S,S", help="Of images: then divided by.")
@click.option("--golden", type=int, metavar="N", help="Take the inputs of golden case N instead.")
@click.option("--seed", type=int, help="Use the draws of this seed (0 <= seed < 2^63).")
@click.option("--path", "path_text", metavar="1,0,-1", help="Force these routes; -1 draws.")
@click.option("--profile", metavar="NAME", help="Draw the routes by this law of the bundle.")
@click.option("--budget", type=float, metavar="X", help="Or by the best of the menu that costs at most so much.")
@click.option(
    "--runs", type=click.IntRange(min=1), default=1, show_default=True, help="Runs; several give an ensemble."
)
@click.option("--decision", type=click.Choice(["most_probable"]), help="Draw nothing: the most probable path.")
@click.option("--why", is_flag=True, help="Say why it took its path, and what other branches give.")
@click.option(
    "--draws",
    type=click.Choice(["independent", "antithetic", "stratified", "latin"]),
    help="How the draws of the runs hang together (default: independent).",
)
@click.option("--until", type=float, metavar="ERROR", help="End when no standard error is larger.")
@click.option("--quantiles", metavar="Q,Q", help="Quantiles over the runs, such as 0.05,0.5,0.95.")
@click.option("--vote", multiple=True, metavar="OUTPUT", help="The runs vote for its class; repeat.")
@click.option("--provider", default="cpu", show_default=True, help="Execution provider.")
@click.option("--target", help="A target of the bundle, or 'default' (default: the provider's, if there is one).")
@click.option("--output", type=click.Path(path_type=Path), help="Write the outputs to this .npz or .json file.")
@click.option("--overwrite", is_flag=True, help="Replace that file.")
@click.option("--json", "as_json", is_flag=True, help="Print path, seed and output shapes as JSON.")
def run(
    bundle: Path, inputs: Sequence[str], texts: Sequence[str], tokenizer: Path | None, mean: str | None,
    std: str | None, golden: int | None, seed: int | None, path_text: str | None, runs: int, decision: str | None,
    draws: str | None, until: float | None, quantiles: str | None, vote: tuple[str, ...], provider: str,
    target: str | None, output: Path | None, overwrite: bool, as_json: bool, profile: str | None,
    budget: float | None, why: bool,
) -> None:  # fmt: skip
    """Run BUNDLE without torch, once or as an ensemble of paths.

    Example: rr-export run out/ --input x=x.npy --seed 7 --output y.npz
    """
    from rr_runtime.command_runs import Asked, Many, run_asked
    from rr_runtime.given_inputs import GivenInputs

    given = GivenInputs(inputs, texts, tokenizer, read_numbers("--mean", mean), read_numbers("--std", std))
    many, path = Many(draws, until, tuple(read_numbers("--quantiles", quantiles)), vote), read_path(path_text)
    law = profile, budget, decision, many, why
    asked = Asked(bundle, given, golden, seed, path, runs, provider, target, output, overwrite, *law)
    if runs > 1:
        with progress("running"):
            ran = run_asked(asked)
    else:
        ran = run_asked(asked)
    click.echo(strict_json(ran.to_json()) if as_json else str(ran))
