"""What paths cost, by what is known: measured by a bench, else counted in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rr_export.bundle.bundle import Bundle
from rr_export.laws.costs import Costs
from rr_export.overview.given_files import GivenFile
from rr_export.tools.warned import machine_line

COUNTED = ("flops", "parameters", "bytes")


@dataclass(frozen=True)
class KnownCosts:
    """Costs of a bundle's paths.

    Attributes:
        costs: the costs, or None where none can be told.
        source: where they come from, in a few words.
        says: the same in a sentence or two, with what is known of their error.
        measured: whether they were measured.
        times: milliseconds of runs that drew a fresh path each, none where they were not measured.
    """

    costs: Costs | None
    source: str
    says: tuple[str, ...]
    measured: bool = False
    times: tuple[float, ...] = ()


def known_costs(bundle: Bundle, bench: GivenFile | None, *, form: str | None, sizes: Mapping[str, int]) -> KnownCosts:
    """Returns the costs of a bundle's paths.

    Args:
        bundle: the bundle.
        bench: what ``rr-export bench --json`` measured, or None.
        form: which of the forms that were measured; None: the only one.
        sizes: sizes of dynamic axes by name, for counting FLOPs.

    Raises:
        ValueError: the bench is of another bundle, or of several forms of which none is named.
    """
    return _counted(bundle, sizes) if bench is None else _measured(bundle, bench, form)


def _measured(bundle: Bundle, bench: GivenFile, form: str | None) -> KnownCosts:
    plan = bundle.plan
    costs = Costs.from_bench(bench.told, plan, form=form)
    costs.check(plan)
    try:
        subjects = [s for s in bench.told["subjects"] if s["model"] and form in (None, s["name"])]
        subject, model, machine = subjects[0], subjects[0]["model"], machine_line(bench.told["machine"])
        times = tuple(sorted(map(float, subject["law"]["samples_ms"])))
        source = f"measured, {subject['target']} on {subject['provider']}"
        says = f"Milliseconds, measured: {bench.told['runs']} rounds of {subject['target']} on {subject['provider']}"
        judged = "All paths were timed, none is left to judge the sum of branches by."
        if model["paths"]:
            judged = (
                f"That costs of branches add up is a model: on {model['paths']} other path{'s' * (model['paths'] > 1)} "
                f"it was {model['error_mean']:.1%} off on average, {model['error_worst']:.1%} at worst."
            )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{bench.file}: expected the figures that rr-export bench --json writes, got "
            f"{type(error).__name__}: {error}; measure again"
        ) from error
    return KnownCosts(costs, source, (f"{says} ({bench.file.name}; {machine}).", judged), True, times)


def _counted(bundle: Bundle, sizes: Mapping[str, int]) -> KnownCosts:
    refused = []
    for unit in COUNTED:
        try:
            costs = bundle.costs(unit, sizes=sizes)
            costs.check(bundle.plan)
        except ValueError as error:
            refused.append(str(error))
            continue
        at = ", ".join(f"{axis}={size}" for axis, size in sizes.items()) if unit == "flops" else ""
        what = f"{costs.unit} of products and convolutions" if unit == "flops" else costs.unit
        source = f"counted in the graph{f' at {at}' * bool(at)}"
        says = f"{what}, {source}: nothing was measured."
        return KnownCosts(costs, source, (says,))
    return KnownCosts(None, "", (f"No costs of branches can be told. {refused[-1]}",))
