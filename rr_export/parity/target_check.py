"""Point 5: every target of a bundle gives what the model gives, on the same paths, with the law that it states."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.errors import ParityError
from rr_export.laws.plan import Plan
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.data_arrays import checked_arrays
from rr_export.parity.law import FALSE_ALARM, rejected
from rr_export.parity.misplaced import misplaced_nodes, missing_gates
from rr_export.parity.nearest import check_nearest
from rr_export.parity.paths import check_paths
from rr_export.parity.streams import EAGER_SEEDS, MIXED_SEEDS, mixed_path
from rr_export.parity.subject import File, Original, Reference
from rr_export.parity.target_data import OpensTarget, check_target_data
from rr_export.parity.target_file import TargetFile
from rr_export.parity.terms import Progress, Terms, Tolerance, silent
from rr_export.report.report import Check, Report
from rr_export.targets.frozen_paths import site_variations
from rr_export.targets.provider_table import share_of
from rr_runtime import Session
from rr_runtime.engines.frozen import Frozen

PARTS = ("rr-export", "rr-runtime", "onnxruntime", "numpy")
CHOICES = 2**15  # seeds for which a frozen target says which path it takes


def verify_targets(
    bundle: Bundle | str | os.PathLike[str],
    names: Collection[str] = (),
    *,
    provider: str = "cpu",
    inputs: Mapping[str, NDArray[Any]] | None = None,
    data: Iterable[Mapping[str, NDArray[Any]]] | None = None,
    rtol: Tolerance | None = None,
    atol: Tolerance | None = None,
    max_paths: int = 256,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """The targets of a bundle are its model, on an execution provider of this machine; no eager model is needed.

    Args:
        bundle: a bundle whose own model was verified, or the place of one.
        names: which targets; none: all.
        provider: where they run; the bundle's own model, which they are compared with, runs on the CPU.
        inputs: arrays by input name; the bundle's first golden case has some.
        data: more inputs to compare values on, each as arrays by input name; for a target of fixed sizes they are cut
            into pieces of these. None: none.
        rtol: relative tolerance of forms that change no value; the others have a share of the deviation of their own.
            None: what the bundle was proven to.
        atol: absolute tolerance of these; None: alike.
        max_paths: as for ``verify``.
        jobs: with ``data``: as for ``verify``.
        results: with ``data``, of one target: alike.
        progress: called with (stage, done, total).

    Raises:
        ParityError: something does not hold; its ``report`` says what.
        ValueError, TypeError: the bundle has no such target or no inputs, or one of ``data`` is none of its inputs.
    """
    terms = Terms.asked(rtol=rtol, atol=atol, max_paths=max_paths, progress=progress or silent)
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    terms = terms.with_default(opened.manifest["tolerances"])
    terms.check_names({row["name"]: row["dtype"] for row in opened.manifest["outputs"]})
    missing = [name for name in names if name not in opened.targets]
    if missing or not opened.targets:
        known = ", ".join(opened.targets) or "none"
        raise ValueError(f"verify: expected targets of the bundle ({known}), got {missing or 'none'}; package them")
    if inputs is None and not opened.golden:
        raise ValueError("verify: expected inputs, or a bundle folder with golden cases, got neither; pass inputs=")
    given = dict(opened.golden[0].inputs if inputs is None else inputs)
    names = names or tuple(opened.targets)
    if results is not None and len(names) != 1:
        raise ValueError(f"results: expected one target for a file of results, got {list(names)}; name one")
    items = None if data is None else list(checked_arrays(data, opened))
    with opened.folder() as folder:
        own = File(folder, opened)
        original = Original(own, given)
        checks: list[Check] = []
        for name in names:
            checks.append(check_target(opened, folder, name, original, terms, provider=provider))
            if items is not None and checks[-1].passed:
                near, _ = _terms(terms, opened.manifest["tolerances"], opened.targets[name].about, provider)
                opens = OpensTarget(folder.resolve(), name, provider)
                kept = None if results is None else Path(results)
                checks.append(check_target_data(opened, own, opens, items, near, jobs=jobs, results=kept))
    report = Report(
        tuple(checks),
        str(opened.path or "bundle"),
        {p: version(p) for p in PARTS} | {"Python": platform.python_version()},
    )
    if not report.passed:
        raise ParityError(f"verify: expected the same model, got differences\n{report}", report)
    return report


def check_target(
    bundle: Bundle,
    folder: Path,
    name: str,
    reference: Reference,
    terms: Terms,
    *,
    provider: str = "cpu",
) -> Check:
    """Compares a target with what is right: outputs path by path, nearest path, seeds, and a frozen law."""
    try:
        return _check_target(bundle, folder, name, reference, terms, provider)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        text = f"expected an answer, got {type(error).__name__}: {error}"
        return Check(f"target {name}", False, "it fails", (text,))


def _check_target(
    bundle: Bundle,
    folder: Path,
    name: str,
    reference: Reference,
    terms: Terms,
    provider: str,
) -> Check:
    about = bundle.targets[name].about
    try:
        file = TargetFile(Session(folder, provider=provider, target=name), bundle.plan)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        return Check(f"target {name}", False, "it does not open", (f"expected a session, got {error}",))
    sizes = about.get("sizes", {})
    axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    right = reference.resized(sizes, axes) if sizes else reference
    free = {n: [d if d not in sizes else 0 for d in shape] for n, shape in axes.items()}
    near, loose = _terms(terms, bundle.manifest["tolerances"], about, provider)
    frozen = [tuple(row["path"]) for row in about.get("paths", ())]
    paths = check_paths(right, file, near, axes=free, bounds=bundle.manifest.get("axes", {}), paths=frozen or None)
    parts = [paths, check_nearest(right, file, terms, paths=frozen or None)]
    parts.append(Check("form", not loose, "", tuple(loose + _form_failures(bundle, name))))
    if bundle.plan.sites:
        parts.append(_check_seeds(right, file, set(frozen), near))
    if frozen:
        parts.append(_check_frozen_law(bundle.plan, about, file))
    return Check(
        f"target {name}",
        not any(part.failures for part in parts),
        f"{about['form']}, {about['precision']}, for {about['provider']}, run on {provider}: "
        + "; ".join(part.summary for part in parts if part.summary),
        tuple(text for part in parts for text in part.failures),
        {key: value for part in parts for key, value in part.figures.items()},
    )


def _terms(terms: Terms, own: Mapping[str, float], about: Mapping[str, Any], provider: str) -> tuple[Terms, list[str]]:
    """Returns what outputs are compared with, and what the target states beyond what its kind may."""
    limit = share_of(about["provider"], about["precision"])
    most = {**own, "share": limit}
    loose = [
        f"{key}: expected a tolerance of at most {value:g} for {about['precision']}, got {about.get(key, 0.0):g}"
        for key, value in most.items()
        if not about.get(key, 0.0) <= value
    ]
    exact = provider == "cpu" and about["precision"] == "float32"  # whatever the provider it is made for allows
    return replace(terms, share=0.0 if exact else limit), loose


def _form_failures(bundle: Bundle, name: str) -> list[str]:
    """One graph still skips what it does not take: every site has its ``If``, and the branches lie inside."""
    target = bundle.targets[name]
    models = [model for model in target.models.values() if isinstance(model, ir.Model)]
    if target.about["form"] != "routed" or not bundle.plan.sites:
        return []
    return [text for model in models for text in missing_gates(model, bundle) + misplaced_nodes(model)]


def _check_seeds(right: Reference, file: TargetFile, frozen: set[Path_], terms: Terms) -> Check:
    """A seed takes the model's path; a frozen target takes one that it has, and gives what that path gives."""
    failures: list[str] = []
    near = terms.comparison()
    for seed in (*EAGER_SEEDS, *MIXED_SEEDS):
        path = mixed_path(file.plan, seed).tolist() if seed in MIXED_SEEDS else [-1] * len(file.plan.sites)
        if frozen and seed in MIXED_SEEDS:
            continue
        got = file.on_seed(right.inputs, seed, path)
        taken = tuple(got.path.tolist())
        expected = right.on_path(taken) if frozen else right.on_seed_and_path(seed, path)
        if frozen and taken not in frozen:
            failures.append(f"seed {seed}: expected a packaged path, got {list(taken)}")
        elif not np.array_equal(expected.path, got.path):
            failures.append(f"seed {seed}, path {path}: expected path {expected.path.tolist()}, got {list(taken)}")
        else:
            near.add(f"seed {seed}, path {path}", expected.outputs, got.outputs)
    failures += near.failures
    return Check("seeds", not failures, f"{len(EAGER_SEEDS)} seeds", tuple(failures))


