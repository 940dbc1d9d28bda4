"""Warnings about how a provider runs a form of a bundle, each with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rr_runtime.bundle import Bundle
from rr_runtime.target import Target
from rr_runtime.tools.assignment import Assignment
from rr_runtime.tools.known import BY_NAME

SLOW_FROM = {"cpu": 2, "xnnpack": 1, "qnn": 1}  # graphs between a large weight and its node, from which it matters


@dataclass(frozen=True)
class Warning:
    """What is not as it could be.

    Attributes:
        about: a word for what it is about: "target", "nodes", "copies", "outside", "weights", "whole", "savings".
        text: what was found.
        remedy: what to do.
    """

    about: str
    text: str
    remedy: str

    def to_json(self) -> dict[str, str]:
        """Returns the warning as a dictionary."""
        return asdict(self)


def advise(bundle: Bundle, target: Target | None, provider: str, found: Assignment) -> list[Warning]:
    """Returns what is to be said of the nodes and where they run, without timing anything."""
    sites = bundle.manifest.sites
    known = BY_NAME.get(provider)
    package = package_command(bundle, provider)
    warnings = []
    if target is None and known is not None and known.caution and sites:
        text = f"the bundle has no target {provider!r}, so its own model runs, and {known.caution}"
        warnings.append(Warning("target", text, package))
    count = found.count()
    if not found.parts_told or count is None:
        of = "how many nodes run on the provider" if count is None else "in which branches the nodes lie"
        why = "the files are in onnxruntime's own format, which does not say it"
        if found.parts_told:
            why = "this onnxruntime has no record of it, and there are no golden cases to run"
        warnings.append(Warning("told", f"{of} is not told: {why}", "look at the same form as .onnx, in a folder"))
    if provider != "cpu" and count is not None and not count.get(provider):
        remedy = f"{package}, or use provider='cpu'" if target is None and package else "use provider='cpu'"
        warnings.append(Warning("nodes", f"{provider} takes no node: everything runs on the CPU", remedy))
    if found.copies:
        text = f"{len(found.copies)} copies between devices are in the graph, and each waits for the device"
        remedy = package or "export with interface='host'"
        if target is not None:
            remedy = "package a form whose routes are computed on the host (interface gates), or frozen paths"
        warnings.append(Warning("copies", text, remedy))
    for site in sorted({site for _, site in found.outside}):
        names = [name for name, of in found.outside if of == site]
        warnings.append(
            Warning(
                "outside",
                f"site {sites[site].name!r}: {len(names)} nodes of its branches lie outside them ({some(names)}), and "
                "are computed in every run",
                "export again; do not use the tool that moved them",
            )
        )
    if target is None or target.form == "routed":
        warnings += _about_weights(bundle, provider, found)
    return warnings


def _about_weights(bundle: Bundle, provider: str, found: Assignment) -> list[Warning]:
    least = SLOW_FROM.get(provider)
    names = [bundle.manifest.sites[s].name for s, levels in found.weights_above if least and levels >= least]
    if not names:
        return []
    why = {
        "cpu": "they are not prepacked there: about 1.2 times slower",
        "xnnpack": "its Conv fails on such weights",
        "qnn": "it leaves such an If to the CPU",
    }[provider]
    text = f"weights are outside the branches that use them, at {some(names)}: {why}"
    return [Warning("weights", text, f"{package_command(bundle, provider)} (weights go into the branches)")]


def package_command(bundle: Bundle, provider: str) -> str:
    """Returns the command that makes a form for the provider, "" where none is declared."""
    options = BY_NAME[provider].package if provider in BY_NAME else ""
    return f"rr-export package {bundle.path} OUTPUT {options}" if options else ""


def some(names: Sequence[str]) -> str:
    """Returns the first three names in quotes, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(map(repr, names[:3]))}{more}"
