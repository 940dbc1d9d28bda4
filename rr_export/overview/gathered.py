"""Everything that is known of a bundle, of itself and of files beside it, as sections."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.card import unproven_parts
from rr_export.overview.branch_worth import importance_section
from rr_export.overview.chain_steps import chain_section
from rr_export.overview.cost_curves import cost_section
from rr_export.overview.costs_known import known_costs
from rr_export.overview.given_files import read_given
from rr_export.overview.path_quality import quality_section
from rr_export.overview.proven import conformance_section, parity_section, survival_section
from rr_export.overview.section import Section
from rr_export.overview.site_map import model_section
from rr_export.quality.kept_results import ATTRIBUTION, FRONT
from rr_export.report.report import FORM as PARITY
from rr_export.sweep import FORMAT as SWEEP
from rr_export.tools.inspection import Inspection, inspect
from rr_runtime.one_line import list_few


@dataclass(frozen=True)
class Overview:
    """All that is known of a bundle.

    Attributes:
        name: what it is called.
        inspection: what was read off its file.
        verdict: what its last proof says, in words.
        passed: whether that holds; None where there is none, or parts were made since.
        made: what made the bundle, in words.
        sections: what is said of it, in the order in which it is read.
    """

    name: str
    inspection: Inspection
    verdict: str
    passed: bool | None
    made: str
    sections: tuple[Section, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns it as a JSON-ready dictionary: what ``inspect`` says, and the sections by their keys."""
        return {
            **self.inspection.to_json(),
            "proven": self.passed,
            "sections": {section.key: section.to_json() for section in self.sections},
        }


def overview_of(
    bundle: Bundle,
    files: Sequence[Path] = (),
    *,
    name: str,
    form: str | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Overview:
    """Returns all that is known of a bundle.

    Args:
        bundle: the bundle.
        files: figures that are not kept in it: what bench, search, verify --against, doctor and rr-runtime check write
            as JSON, the record of a search, a saved attribution.
        name: how commands name the bundle.
        form: which of several forms the costs of a bench are of.
        sizes: sizes of dynamic axes by name, for counting FLOPs.

    Raises:
        ValueError: a file cannot be read, is of another kind, or is one of another bundle.
        BundleError: what the bundle keeps of its proof is damaged.
    """
    given = read_given(files)
    found = inspect(bundle, sizes)
    plan = found.plan
    known = known_costs(bundle, given.one("bench"), form=form, sizes=found.sizes)
    called = shlex.quote(name)
    sections = [
        model_section(found, bundle.manifest, known.costs, known.source, name=name),
        cost_section(found, known, bundle.profiles, bundle=called),
    ]
    if plan.sites:
        sections += [
            quality_section(bundle, given.one(FRONT), given.one(SWEEP), known, name=name, called=called),
            importance_section(plan, given.one(ATTRIBUTION), bundle=called),
            chain_section(plan),
        ]
    broken = [check.rule for check in found.contract if not check.holds]
    contract = (
        f"The file breaks the graph contract: {'; '.join(broken)}." if broken else "The file keeps all its rules."
    )
    sections += [
        parity_section(bundle, name=called),
        survival_section(given.of(PARITY), name=called),
        conformance_section(given.of("doctor"), given.of("check"), name=called),
        Section("contract", "The graph contract", (contract,), (found.contract_table(),)),
    ]
    passed = None if bundle.parity is None else bool(bundle.parity.get("passed"))
    later = [] if bundle.parity is None else unproven_parts(bundle.targets, bundle.profiles, bundle.parity)
    words = {None: "not proven", True: "the same model", False: "NOT the same model"}[passed]
    words += f", but for {list_few(later)}" if later else ""
    made = ", ".join(f"{part} {told}" for part, told in bundle.manifest.get("producer", {}).items())
    return Overview(
        name,
        found,
        words,
        None if later and passed else passed,
        made,
        tuple(sections),
    )
