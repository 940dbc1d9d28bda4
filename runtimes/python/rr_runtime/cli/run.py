"""``rr-runtime run``: a bundle runs, once or as an ensemble of paths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rr_runtime.cli.outcome import Outcome
from rr_runtime.command_runs import Asked, Many, run_asked
from rr_runtime.given_inputs import GivenInputs
from rr_runtime.tools.timing import Tell


def run(
    bundle: Path,
    *,
    given: GivenInputs,
    golden: int | None,
    seed: int | None,
    route: Sequence[int] | None,
    runs: int,
    provider: str,
    target: str | None,
    output: Path | None,
    overwrite: bool,
    decision: str | None,
    many: Many,
    profile: str | None = None,
    budget: float | None = None,
    why: bool = False,
    progress: Tell | None = None,
) -> Outcome:
    """Returns path, seed, and the outputs' dtypes and shapes; the outputs are in the file that is asked for.

    Raises:
        RuntimeFailure: the bundle or the provider is at fault, or the run fails.
        TypeError, ValueError: an argument or input is wrong.
    """
    if progress is not None and runs > 1:
        progress(f"running {runs} times", 0, 1)
    law = profile, budget, decision, many, why
    ran = run_asked(Asked(bundle, given, golden, seed, route, runs, provider, target, output, overwrite, *law))
    return Outcome(ran.to_json(), partial(str, ran))
