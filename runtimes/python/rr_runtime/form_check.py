"""Replays the golden cases of every form that a bundle has, on the CPU and on the form's own provider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rr_runtime.bundle import Bundle, open_bundle
from rr_runtime.errors import BundleError, ProviderError, RuntimeFailure
from rr_runtime.faults import refuse_faults
from rr_runtime.golden import forms_of_cases, replay_golden, replayable
from rr_runtime.providers import find_provider, providers, short_name
from rr_runtime.session import Session
from rr_runtime.target import DEFAULT, Target
from rr_runtime.tools import child

ALL, CPU = "all", "cpu"
Told = dict[str, Any]  # JSON-ready


def check_bundle(
    path: Path,
    *,
    provider: str | None = None,
    target: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Told:
    """Returns what every form of a bundle does with the golden cases (JSON-ready); nothing is raised for what differs.

    Each form runs on the CPU, and on its own provider where that works on this machine; other providers than the CPU
    each in a process of their own. What is left out says why. The check holds where at least one form was checked and
    every case of those that were held.

    Args:
        path: a bundle folder.
        provider: run on this provider only: the bundle's own model and the targets for it, or what ``target`` names.
        target: check this form only; "all": every form, also those made for other providers than ``provider``.
        progress: told (form, done, total).

    Raises:
        BundleError: there is no bundle, or it is damaged.
        ProviderError: the provider that is asked for is not there or does not work.
        ValueError: the bundle has no such target.
    """
    bundle = open_bundle(path)
    forms: dict[str, Target | None] = {DEFAULT: None} if bundle.model is not None else {}
    forms |= bundle.manifest.targets
    if target not in (None, ALL, *forms):
        raise ValueError(
            f"target: expected one of {', '.join([*forms, ALL])} of {path}, got {target!r}; package it, or name another"
        )
    asked = None if provider is None else short_name(find_provider(provider))
    here = _working({asked or CPU, *(form.provider for form in bundle.manifest.targets.values())})
    if asked is not None and asked not in here:
        raise ProviderError(
            f"provider: expected one of {', '.join(sorted(here))}, got {asked!r}, which does not work here"
        )
    pairs = [
        (name, form, where)
        for name, form in forms.items()
        if target in (None, ALL, name)
        for where in ([asked] if asked is not None else dict.fromkeys([CPU, form.provider if form else CPU]))
    ]
    told = []
    for number, (name, form, where) in enumerate(pairs):
        if progress is not None:
            progress(f"{name} on {where}", number, len(pairs))
        left_out = _left_out(bundle, form, where, here, others=target is not None)
        told.append(_row(name, form, where) | ({"left_out": left_out} if left_out else _check(path, name, where)))
    checked = [row for row in told if not row["left_out"]]
    return {
        "place": str(path),
        "forms": told,
        "unfit": [number for number, names in enumerate(forms_of_cases(bundle)) if not names],
        "checked": len(checked),
        "holds": bool(checked) and all(row["holds"] for row in checked),
    }


def check_form(path: str, target: str, provider: str) -> Told:
    """Returns the golden cases that a form was run on, and what differs, in this process, and whether it is damaged."""
    try:
        session = Session(path, provider=provider, target=target)
    except (RuntimeFailure, ValueError) as error:
        return _failed([], error)
    bundle = open_bundle(path)
    sites = bundle.manifest.sites
    cases: list[Told] = []
    damaged = False
    try:
        for done in replay_golden(bundle, bundle.manifest.targets.get(target), session.run):
            damaged |= isinstance(done.failure, BundleError)
            path_told = done.case.taken if done.case.taken is not None else done.case.path
            cases.append(
                {
                    "case": done.number,
                    "why": done.case.why,
                    "seed": done.case.seed,
                    "path": list(path_told) if path_told is not None and sites else None,
                    "holds": done.failure is None,
                    "failure": "" if done.failure is None else str(done.failure),
                }
            )
    except RuntimeFailure as error:
        return _failed(cases, error)
    return {"cases": cases, "error": "", "damaged": damaged, "holds": all(case["holds"] for case in cases)}


def _failed(cases: list[Told], error: Exception) -> Told:
    damaged = isinstance(error, BundleError) and not error.unloaded
    return {"cases": cases, "error": str(error), "damaged": damaged, "holds": False}


def _working(names: set[str]) -> set[str]:
    """Which of these providers work here; none but the CPU is tried where no other one is asked about."""
    return {CPU} if names <= {CPU} else set(providers())


def _left_out(bundle: Bundle, form: Target | None, provider: str, here: set[str], *, others: bool) -> str:
    """Why a form is not checked on a provider; "" where it is."""
    if provider not in here:
        return f"no provider {provider} here"
    if form is not None and not others and provider not in (form.provider, CPU):
        return f"made for {form.provider}; name it with --target to run it on {provider}"
    why = replayable(bundle, form)
    if why is not None:
        return why
    try:
        refuse_faults(bundle, form, provider)
    except ProviderError as error:
        return str(error)
    return ""


def _row(name: str, form: Target | None, provider: str) -> Told:
    return {
        "target": name,
        "form": "routed" if form is None else form.form,
        "precision": "float32" if form is None else form.precision,
        "provider": provider,
        "left_out": "",
        "cases": [],
        "error": "",
        "damaged": False,
        "holds": None,
    }


def _check(path: Path, target: str, provider: str) -> Told:
    if provider == CPU:
        return check_form(str(path), target, provider)
    try:
        return child.call("rr_runtime.form_check:check_form", path=str(path), target=target, provider=provider)
    except RuntimeFailure as error:  # the provider crashed
        return _failed([], error)
