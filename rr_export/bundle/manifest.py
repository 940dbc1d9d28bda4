"""What a bundle says about itself: the manifest, from a plan and back (format: ``runtimes/SPEC.md``)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rr_export.errors import BundleError
from rr_export.laws.plan import Plan, Site
from rr_export.laws.policies import Categorical, Gated, Markov, MarkovStep, Policy
from rr_export.laws.profile import Profile
from rr_runtime.manifest import MOST_BYTES, MOST_SITES, Manifest
from rr_runtime.profile import Measured

FORMAT, VERSION, METADATA_KEY = "rr.manifest", 1, "rr.manifest"

TensorRow = tuple[str, str, Sequence[int | str]]  # name, dtype, shape


def write_manifest(
    plan: Plan,
    *,
    interface: str,
    opset: int,
    inputs: Sequence[TensorRow],
    outputs: Sequence[TensorRow],
    producer: Mapping[str, str],
    rtol: float = 1e-4,
    atol: float = 1e-5,
    idle: Sequence[str] = (),
    axes: Mapping[str, tuple[int | None, int | None]] | None = None,
    training_routes: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the manifest as a JSON-ready dictionary.

    Args:
        plan: the sites.
        interface: of the file.
        opset: of the file.
        inputs: the user's inputs.
        outputs: the user's outputs.
        producer: names and versions of what made the file.
        rtol: relative tolerance of its outputs.
        atol: absolute tolerance.
        idle: names of sites that are called, but whose results nobody reads: they have no ``If``.
        axes: least and largest size of dynamic axes that the model bounds.
        training_routes: paths of the modules that decide as in training.
    """
    policies = _write_policies(plan)
    return {
        "format": FORMAT,
        "version": VERSION,
        "interface": interface if plan.sites else "plain",
        "opset": opset,
        "generator": "splitmix64",
        "sites": [
            {
                "name": site.name,
                "kind": site.kind,
                "branches": list(site.branches),
                "calls": [[list(pair) for pair in call] for call in site.calls],
                "policy": policy,
            }
            for site, policy in zip(plan.sites, policies, strict=True)
        ],
        "inputs": [{"name": n, "dtype": d, "shape": list(s)} for n, d, s in inputs],
        "outputs": [{"name": n, "dtype": d, "shape": list(s)} for n, d, s in outputs],
        "idle": list(idle),
        "axes": {name: list(bounds) for name, bounds in (axes or {}).items()},
        "tolerances": {"rtol": rtol, "atol": atol},
        "producer": dict(producer),
        **({"training_routes": list(training_routes)} if training_routes else {}),
    }


def manifest_text(told: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Returns the manifest as text.

    Raises:
        BundleError: it has more sites, or is longer, than a runtime reads.
    """
    text = json.dumps(told, indent=indent)
    if len(told["sites"]) > MOST_SITES or len(text) > MOST_BYTES:
        raise BundleError(
            f"manifest: expected at most {MOST_SITES} sites and {MOST_BYTES} bytes, got {len(told['sites'])} sites and "
            f"{len(text)} bytes; route fewer layers, or package fewer targets"
        )
    return text


def read_plan(manifest: Mapping[str, Any]) -> Plan:
    """Returns the plan that a manifest describes."""
    sites = manifest["sites"]
    policies = _read_policies([site["policy"] for site in sites], [len(site["branches"]) for site in sites])
    return Plan(
        [
            Site(
                site["name"],
                tuple(site["branches"]),
                policy,
                site["kind"],
                tuple(tuple((int(s), int(k)) for s, k in call) for call in site["calls"]),
            )
            for site, policy in zip(sites, policies, strict=True)
        ]
    )


def write_profile(profile: Profile) -> dict[str, Any]:
    """Returns what the manifest says about a profile."""
    told: dict[str, Any] = {}
    if profile.law is not None:
        told["policies"] = _write_policies(profile.law)
    if profile.path is not None:
        told["path"] = list(profile.path)
    return told | ({} if profile.measured is None else {"measured": asdict(profile.measured)})


def law_digest(told: Mapping[str, Any]) -> str:
    """Returns what tells the law of a profile from others, from what a manifest says of it.

    That is what decides on routes: thresholds and chains, or the path; not what was measured.
    """
    rows = [{key: row[key] for key in sorted(row) if key != "probabilities"} for row in told.get("policies", ())]
    return hashlib.sha256(json.dumps([told.get("path"), rows]).encode()).hexdigest()[:16]


def read_profile(told: Mapping[str, Any], plan: Plan) -> Profile:
    """Returns the profile that a manifest describes."""
    law = (
        plan.with_policies(_read_policies(told["policies"], [len(s.branches) for s in plan.sites]))
        if "policies" in told
        else None
    )
    path = tuple(told["path"]) if "path" in told else None
    row = told.get("measured")
    measured = None if row is None else Measured(*(row[key] for key in ("cost", "quality", "spread", "metric")))
    return Profile(law, path, measured)


def as_runtime_reads(manifest: Mapping[str, Any], profiles: Mapping[str, Profile]) -> Manifest:
    """Returns what a runtime makes of a manifest with these profiles."""
    told = {name: write_profile(profile) for name, profile in profiles.items()}
    return Manifest.parse({**manifest, "profiles": told})


def _write_policies(plan: Plan) -> list[dict[str, Any]]:
    chains = {site: number for number, chain in enumerate(plan.chains) for site in chain}
    return [_write_policy(site.policy, chains.get(i, 0)) for i, site in enumerate(plan.sites)]


def _write_policy(policy: Policy, chain: int) -> dict[str, Any]:
    if isinstance(policy, Gated):
        return {"type": "gate", "decision": policy.decision}
    written = {
        "type": "categorical",
        "probabilities": policy.table.tolist(),
        "thresholds": policy.thresholds.astype(float).tolist(),
    }
    if isinstance(policy, MarkovStep):
        written |= {"type": "markov", "chain": chain, "step": policy.index}
    return written


def _read_policies(rows: Sequence[Mapping[str, Any]], branches: Sequence[int]) -> list[Policy]:
    """The policies of all sites, in site order, which have so many branches."""
    steps: dict[int, dict[int, Any]] = {}
    for row in rows:
        if row["type"] == "markov":
            steps.setdefault(row["chain"], {})[row["step"]] = row["probabilities"]
    chains = {
        number: Markov(tables[0][0], [tables[t] for t in range(1, len(tables))]) for number, tables in steps.items()
    }
    return [_read_policy(row, chains, count) for row, count in zip(rows, branches, strict=True)]


def _read_policy(policy: Mapping[str, Any], chains: Mapping[int, Markov], branches: int) -> Policy:
    if policy["type"] == "gate":
        return Gated(branches, policy["decision"])
    if policy["type"] == "markov":
        return chains[policy["chain"]].step(policy["step"])
    return Categorical(policy["probabilities"][0])
