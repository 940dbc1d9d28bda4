"""A run as a command line asks for it: inputs from files, outputs into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rr_runtime.bundle import open_bundle
from rr_runtime.given_inputs import GivenInputs
from rr_runtime.golden import golden_inputs
from rr_runtime.output_files import check_output_file, write_outputs
from rr_runtime.profile import best_within
from rr_runtime.session import Session


@dataclass(frozen=True)
class Asked:
    """A run, or several ones.

    Attributes:
        bundle: the bundle folder or model file.
        given: the inputs.
        golden: the number of the golden case whose inputs are taken in their place.
        seed: the seed, or None.
        route: the path to force, or None.
        runs: how many; several are an ensemble.
        provider: the execution provider.
        target: which form, or None.
        output: the file that gets the outputs, or None.
        overwrite: whether it is replaced.
        profile: the name of the law of the routes, or None.
        budget: in its place: what the best of the menu may cost, or None.
    """

    bundle: Path
    given: GivenInputs
    golden: int | None
    seed: int | None
    route: Sequence[int] | None
    runs: int
    provider: str
    target: str | None
    output: Path | None
    overwrite: bool
    profile: str | None = None
    budget: float | None = None


def run_asked(asked: Asked) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Returns facts of the run (JSON-ready) and its outputs, of several runs means and deviations (``<name>.std``).

    The outputs are in the file that was asked for.

    Raises:
        RuntimeFailure: the bundle or the provider is at fault, or the run fails.
        TypeError, ValueError: an argument or input is wrong; raised before the run.
    """
    if asked.output is not None:
        check_output_file(asked.output, overwrite=asked.overwrite)
    elif asked.overwrite:
        raise ValueError("--overwrite: expected --output beside it, got none; name the file")
    if asked.runs < 1:
        raise ValueError(f"--runs: expected at least 1, got {asked.runs}; say how many")
    if asked.runs > 1 and asked.route is not None:
        raise ValueError(
            "--path: expected a single run, got --runs as well; a forced path gives the same outputs every time"
        )
    if asked.golden is not None and asked.given.options:
        raise ValueError(
            f"--golden: expected no {asked.given.options[0]} beside it, got one; the golden case has all inputs"
        )
    bundle = open_bundle(asked.bundle)
    feeds: dict[str, Any] = {}
    if asked.golden is None:
        feeds = asked.given.read(bundle.manifest.inputs, bundle.path if bundle.path.is_dir() else bundle.path.parent)
    session = Session(asked.bundle, provider=asked.provider, target=asked.target)
    if asked.golden is not None:
        feeds = golden_inputs(bundle, asked.golden, bundle.manifest.targets.get(session.target))
    law: dict[str, Any] = {"profile": asked.profile, "budget": asked.budget}
    facts: dict[str, Any]
    if asked.runs > 1:
        ensemble = session.ensemble(feeds, runs=asked.runs, seed=asked.seed, **law)
        outputs: dict[str, NDArray[Any]] = {**ensemble.mean, **{f"{k}.std": v for k, v in ensemble.std.items()}}
        paths = ensemble.paths
        facts = {
            "runs": asked.runs,
            "distinct_paths": None if paths is None else len({tuple(p) for p in paths.tolist()}),
        }
    else:
        route = None if asked.route is None else list(asked.route)
        result = session.run(feeds, seed=asked.seed, path=route, **law)
        outputs = dict(result.outputs)
        facts = {"path": None if result.path is None else result.path.tolist(), "seed": result.seed}
    name = asked.profile if asked.budget is None else best_within(session.profiles, asked.budget).name
    if name is not None:
        facts["profile"] = name
    if asked.output is not None:
        write_outputs(asked.output, outputs)
    return facts, outputs
