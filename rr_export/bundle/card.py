"""The model card of a bundle: README.md, for people and for the Hub.

What rr_export says of the bundle stands between two marks, of which the first carries a hash of it. What stands outside
of the marks is the user's, and is kept where the bundle is replaced or proven again; what was changed between them is
never lost without a word.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from rr_export.bundle.expected_cost import expected_cost
from rr_export.bundle.file_names import CARD
from rr_export.bundle.graph_work import sizes_taken
from rr_export.bundle.manifest import as_runtime_reads, law_digest, write_profile
from rr_export.errors import BundleError
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Gated, MarkovStep, Policy
from rr_export.laws.profile import Profile
from rr_runtime.profile import figures, law_in_short

MOST_SITES = 64  # that the table shows
_BEGIN, _END = "<!-- rr-export: begin ", "<!-- rr-export: end -->"
_CARD = re.compile(
    rf"(?P<before>.*?){re.escape(_BEGIN)}(?P<hash>[0-9a-f]{{16}})[^\n]*-->\n(?P<inside>.*?){re.escape(_END)}(?P<after>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class CardFacts:
    """What a card says of a bundle.

    Attributes:
        model: the routed model.
        plan: its sites.
        manifest: what the model says about itself.
        targets: what the manifest says of its other forms, by name.
        parity: the JSON of the last ``verify``, or None.
        profiles: other laws over its sites, by name.
        own_model: whether the folder has the routed model, or other forms alone.
        replayed: whether it has golden cases.
    """

    model: ir.Model
    plan: Plan
    manifest: Mapping[str, Any]
    targets: Mapping[str, Any]
    parity: Mapping[str, Any] | None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    own_model: bool = True
    replayed: bool = True


def write_card(facts: CardFacts, *, name: str, inside: str = "", front: Mapping[str, str] | None = None) -> str:
    """Returns the card of a bundle.

    Args:
        facts: what is said of it.
        name: of the folder.
        inside: the folder in it that holds the bundle, if it is not itself the bundle.
        front: more entries of the front matter, such as ``pipeline_tag``.
    """
    entries = {"library_name": "onnx", **(front or {})}
    tags = ["onnx", "rr-export"] + (["randomly-routed"] if facts.plan.sites else [])
    matter = [f"{key}: {value}" for key, value in entries.items()] + ["tags:"] + [f"- {tag}" for tag in tags]
    file = "/".join(filter(None, (inside, "model.onnx")))
    parts = [
        *_what(facts),
        *_sites(facts.plan),
        *_cost(facts),
        *_profiles(facts),
        *_targets(facts),
        *_how(facts, name, file),
        *_proof(facts, name),
    ]
    text = "\n".join(parts) + "\n"
    told = f"{_BEGIN}{_hash(text)}; what stands outside of these marks is yours, and is kept -->"
    return "\n".join(["---", *matter, "---", "", f"# {name}", "", told]) + f"\n{text}{_END}\n"


def merge_card(made: str, earlier: str | None, place: Path) -> str:
    """Returns the card with what the user wrote outside of the marks of an earlier one.

    Args:
        made: the new card.
        earlier: the card that it takes the place of, or None.
        place: the folder of that one, for the message.

    Raises:
        BundleError: the earlier one was changed between its marks.
    """
    if earlier is None:
        return made
    old, new = _CARD.fullmatch(earlier), _CARD.fullmatch(made)
    assert new is not None
    if old is None or _hash(old["inside"]) != old["hash"]:
        raise BundleError(
            f"{place / CARD}: expected the card that was written with the bundle, got one that was changed between its "
            "marks; move your text outside of them, where it is kept, or move the file away"
        )
    return old["before"] + made[new.end("before") : new.start("after")] + old["after"]


def is_card(text: str) -> bool:
    """Tells whether a text is a card of a bundle, changed or not."""
    return _CARD.fullmatch(text) is not None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _what(facts: CardFacts) -> list[str]:
    plan, manifest = facts.plan, facts.manifest
    paths = f"{len(plan.sites)} sites, {plan.path_count()} paths" if plan.sites else "no sites"
    rows = [
        ("inputs", ", ".join(_tensor(row) for row in manifest["inputs"])),
        ("outputs", ", ".join(_tensor(row) for row in manifest["outputs"])),
        ("interface, opset", f"{manifest['interface']}, {manifest['opset']}"),
    ][: 3 if facts.own_model else 2]
    # where there are other forms alone, an axis that all of them fix is of no other size
    fixed = [about.get("sizes", {}) for about in facts.targets.values()] if not facts.own_model else [{}]
    bounds = [
        f"{axis} {least or 0} to {most or '...'}"
        for axis, (least, most) in manifest.get("axes", {}).items()
        if not all(axis in sizes for sizes in fixed)
    ]
    rows += [("sizes", ", ".join(bounds))] if bounds else []
    pruned = as_runtime_reads(manifest, {}).pruned
    rows += [("pruned", pruned.summary())] if pruned is not None else []
    kind = "randomly routed model" if plan.sites else "model"
    form = "in one ONNX file" if facts.own_model else f"for {_providers(facts.targets)}, without its routed file"
    runs = (
        "In every run each site takes one of its branches, and only that is computed."
        if plan.sites
        else "It takes the same path in every run."
    )
    return [f"A {kind} {form}, made by rr-export: {paths}. {runs}", "", *_table(("", ""), rows)]


def _providers(targets: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(str(about["provider"]) for about in targets.values()))


def _tensor(row: Mapping[str, Any]) -> str:
    return f"`{row['name']}` {row['dtype']} [{', '.join(map(str, row['shape']))}]"


def _sites(plan: Plan) -> list[str]:
    if not plan.sites:
        return []
    laws = zip(plan.sites, plan.told_marginals(), plan.told_reached(), strict=True)
    rows = [
        (
            f"`{site.name}`",
            site.kind,
            ", ".join(site.branches if law is None else map("{} {:.3g}".format, site.branches, law)),
            _drawn(site.policy),
            "by the input" if reached is None else f"{reached:.3g}",
        )
        for site, law, reached in list(laws)[:MOST_SITES]
    ]
    more = [f"And {len(plan.sites) - MOST_SITES} more."] if len(plan.sites) > MOST_SITES else []
    head = ("site", "kind", "branches and their probabilities", "drawn", "P(reached)")
    return ["", "## Sites and law", "", *_table(head, rows), *more]


def _drawn(policy: Policy) -> str:
    """How the route of a site comes about."""
    if isinstance(policy, Gated):
        return f"by the input ({policy.decision})"
    return f"step {policy.index} of a chain" if isinstance(policy, MarkovStep) else "by itself"


def _cost(facts: CardFacts) -> list[str]:
    cost = expected_cost(facts.model, facts.plan, sizes_taken(facts.manifest))
    at = ", ".join(f"{name}={size}" for name, size in cost.sizes.items())
    rows = [
        (what, f"{total:,.0f}", f"{used:,.0f}", f"{used / total:.1%}" if total else "-")
        for what, total, used in (
            ("parameters", cost.parameters, cost.parameters_used),
            (f"FLOPs of products and convolutions{f' at {at}' * bool(at)}", cost.flops, cost.flops_used),
        )
    ]
    place = "in the file" if facts.own_model else "in the routed file"
    even = ["", "Every branch of a site whose route the input decides counts as equally likely."]
    table = _table(("", place, "used per run", "share"), rows)
    return ["", "## Expected cost of a run", "", *table, *(even if facts.plan.gates else [])]


def _profiles(facts: CardFacts) -> list[str]:
    if not facts.profiles:
        return []
    told = as_runtime_reads(facts.manifest, facts.profiles)
    rows = []
    for name, profile in told.profiles.items():
        cost, quality, spread, metric = figures(profile.measured)
        shown = "-" if profile.measured is None else f"{quality} ± {spread} ({metric})"
        rows.append((f"`{name}`", law_in_short(profile, told.sites), cost, shown))
    return ["", "## Profiles", "", *_table(("profile", "law", "expected cost", "quality"), rows)]


def _targets(facts: CardFacts) -> list[str]:
    if not facts.targets:
        return []
    rows = [
        (
            f"`{name}`",
            about["provider"],
            about["form"],
            about["precision"],
            ", ".join(f"{axis}={size}" for axis, size in about.get("sizes", {}).items()) or "-",
        )
        for name, about in facts.targets.items()
    ]
    title = "Other forms" if facts.own_model else "Forms"
    return ["", f"## {title}", "", *_table(("target", "for", "form", "precision", "fixed sizes"), rows)]


def _how(facts: CardFacts, name: str, file: str) -> list[str]:
    inputs = ", ".join(f"{row['name']!r}: ..." for row in facts.manifest["inputs"])
    told = facts.manifest["interface"] in ("explicit", "host") if facts.own_model else bool(facts.plan.sites)
    runs = ["print(session.run(inputs).path)  # a fresh path every run"] if told else []
    runs += ["session.run(inputs, seed=7)  # the same path on every machine"] if told else []
    runs += [f"session.run(inputs, path={_usual(facts)})  # exactly this path"] if told else []
    if facts.profiles and facts.own_model:
        runs.append(f"session.run(inputs, profile={next(iter(facts.profiles))!r})  # by that law")
    return [
        *("", "## How to run it", "", "Python, with `pip install rr-runtime` (numpy and onnxruntime, no torch):", ""),
        *("```python", "from rr_runtime import Session", "", f"session = Session({name!r})"),
        f"inputs = {{{inputs}}}",
        *(runs or ["session.run(inputs)"]),
        "```",
        *(_with_onnxruntime(facts, name, file) if facts.own_model else []),
        *("", "The command line:", "", "```bash"),
        *([f"rr-runtime run {name} --golden 0", f"rr-runtime check {name}"] if facts.replayed else []),
        f"rr-export inspect {name}" if facts.own_model else f"rr-runtime info {name}",
        "```",
    ]


def _usual(facts: CardFacts) -> list[int]:
    """The most probable path; of forms alone, one that the first of them has."""
    first: Mapping[str, Any] = {} if facts.own_model else next(iter(facts.targets.values()))
    frozen = first.get("paths", ())
    return list(max(frozen, key=lambda row: row["weight"])["path"] if frozen else facts.plan.evenly().most_probable())


def _with_onnxruntime(facts: CardFacts, name: str, file: str) -> list[str]:
    sites = len(facts.plan.sites)
    feeds = {
        "explicit": [f'feeds = inputs | {{"rr_seed": np.array(-1), "rr_path": np.full({sites}, -1)}}'],
        "host": [
            f'feeds = inputs | {{"rr_draws": np.random.rand({sites}).astype(np.float32), '
            f'"rr_path": np.full({sites}, -1)}}',
        ],
    }.get(str(facts.manifest["interface"]), ["feeds = inputs"])
    return [
        *("", "onnxruntime itself, in Python and alike in its other languages:", ""),
        *("```python", "import numpy as np", "import onnxruntime", ""),
        f'session = onnxruntime.InferenceSession("{name}/{file}")',
        *feeds,
        *("session.run(None, feeds)", "```"),
    ]


def unproven_parts(targets: Iterable[str], profiles: Mapping[str, Profile], parity: Mapping[str, Any]) -> list[str]:
    """Returns the targets and profiles that a proof has no point for, as such points are called: they came after it.

    A point of a profile says of which law it is: another law of the same name is not proven by it.
    """
    points = {check["name"]: check.get("figures", {}).get("law") for check in parity.get("checks", ())}
    parts = [f"target {name}" for name in targets if f"target {name}" not in points]
    laws = {f"profile {name}": law_digest(write_profile(profile)) for name, profile in profiles.items()}
    return parts + [part for part, law in laws.items() if points.get(part) != law]


def _proof(facts: CardFacts, name: str) -> list[str]:
    place = name if facts.own_model else "BUNDLE"
    subject = "" if facts.own_model else ", of the bundle that it was made from"
    if facts.parity is None:
        verified = f"Not verified yet: `rr-export verify {place} MODEL --record` compares it with its PyTorch model"
        return ["", "## Proof", "", f"{verified}{subject}."]
    verdict = "The same model" if facts.parity.get("passed") else "NOT the same model"
    later = unproven_parts(facts.targets, facts.profiles, facts.parity)
    proven = {f"profile {name}" for name in facts.profiles} - set(later)
    rows = [
        (c["name"], {True: "holds", False: "FAILS", None: "not tried"}[c.get("passed")], c.get("summary", ""))
        for c in facts.parity.get("checks", ())
        if c["name"] in proven or not c["name"].startswith("profile ")  # of laws that are gone nothing is said
    ]
    forms = [f"--target {name}" for name in facts.targets if f"target {name}" in later]
    whole = len(forms) < len(later)  # profiles are proven with the model alone
    proves = f"rr-export verify {place} {'MODEL' if whole else ' '.join(forms)}"
    return [
        *("", "## Proof", "", f"{verdict}, by the last `rr-export verify`{subject}:", ""),
        *_table(("point", "result", "how"), rows),
        *(["", f"Made after it: {', '.join(later)}. `{proves}` proves them."] if later else []),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    line = "|".join(["", *(f" {cell} " if cell else " " for cell in head), ""])
    return [
        line,
        "|" + "---|" * len(head),
        *("|".join(["", *(f" {_cell(cell)} " for cell in row), ""]) for row in rows),
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
