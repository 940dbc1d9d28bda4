"""The runs of the eager model that a bundle carries, to be compared with on a device: enough to take every branch."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.contents import GoldenCase
from rr_export.capture.python.conclude import Program
from rr_export.capture.python.own_code import Outcome, watched_gates
from rr_export.errors import RunError
from rr_export.laws.plan import Plan
from rr_export.laws.runs_to_record import RunToRecord, run_of_seed, runs_to_record
from rr_export.parity.golden_inputs import Golden
from rr_export.parity.subject import Reference

MOST_CASES, MOST_BYTES = 64, 2**26  # beyond which no further run is recorded, unless so many are asked for
CONDITION_RUNS = 32  # further runs in which conditions on the input are looked for that go another way


def record_golden(bundle: Bundle, golden: Golden, program: Program | None) -> None:
    """The bundle carries the runs; its manifest says which ways conditions on the input went in none of them.

    Args:
        bundle: the exported bundle.
        golden: the model with its inputs.
        program: what the model's own code decides, if it does.

    Raises:
        RunError: the model fails on one of the user's inputs.
    """
    with watched_gates() as seen:
        cases = golden_cases(golden, bundle.plan)
    if program is not None and any(d.kind == "gate" for d in program.decisions):
        further, unseen = _condition_cases(golden, bundle.plan, program, seen)
        cases += further
        if unseen:
            bundle.manifest["unseen_conditions"] = unseen
    bundle.golden = cases


def golden_cases(golden: Golden, plan: Plan) -> list[GoldenCase]:
    """Returns the eager model's runs on the paths that are worth recording; each of the inputs is in one at least."""
    cases: list[GoldenCase] = []
    size = 0
    for number, run in enumerate(_asked(golden, plan)):
        cases.append(_record(golden, number % len(golden.models), run))
        size += sum(array.nbytes for array in cases[-1].outputs.values())
        if golden.count is None and number >= len(golden.models) and size > MOST_BYTES:
            _warn_of_more(number + 1, f"{size >> 20} MiB of outputs")
            break
    return cases


def golden_cases_at(
    golden: Golden, plan: Plan, sizes: Mapping[str, int], axes: Mapping[str, Sequence[int | str]]
) -> list[GoldenCase]:
    """Returns the same runs on arguments cut or repeated to other sizes; [] where these are the arguments' own.

    Args:
        golden: the model with its inputs.
        plan: its sites.
        sizes: sizes of named axes.
        axes: the shape of each input, as the manifest says it.
    """
    resized = [model.resized(sizes, axes) for model in golden.models]
    if all(
        new.inputs[name].shape == array.shape
        for new, model in zip(resized, golden.models, strict=True)
        for name, array in model.inputs.items()
    ):
        return []
    try:
        return golden_cases(replace(golden, models=resized), plan)
    except Exception as error:  # the model's own
        warnings.warn(
            f"sizes: expected a model that runs on its arguments cut or repeated to {dict(sizes)}, got "
            f"{type(error).__name__}: {error}; the golden cases at these sizes are not those of the model",
            stacklevel=3,
        )
        return []


def _condition_cases(
    golden: Golden, plan: Plan, program: Program, seen: set[Outcome]
) -> tuple[list[GoldenCase], list[str]]:
    """Returns runs in which conditions on the input go as in none before, and how some still went in none.

    Args:
        golden: the model with its inputs; where it says how many runs, none is added.
        plan: its sites.
        program: what the model's own code decides.
        seen: how the conditions went in the runs that are there.
    """
    lines = {n: d.line for n, d in enumerate(program.decisions) if d.kind == "gate" and d.again is None}
    missing = {(number, way) for number in lines for way in (False, True)} - seen
    cases: list[GoldenCase] = []
    tried = ((m, run) for run in _asked(golden, plan) for m in range(len(golden.models)))
    for which, run in itertools.islice(tried, CONDITION_RUNS if golden.count is None else 0):
        if not missing:
            break
        with watched_gates() as went:
            case = _record(golden, which, run)
        new = missing & went
        if new:
            missing -= new
            cases.append(replace(case, why=f"covers {', '.join(_went(lines, new))}"))
    return cases, _went(lines, missing)


def _went(lines: Mapping[int, object], outcomes: set[Outcome]) -> list[str]:
    return list(dict.fromkeys(f"{lines[number]}: {str(way).lower()}" for number, way in sorted(outcomes)))


def _asked(golden: Golden, plan: Plan) -> list[RunToRecord]:
    """The runs, of which number n has the inputs n modulo their number."""
    runs, inputs = runs_to_record(plan), len(golden.models)
    if not plan.sites:
        return runs * (inputs if golden.count is None else min(golden.count, inputs))
    if golden.count is None and len(runs) > MOST_CASES:
        _warn_of_more(MOST_CASES, f"{len(runs)} that take every branch")
        runs = runs[:MOST_CASES]
    wanted = max(len(runs), inputs) if golden.count is None else golden.count
    further = (run_of_seed(seed) for seed in itertools.count(2))
    return [*runs, *itertools.islice(further, max(0, wanted - len(runs)))][:wanted]


def _warn_of_more(kept: int, got: str) -> None:
    warnings.warn(
        f"golden: expected recorded runs that are few and small, got {got}; {kept} are kept and some branches are in "
        "none of them: pass golden=N (--golden N) for N runs",
        stacklevel=4,
    )


def _record(golden: Golden, which: int, run: RunToRecord) -> GoldenCase:
    model: Reference = golden.models[which]
    try:
        answer = model.on_path(run.path or ()) if run.seed is None else model.on_seed(run.seed)
    except Exception as error:
        if not golden.given:
            raise
        raise RunError(
            f"golden: your input {which + 1}, {run.why}: expected a run, got {type(error).__name__}: {error}; mend it"
        ) from error
    taken = tuple(map(int, answer.path)) if run.path is None else run.path
    return GoldenCase(run.seed, run.path, taken, model.inputs, answer.outputs, run.why + golden.reason(which))
