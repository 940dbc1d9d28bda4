"""Targets on the inputs that users have: values of the paths that a target has, beside those of the bundle's model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.bundle.bundle_writer import sha256_of
from rr_export.bundle.file_names import MANIFEST
from rr_export.parity.compare import Arrays
from rr_export.parity.data_check import Spread, check_data
from rr_export.parity.file_worker import file_worker
from rr_export.parity.subject import File, Original
from rr_export.parity.target_file import TargetFile
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_export.targets.sizes import cut_to_sizes
from rr_runtime import Session


@dataclass(frozen=True)
class OpensTarget:
    """Opens a target and the bundle's own model, with one thread each.

    Attributes:
        folder: of the bundle.
        name: of the target.
        provider: where the target runs.
    """

    folder: Path
    name: str
    provider: str

    def __call__(self) -> tuple[File, TargetFile]:
        """Returns the bundle's own file, and the target."""
        bundle = load(self.folder)
        session = Session(self.folder, provider=self.provider, target=self.name, threads=1)
        return File(self.folder, bundle, threads=1), TargetFile(session, bundle.plan)


def check_target_data(
    bundle: Bundle,
    original: File,
    opens: OpensTarget,
    data: Sequence[Arrays],
    terms: Terms,
    *,
    jobs: int | None = None,
    results: Path | None = None,
) -> Check:
    """Compares a target with the bundle's own model on the inputs that users have.

    Args:
        bundle: the bundle.
        original: its own file.
        opens: opens the target.
        data: arrays by input name, each item checked already; they are cut into pieces of the target's sizes.
        terms: what counts as equal for this target.
        jobs: how many processes compare.
        results: the file that keeps what they find.
    """
    target = bundle.targets[opens.name]
    rows = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    sizes = target.about.get("sizes", {})

    def references() -> Iterator[Original]:
        for item in data:
            for piece in cut_to_sizes(item, rows, sizes) if sizes else [item]:
                yield Original(original, piece)

    file = TargetFile(Session(opens.folder, provider=opens.provider, target=opens.name), bundle.plan)
    of = "" if results is None else f"{sha256_of(opens.folder / MANIFEST)} {opens.name} {opens.provider}"
    spread = Spread(jobs, results, of, elsewhere=file_worker(opens, terms))
    paths = [tuple(row["path"]) for row in target.about.get("paths", ())]
    check = check_data(references(), file, terms, paths=paths, spread=spread)
    return replace(check, name=f"target {opens.name}, data")
