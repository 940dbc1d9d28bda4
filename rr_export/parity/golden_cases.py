"""The runs of the eager model that a bundle carries, to be compared with on a device."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from rr_export.bundle.contents import GoldenCase
from rr_export.laws.plan import Plan
from rr_export.parity.eager_model import Eager
from rr_export.parity.subject import Reference

SEEDS = (0, 1)


def golden_cases(eager: Reference, plan: Plan) -> list[GoldenCase]:
    """Returns the eager model's runs on its most probable path, and on the draws of a few seeds."""
    if not plan.sites:
        return [GoldenCase(None, None, (), eager.inputs, eager.on_path(()).outputs)]
    path = plan.most_probable()
    cases = [GoldenCase(None, path, path, eager.inputs, eager.on_path(path).outputs)]
    for seed in SEEDS:
        answer = eager.on_seed(seed)
        cases.append(GoldenCase(seed, None, tuple(map(int, answer.path)), eager.inputs, answer.outputs))
    return cases


def golden_cases_at(
    eager: Eager, plan: Plan, sizes: Mapping[str, int], axes: Mapping[str, Sequence[int | str]]
) -> list[GoldenCase]:
    """Returns the same runs on arguments cut or repeated to other sizes; [] where these are the arguments' own.

    Args:
        eager: the model with its example arguments.
        plan: its sites.
        sizes: sizes of named axes.
        axes: the shape of each input, as the manifest says it.
    """
    resized = eager.resized(sizes, axes)
    if all(resized.inputs[name].shape == array.shape for name, array in eager.inputs.items()):
        return []
    try:
        return golden_cases(resized, plan)
    except Exception as error:  # the model's own
        warnings.warn(
            f"sizes: expected a model that runs on its arguments cut or repeated to {dict(sizes)}, got "
            f"{type(error).__name__}: {error}; the golden cases at these sizes are not those of the model",
            stacklevel=3,
        )
        return []
