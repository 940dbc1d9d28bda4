"""A run as a command line asks for it: inputs from files, outputs into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rr_runtime.bundle import open_bundle
from rr_runtime.explanation import Explanation
from rr_runtime.given_inputs import GivenInputs
from rr_runtime.golden import golden_inputs
from rr_runtime.one_line import cut_to_line
from rr_runtime.output_files import check_output_file, write_outputs
from rr_runtime.profile import best_within
from rr_runtime.results import EnsembleResult, Result
from rr_runtime.session import Session


@dataclass(frozen=True)
class Many:
    """What is asked of an ensemble beside how many runs it has; None and nothing: not asked for.

    Attributes:
        draws: the design of the draws.
        until: the standard error at which no more runs are made.
        quantiles: shares of the runs.
        vote: the names of outputs in which runs vote.
    """

    draws: str | None = None
    until: float | None = None
    quantiles: Sequence[float] = ()
    vote: Sequence[str] = ()

    @property
    def given(self) -> dict[str, Any]:
        """What is asked for, by its name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None and value != ()}


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
        decision: how the path is chosen where nothing is drawn, or None.
        many: what is asked of several runs.
        why: whether the run's path is explained.
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
    decision: str | None = None
    many: Many = Many()
    why: bool = False


@dataclass(frozen=True)
class Ran:
    """What came of a run, or of several ones.

    Attributes:
        facts: JSON-ready.
        outputs: by name; of several runs means, deviations and errors.
        why: why the run took its path, where that is asked for.
    """

    facts: dict[str, Any]
    outputs: dict[str, NDArray[Any]]
    why: Explanation | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the facts, what the outputs are, and why, JSON-ready."""
        shapes = {name: {"dtype": str(v.dtype), "shape": list(v.shape)} for name, v in self.outputs.items()}
        why = {} if self.why is None else {"why": self.why.to_json()}
        return {**self.facts, "outputs": shapes, **why}

    def __str__(self) -> str:
        """All of it as plain text."""
        lines = [f"{name}: {fact}" for name, fact in self.facts.items()]
        lines += [f"{name}: {v.dtype} {list(v.shape)}\n{v}" for name, v in self.outputs.items()]
        return "\n".join([*lines, *([] if self.why is None else ["", str(self.why).rstrip()])])

    def __repr__(self) -> str:
        return cut_to_line(f"Ran({self.facts})")


def run_asked(asked: Asked) -> Ran:
    """Returns what comes of a run, of several runs means, deviations and errors.

    Of several runs they are called ``<name>``, ``<name>.std`` and ``<name>.error``; what else is asked for is called
    ``<name>.quantiles``, ``<name>.vote`` and ``<name>.share``.

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
    if asked.runs > 1 and asked.decision is not None:
        raise ValueError(
            "--decision: expected a single run, got --runs as well; nothing is drawn: all would be the same"
        )
    if asked.why and (asked.runs > 1 or asked.decision is not None):
        beside = "--runs" if asked.runs > 1 else "--decision"
        raise ValueError(f"--why: expected a single run that draws, got {beside} as well; explain one run of a seed")
    for name in asked.many.given if asked.runs == 1 else ():
        raise ValueError(f"--{name}: expected --runs beside it, got a single run; say how many")
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
    why: Explanation | None = None
    if asked.runs > 1:
        ensemble = session.ensemble(feeds, runs=asked.runs, seed=asked.seed, **asked.many.given, **law)
        outputs = _gathered(ensemble)
        paths = ensemble.paths
        facts = {
            "runs": ensemble.runs,
            "distinct_paths": None if paths is None else len({tuple(p) for p in paths.tolist()}),
            "largest_error": ensemble.largest_error,
        }
    elif asked.why:
        why = session.explain(feeds, seed=asked.seed, path=asked.route, **law)
        outputs, facts = dict(why.result.outputs), _facts(why.result)
    else:
        route = None if asked.route is None else list(asked.route)
        result = session.run(feeds, seed=asked.seed, path=route, decision=asked.decision, **law)
        outputs, facts = dict(result.outputs), _facts(result)
    profile = asked.profile if asked.budget is None else best_within(session.profiles, asked.budget).name
    if profile is not None:
        facts["profile"] = profile
    if asked.output is not None:
        write_outputs(asked.output, outputs)
    return Ran(facts, outputs, why)


def _facts(result: Result) -> dict[str, Any]:
    return {"path": None if result.path is None else result.path.tolist(), "seed": result.seed}


def _gathered(ensemble: EnsembleResult) -> dict[str, NDArray[Any]]:
    """What an ensemble gives, by name: the means as the outputs are called."""
    parts: dict[str, Mapping[str, NDArray[Any]] | None] = {
        "std": ensemble.std,
        "error": ensemble.error,
        "quantiles": ensemble.quantiles,
    }
    found = {f"{name}.{part}": array for part, arrays in parts.items() for name, array in (arrays or {}).items()}
    for name, vote in (ensemble.votes or {}).items():
        found |= {f"{name}.vote": vote.winner, f"{name}.share": vote.share}
    return {**ensemble.mean, **found}
