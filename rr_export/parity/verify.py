"""The whole proof of a bundle against its eager model."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.capture.request import Request, bind
from rr_export.eager.choice import Choice
from rr_export.errors import ParityError
from rr_export.parity.proof import Proof
from rr_export.parity.terms import POINTS, Progress, Terms, Tolerance, silent
from rr_export.parity.user_data import Data
from rr_export.report.report import Check, Report

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
        proof = Proof(opened, folder, request, terms, data=data, jobs=jobs, results=results)
        checks = proof.checks(POINTS)
        divergence = proof.divergence(checks)
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
    return Proof(bundle, folder, request, terms, data=data, jobs=jobs, results=results).checks(points)


def check_evaluating(model: nn.Module) -> None:
    """Raises a ValueError where the model, or a part of it, is in training mode."""
    training = [n or "the model itself" for n, m in model.named_modules() if m.training and not isinstance(m, Choice)]
    if training:
        raise ValueError(f"verify: expected evaluation mode, got training mode in {training[0]!r}; call model.eval()")
