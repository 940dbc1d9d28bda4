"""What every execution provider is here, and what it would do with a bundle."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from rr_runtime.bundle import open_bundle
from rr_runtime.errors import RuntimeFailure
from rr_runtime.plugins import PLUGINS, installed_plugins
from rr_runtime.providers import PROBE, REMOTE, create_session, find_provider, short_name
from rr_runtime.session import Session
from rr_runtime.target import DEFAULT
from rr_runtime.tools import child
from rr_runtime.tools.advice import Warning, advise
from rr_runtime.tools.assignment import assignment, quiet_options
from rr_runtime.tools.inputs import timed_inputs
from rr_runtime.tools.known import BY_NAME, KNOWN
from rr_runtime.tools.machine import about_machine, distribution
from rr_runtime.tools.opening import check_targets
from rr_runtime.tools.timing import Tell

BUILT_IN, PLUGIN = "built in", "plugin"


def doctor(
    bundle: Path | None, *, providers: Sequence[str] = (), target: str | None = None, progress: Tell | None = None
) -> dict[str, Any]:
    """Returns one entry per known provider (JSON-ready); each that is here is tried in a process of its own.

    Args:
        bundle: a bundle folder or model file to try them with, or None.
        providers: short names of the providers to ask about; all where it is empty.
        target: which form of the model; None: the one that a session would take.
        progress: told (provider, done, total).

    Raises:
        BundleError: the bundle is damaged.
        ProviderError: a name in ``providers`` is of no provider.
        ValueError: the bundle has no such target, or a target is named without a bundle.
    """
    if bundle is not None:
        check_targets(open_bundle(bundle), [target])  # one error now, not one for each provider
    elif target is not None:
        raise ValueError(f"target: expected a bundle beside it, got {target!r} alone; name the bundle")
    here = _present()
    names = [known.name for known in KNOWN] + sorted(name for name in here if name not in BY_NAME)
    for name in providers:
        if name not in names:
            find_provider(name)
    chosen = [name for name in names if not providers or name in providers]
    entries = []
    for number, name in enumerate(chosen):
        if progress is not None and name in here:
            progress(name, number, len(chosen))
        entries.append(_entry(name, here, bundle, target))
    return {
        "tool": "doctor",
        "bundle": None if bundle is None else str(bundle),
        "machine": about_machine(),
        "providers": entries,
        "holds": all(entry["bundle"] is None or entry["bundle"]["holds"] for entry in entries),
    }


def examine(provider: str, bundle: str | None, target: str | None) -> dict[str, Any]:
    """Returns whether a provider works in this process, and what it does with the bundle (JSON-ready)."""
    logger = logging.getLogger("rr_runtime")
    level = logger.level
    logger.setLevel(logging.ERROR)  # what it would say is in the result
    try:
        return _examine(provider, bundle, target)
    finally:
        logger.setLevel(level)


def _examine(provider: str, bundle: str | None, target: str | None) -> dict[str, Any]:
    try:
        create_session(PROBE, find_provider(provider), quiet_options(None), reseed=False)
    except RuntimeFailure as error:
        return {"available": False, "why": str(error), "bundle": None}
    found = None if bundle is None else _examine_bundle(provider, Path(bundle), target)
    return {"available": True, "why": "", "bundle": found}


def _examine_bundle(provider: str, path: Path, asked: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "target": asked or DEFAULT,
        "form": None,
        "precision": None,
        "opens": False,
        "nodes": None,
        "told_by": None,
        "whole": None,
        "golden": None,
        "error": "",
        "warnings": [],
        "holds": False,
    }
    try:
        session = Session(path, provider=provider, target=asked, session_options=quiet_options(None))
    except (RuntimeFailure, ValueError) as error:
        return found | {"error": str(error)}
    bundle = open_bundle(path)
    target = bundle.manifest.targets.get(session.target)
    form = "routed" if target is None else target.form
    interface = bundle.manifest.interface if target is None else target.interface
    found |= {"target": session.target, "form": form, "interface": interface, "opens": True}
    found["precision"] = None if target is None else target.precision
    warnings: list[Warning] = []
    if not bundle.manifest.golden or (interface == "standalone" and target is None):
        why = "a standalone file draws by itself" if bundle.manifest.golden else "the bundle has no golden cases"
        warnings.append(Warning("golden", f"outputs were not compared: {why}", "rr-export verify does it"))
        found["holds"] = True
    else:
        try:
            found["golden"] = session.check()
            found["holds"] = True
        except RuntimeFailure as error:
            found["error"] = str(error)
    del session
    try:
        feeds = timed_inputs(bundle, [target]) if bundle.manifest.golden and path.is_dir() else None
        placed = assignment(bundle, target, provider, feeds)
        found |= {"nodes": placed.count(), "told_by": placed.told_by}
        names = [bundle.manifest.sites[site].name for site in placed.whole]
        found["whole"] = names if placed.parts_told and placed.nodes else None
        warnings = advise(bundle, target, provider, placed) + warnings
    except RuntimeFailure as error:
        found |= {"error": found["error"] or f"nodes: {error}", "holds": False}
    found["warnings"] = [warning.to_json() for warning in warnings]
    return found


def _entry(name: str, here: dict[str, tuple[str, str]], bundle: Path | None, target: str | None) -> dict[str, Any]:
    known = BY_NAME.get(name)
    entry: dict[str, Any] = {
        "name": name,
        "hardware": known.hardware if known else "",
        "install": known.install if known else "a build of onnxruntime that has it",
        "kind": None,
        "package": None,
        "version": None,
        "available": False,
        "why": "",
        "bundle": None,
    }
    if name not in here:
        return entry | {"why": "not in this onnxruntime, and no plugin brings it"}
    kind, package = here[name]
    entry |= {"kind": kind, "package": package, "version": _version(package)}
    text = None if bundle is None else str(bundle)
    try:
        return entry | child.call("rr_runtime.tools.doctor:examine", provider=name, bundle=text, target=target)
    except RuntimeFailure as error:
        return entry | {"why": str(error)}


def _present() -> dict[str, tuple[str, str]]:
    """Kind and package of the providers that onnxruntime was built with, or that a plugin brings."""
    package = distribution()
    found = {short_name(name): (BUILT_IN, package) for name in onnxruntime.get_available_providers() if name != REMOTE}
    for name in installed_plugins():
        found.setdefault(short_name(name), (PLUGIN, PLUGINS[name][1]))
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(onnxruntime.__version__)
