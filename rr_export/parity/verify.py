"""The whole proof, point by point."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.capture.trace import trace_plan
from rr_export.eager.run import Choice
from rr_export.errors import ParityError
from rr_export.lowering.deciding_slice import routing_slice
from rr_export.parity.compare import check_tolerances
from rr_export.parity.law import check_law
from rr_export.parity.laziness import check_laziness
from rr_export.parity.paths import Progress, check_paths
from rr_export.parity.report import Check, Report
from rr_export.parity.streams import check_streams
from rr_export.parity.subject import Eager, File
from rr_export.parity.target_check import check_target

POINTS = ("sites", "paths", "streams", "law", "laziness", "targets")
PARTS = ("rr-export", "rr-runtime", "torch", "onnxruntime", "onnx", "numpy")


def verify(
    bundle: Bundle | str | os.PathLike[str],
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    max_paths: int = 256,
    progress: Progress | None = None,
) -> Report:
    """The bundle and the eager model are the same: the report says how far that was tried.

    Args:
        bundle: a bundle, or the place of one.
        model: the eager model, in evaluation mode.
        args: positional arguments; dynamic axes are also tried at two other sizes each.
        kwargs: keyword arguments.
        rtol: relative tolerance of floating-point outputs.
        atol: absolute tolerance.
        max_paths: up to so many paths are all compared; of more, a pairwise covering set, the most probable
            one and 32 seeded random ones.
        progress: called with (stage, done, total).

    Raises:
        ParityError: something does not hold; its ``report`` says what.
        ValueError: a wrong argument.
    """
    check_tolerances(rtol, atol, max_paths)
    training = [n or "the model itself" for n, m in model.named_modules() if m.training and not isinstance(m, Choice)]
    if training:
        raise ValueError(f"verify: expected evaluation mode, got training mode in {training[0]!r}; call model.eval()")
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    with opened.folder() as folder:
        checks = verify_points(
            opened, folder, model, args, kwargs, rtol=rtol, atol=atol, max_paths=max_paths, progress=progress
        )
    subject = str(opened.path or type(model).__name__)
    report = Report(checks, subject, {p: version(p) for p in PARTS} | {"Python": platform.python_version()})
    if not report.passed:
        raise ParityError(f"verify: expected the same model, got differences\n{report}", report)
    return report


def verify_points(
    bundle: Bundle,
    folder: Path,
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    points: Collection[str] = POINTS,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    max_paths: int = 256,
    progress: Progress | None = None,
) -> tuple[Check, ...]:
    """Returns the checks of some points of the proof; without equal sites there is nothing else to compare."""
    tell = progress or (lambda stage, done, total: None)
    sites = _check_sites(bundle, model, args, kwargs)
    if sites.passed is False:
        return (sites,)
    eager, file = Eager(model, args, kwargs or {}), File(folder, bundle)
    axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    routing = routing_slice(file.source, bundle, eager.inputs) if bundle.plan.sites else None
    checks: dict[str, Callable[[], Check]] = {
        "sites": lambda: sites,
        "paths": lambda: check_paths(
            eager,
            file,
            axes=axes,
            bounds=bundle.manifest.get("axes", {}),
            rtol=rtol,
            atol=atol,
            max_paths=max_paths,
            progress=tell,
        ),
    }
    if routing is not None:
        checks["streams"] = lambda: check_streams(eager, file, routing, rtol=rtol, atol=atol, progress=tell)
        checks["law"] = lambda: check_law(eager, file, routing, eager.inputs, progress=tell)
        checks["laziness"] = lambda: check_laziness(bundle, file, eager.inputs, progress=tell)
    found = [check() for name, check in checks.items() if name in points]
    if "targets" in points:
        for name in bundle.targets:
            found.append(
                check_target(bundle, folder, name, eager, rtol=rtol, atol=atol, max_paths=max_paths, progress=tell)
            )
    return tuple(found)


def _check_sites(bundle: Bundle, model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Check:
    """The model still has the sites and policies that the bundle was made from."""
    expected = bundle.plan.sites
    got = trace_plan(model, args, kwargs, training=bundle.manifest.get("training_routes", ())).sites
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