def _check_frozen_law(plan: Plan, about: Mapping[str, Any], file: TargetFile) -> Check:
    """The frequency of every path is its weight, and the distance to the plan's law is the one that is stated."""
    weights = np.array([row["weight"] for row in about["paths"]])
    probabilities = np.array([plan.probability(row["path"]) for row in about["paths"]])
    paths = [tuple(row["path"]) for row in about["paths"]]
    found = {
        "total_variation": max(0.0, 1.0 - float(np.minimum(weights, probabilities).sum())),
        "site_variation": max(site_variations(plan, paths, weights)),
    }
    stated = about.get("distance", {})
    failures = [
        f"distance: expected a {key.replace('_', ' ')} of {value:.6g} to the plan, got the statement {stated.get(key)}"
        for key, value in found.items()
        if not isinstance(stated.get(key), float | int) or abs(value - stated[key]) > 1e-9
    ]
    engine = file.session.engine
    assert isinstance(engine, Frozen)
    free = np.full(len(plan.sites), -1)
    seen = np.bincount([engine.choose(seed, free) for seed in range(CHOICES)], minlength=len(weights))
    failures += [
        f"path {about['paths'][k]['path']}: expected probability {weights[k]:.6g}, got {seen[k] / CHOICES:.6g}"
        for k in rejected(seen, weights, CHOICES, FALSE_ALARM / len(weights))
    ]
    return Check(
        "law",
        not failures,
        f"{len(weights)} paths over {CHOICES} seeds with their weights (false-alarm rate {FALSE_ALARM:g}); total "
        f"variation to the plan {found['total_variation']:.3g}, of the site furthest off {found['site_variation']:.3g}",
        tuple(failures),
        {"frozen_paths": len(weights), **found},
    )
