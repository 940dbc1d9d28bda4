"""The whole proof, point by point."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.bundle.bundle_writer import sha256_of
from rr_export.capture.request import Request, bind
from rr_export.capture.trace import trace_plan
from rr_export.eager.choice import Choice
from rr_export.eager.code_sites import many_runs
from rr_export.errors import ParityError
from rr_export.lowering.deciding_slice import routing_slice
from rr_export.parity.data_check import Spread, check_data
from rr_export.parity.divergence import searched
from rr_export.parity.eager_model import Eager
from rr_export.parity.far_inputs import check_far_inputs
from rr_export.parity.law import check_law
from rr_export.parity.laziness import check_laziness
from rr_export.parity.model_divergence import divergence_from_model
from rr_export.parity.model_worker import model_digest, model_worker
from rr_export.parity.named_numbers import numbers_named
from rr_export.parity.other_sizes import size_thresholds
from rr_export.parity.paths import check_paths
from rr_export.parity.random_node import first_random_runs
from rr_export.parity.streams import check_streams
from rr_export.parity.subject import File
from rr_export.parity.target_check import check_target
from rr_export.parity.terms import Progress, Terms, Tolerance, silent
from rr_export.parity.tolerances import tolerances_of
from rr_export.parity.user_data import Data, requests_of
from rr_export.report.divergence import Divergence
from rr_export.report.report import Check, Report

POINTS = ("sites", "paths", "inputs", "data", "streams", "law", "laziness", "targets")
PARTS = ("rr-export", "rr-runtime", "torch", "onnxruntime", "onnx", "numpy")


def verify(
    bundle: Bundle | str | os.PathLike[str],
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    data: Data | None = None,
    rtol: Tolerance | None = None,
    atol: Tolerance | None = None,
    max_paths: int = 256,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """The bundle and the eager model are the same: the report says how far that was tried.

    Args:
        bundle: a bundle, or the place of one.
        model: the eager model, in evaluation mode.
        args: positional arguments; dynamic axes are also tried at two other sizes each.
        kwargs: keyword arguments.
        data: inputs to compare values on, beside those: of each a tuple of arguments, ``(args, kwargs)``, a mapping of
            arrays by name, or a single tensor; any iterable, such as a loader. All paths are compared on the first two,
            and on the others paths that together take every branch.
        rtol: relative tolerance of floating-point outputs, of all or by the name of an output or of a dtype; None, and
            for outputs that are not named: by the coarsest type of number that the model computes in, 1e-4 for float32
            and float64, 1e-2 for float16, 8e-2 for bfloat16.
        atol: absolute tolerance; None: alike, 1e-5, 5e-3 or 4e-2.
        max_paths: up to so many paths are all compared; of more, a pairwise covering set, the most probable
            one and 32 seeded random ones.
        jobs: with ``data``: how many processes compare, -1: one for each core; None: as joblib's active configuration
            says, such as ``with joblib.parallel_config(backend="dask")``, one where there is none.
        results: with ``data``: a file that keeps results as they come; an interrupted verification goes on there.
        progress: called with (stage, done, total).

    Raises:
        ParityError: something does not hold; its ``report`` says what.
        ValueError: a wrong argument.
    """
    terms = Terms.asked(rtol=rtol, atol=atol, max_paths=max_paths, progress=progress or silent)
    check_evaluating(model)
    request = bind(model, tuple(args), kwargs)
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    with opened.folder() as folder:
        checks = verify_points(opened, folder, request, terms, data=data, jobs=jobs, results=results)
        divergence = _divergence(opened, request, checks, terms)
    subject = str(opened.path or type(model).__name__)
    versions = {p: version(p) for p in PARTS} | {"Python": platform.python_version()}
    report = Report(checks, subject, versions, divergence)
    if not report.passed:
        raise ParityError(f"verify: expected the same model, got differences\n{report}", report)
    return report


def verify_points(
    bundle: Bundle,
    folder: Path,
    request: Request,
    terms: Terms | None = None,
    *,
    points: Collection[str] = POINTS,
    data: Data | None = None,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
) -> tuple[Check, ...]:
    """Returns the checks of some points of the proof; without equal sites there is nothing else to compare.

    Args:
        bundle: the bundle.
        folder: where its files are.
        request: the eager model and its arguments.
        terms: what counts as equal, and how much is tried; None: the defaults.
        points: which points, of ``POINTS``.
        data: inputs of the user's, as for ``verify``.
        jobs: how many processes compare on them.
        results: the file that keeps what they find.
    """
    sites = _check_sites(bundle, request)
    if sites.passed is False:
        return (sites,)
    eager, file = Eager(request), File(folder, bundle)
    terms = (terms or Terms.asked(rtol=None, atol=None)).with_default(tolerances_of(eager, bundle.plan))
    terms.check_names({row["name"]: row["dtype"] for row in bundle.manifest["outputs"]})
    axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    bounds = bundle.manifest.get("axes", {})
    checks: dict[str, Callable[[], Check]] = {
        "sites": lambda: sites,
        "paths": lambda: check_paths(
            eager,
            file,
            terms,
            axes=axes,
            bounds=bounds,
            thresholds=size_thresholds(bundle, eager.inputs),
            named=numbers_named(eager.model),
        ),
        "inputs": lambda: check_far_inputs(eager, file, terms),
    }
    if data is not None:
        given = (Eager(other) for other in requests_of(data, request))
        spread = Spread(
            jobs,
            None if results is None else Path(results),
            "" if results is None else f"{model_digest(request.model)} {sha256_of(file.source)}",
            model_worker(request, folder, terms),
        )
        checks["data"] = lambda: check_data(given, file, terms, total=_length(data), spread=spread)
    targets = bundle.targets if "targets" in points else ()
    with ExitStack() as meanwhile:
        meanwhile.enter_context(many_runs(request.model))
        if bundle.plan.sites:
            routing = routing_slice(file.source, bundle, eager.inputs)
            drawn = meanwhile.enter_context(first_random_runs(routing, wanted="law" in points))
            checks |= {
                "streams": lambda: check_streams(eager, file, routing, terms),
                "law": lambda: check_law(eager, file, routing, drawn, eager.inputs, terms),
                "laziness": lambda: check_laziness(bundle, file, eager, terms),
            }
        found = [check() for name, check in checks.items() if name in points]
        found += [check_target(bundle, folder, name, eager, terms) for name in targets]
    return tuple(found)


def _divergence(bundle: Bundle, request: Request, checks: Sequence[Check], terms: Terms) -> Divergence | None:
    """Where file and model part, if their values do."""
    failed = [check.name for check in checks if check.passed is False]
    if not failed or failed == ["law"] or failed == ["laziness"]:
        return None
    terms = terms.with_default(tolerances_of(Eager(request), bundle.plan))
    eager, path = next((check.case for check in checks if check.case is not None), (None, None))
    with many_runs(request.model):
        return searched(
            lambda: divergence_from_model(bundle, request if eager is None else eager.request, path, terms), path
        )


def _length(data: Data | None) -> int | None:
    return len(data) if isinstance(data, Sized) else None


def check_evaluating(model: nn.Module) -> None:
    """Raises a ValueError where the model, or a part of it, is in training mode."""
    training = [n or "the model itself" for n, m in model.named_modules() if m.training and not isinstance(m, Choice)]
    if training:
        raise ValueError(f"verify: expected evaluation mode, got training mode in {training[0]!r}; call model.eval()")


def _check_sites(bundle: Bundle, request: Request) -> Check:
    """The model still has the sites and policies that the bundle was made from."""
    expected = bundle.plan.sites
    got = trace_plan(request.with_axes_of(bundle.manifest), training=bundle.manifest.get("training_routes", ())).sites
    if not expected and not got:
        return Check("sites", None, "a model without sites")
    failures = []
    if [s.name for s in expected] != [s.name for s in got]:
        failures.append(f"expected sites {[s.name for s in expected]}, the model has {[s.name for s in got]}")
    else:
        for a, b in zip(expected, got, strict=True):
            if a.branches != b.branches:
                failures.append(f"site {a.name!r}: expected branches {a.branches}, the model has {b.branches}")
            elif a.policy.table.shape != b.policy.table.shape or abs(a.policy.table - b.policy.table).max() > 1e-12:
                failures.append(
                    f"site {a.name!r}: expected probabilities {a.policy.table.tolist()}, the model has "
                    f"{b.policy.table.tolist()}"
                )
    return Check("sites", not failures, f"{len(expected)} sites: names, branches, policies", tuple(failures))
