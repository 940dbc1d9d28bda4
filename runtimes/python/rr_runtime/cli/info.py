"""``rr-runtime info``: what is in a bundle."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rr_runtime.bundle import Bundle, open_bundle
from rr_runtime.cli.outcome import Outcome
from rr_runtime.golden import forms_of_cases
from rr_runtime.profile import Measured, Profile, figures, law_in_short
from rr_runtime.site_law import Site
from rr_runtime.text_table import columns
from rr_runtime.tools.timing import Tell

PATHS = 8  # of frozen paths that are shown


def info(bundle: Path, *, progress: Tell | None = None) -> Outcome:
    """Returns what a bundle says about itself; its files are what their recorded hashes say.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    found = describe(open_bundle(bundle))
    return Outcome(found, lambda: _text(found))


def describe(bundle: Bundle) -> dict[str, Any]:
    """Returns what a bundle says about itself (JSON-ready)."""
    told = bundle.manifest
    return {
        "tool": "info",
        "bundle": str(bundle.path),
        "interface": told.interface,
        "own_model": bundle.model is not None,
        "opset": told.opset,
        "inputs": [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in told.inputs],
        "outputs": [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in told.outputs],
        "axes": {name: list(bounds) for name, bounds in told.axes.items()},
        "sites": [_site(site) for site in told.sites],
        "profiles": [_profile(profile, told.sites) for profile in told.profiles.values()],
        "targets": [
            {
                "name": target.name,
                "provider": target.provider,
                "form": target.form,
                "precision": target.precision,
                "interface": target.interface,
                "sizes": dict(target.sizes),
                "paths": len(target.paths),
                "tolerance": {"rtol": target.rtol, "atol": target.atol, "share": target.share},
            }
            for target in told.targets.values()
        ],
        "tolerance": {"rtol": told.rtol, "atol": told.atol},
        "golden": [
            {
                "case": number,
                "why": case.why,
                "seed": case.seed,
                "path": None if case.taken is None else list(case.taken),
                "forms": forms,
            }
            for number, (case, forms) in enumerate(zip(told.golden, forms_of_cases(bundle), strict=True))
        ],
        "uncovered": uncovered(bundle),
        "unseen_conditions": list(told.unseen_conditions),
        "pruned": None if told.pruned is None else {**asdict(told.pruned), "summary": told.pruned.summary()},
        "files": {name: record.bytes for name, record in sorted(told.files.items())},
        "producer": dict(told.producer),
    }


def uncovered(bundle: Bundle) -> list[str]:
    """Returns the branches that no golden case takes, as ``site: branch``; none of a bundle without golden cases."""
    told = bundle.manifest
    taken = {(i, k) for case in told.golden if case.taken is not None for i, k in enumerate(case.taken)}
    return [
        f"{site.name}: {name}"
        for i, site in enumerate(told.sites)
        for k, name in enumerate(site.branches)
        if told.golden and site.calls and (i, k) not in taken
    ]


def _site(site: Site) -> dict[str, Any]:
    policy = site.policy
    return {
        "name": site.name,
        "kind": site.kind,
        "branches": list(site.branches),
        "law": policy.type,
        "probabilities": [list(row) for row in policy.probabilities],
        "chain": policy.chain,
        "step": policy.step,
        "decision": policy.decision,
        "inside": [[list(pair) for pair in call] for call in site.calls],
    }


def _profile(profile: Profile, own: tuple[Site, ...]) -> dict[str, Any]:
    return {
        "name": profile.name,
        "law": law_in_short(profile, own),
        "path": None if profile.path is None else list(profile.path),
        "sites": [
            {key: told[key] for key in ("name", "law", "probabilities", "chain", "step")}
            for told in map(_site, profile.sites)
        ],
        "measured": None if profile.measured is None else asdict(profile.measured),
    }


def _text(found: dict[str, Any]) -> str:
    model = "" if found["own_model"] else "; targets only, without the routed model"
    parts = [f"{found['bundle']}: interface {found['interface']}, opset {found['opset']}{model}"]
    for side in ("inputs", "outputs"):
        rows = [(row["name"], row["dtype"], _shape(row["shape"])) for row in found[side]]
        parts.append(columns((side[:-1], "dtype", "shape"), rows))
    if found["axes"]:
        parts.append("\n".join(f"axis {name}: {_bounds(*bounds)}" for name, bounds in found["axes"].items()))
    if found["sites"]:
        parts.append(columns(("site", "kind", "branches and their probabilities"), [_row(s) for s in found["sites"]]))
    if found["pruned"]:
        parts.append(f"pruned {found['pruned']['summary']}")
    if found["profiles"]:
        measured = [None if p["measured"] is None else Measured(**p["measured"]) for p in found["profiles"]]
        laws = [(p["name"], *figures(m), p["law"]) for p, m in zip(found["profiles"], measured)]  # noqa: B905
        parts.append(columns(("profile", "cost", "quality", "spread", "metric", "law"), laws))
    if found["targets"]:
        head = ("target", "for", "form", "precision", "fixed sizes")
        targets = [
            (t["name"], t["provider"], _form(t), t["precision"], ", ".join(f"{n}={s}" for n, s in t["sizes"].items()))
            for t in found["targets"]
        ]
        parts.append(columns(head, targets))
    parts.append(_golden(found))
    if found["uncovered"]:
        parts.append(f"branches that no golden case takes: {', '.join(found['uncovered'])}")
    if found["unseen_conditions"]:
        parts.append(f"ways of conditions that no golden case went: {', '.join(found['unseen_conditions'])}")
    if found["files"]:
        parts.append(columns(("file", "bytes"), list(found["files"].items())))
    parts.append("made by " + ", ".join(f"{name} {version}" for name, version in found["producer"].items()))
    return "\n\n".join(parts)


def _golden(found: dict[str, Any]) -> str:
    """The golden cases; which form runs which, where not every form runs all."""
    if not found["golden"]:
        return "no golden cases: nothing can be checked"
    forms = len(found["targets"]) + found["own_model"]
    told = any(len(case["forms"]) != forms for case in found["golden"])
    rows = [
        (
            case["case"],
            "-" if case["path"] is None else _shape(case["path"]),
            *([", ".join(case["forms"]) or "no form"] * told),
            case["why"],
        )
        for case in found["golden"]
    ]
    return columns(("golden case", "path", *(["runs on"] * told), "why"), rows)


def _row(site: dict[str, Any]) -> tuple[str, str, str]:
    if site["decision"] is not None:
        return site["name"], site["kind"], f"{', '.join(site['branches'])} by the input ({site['decision']})"
    if len(site["probabilities"]) == 1:
        named = zip(site["branches"], site["probabilities"][0])  # noqa: B905
        told = ", ".join(f"{name} {p:.4g}" for name, p in named)
    else:
        told = f"{', '.join(site['branches'])} (step {site['step']} of chain {site['chain']})"
    return site["name"], site["kind"], told


def _form(target: dict[str, Any]) -> str:
    if target["form"] == "frozen":
        return f"frozen, {target['paths']} paths"
    return f"{target['form']}, {target['interface']}" if target["interface"] else str(target["form"])


def _shape(shape: list[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _bounds(least: int | None, most: int | None) -> str:
    return " and ".join([f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)) or "any"
