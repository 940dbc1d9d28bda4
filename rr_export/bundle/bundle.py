"""The bundle: model, manifest, golden cases and parity report, in memory and as the folder that is shipped."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.bundle.atomic_write import (
    alone_in,
    move_into_place,
    put_file,
    scratch_folder,
    writable,
    write_atomically,
)
from rr_export.bundle.bundle_writer import (
    FileRows,
    check_replaceable,
    fitting_cases,
    holds,
    read_card,
    serialized,
    write_folder,
)
from rr_export.bundle.card import CardFacts, merge_card, unproven_parts, write_card
from rr_export.bundle.contents import GoldenCase, HubFiles, TargetFiles
from rr_export.bundle.file_names import CARD, COMPANIONS, HUB, PARITY
from rr_export.bundle.graph_costs import count_costs
from rr_export.bundle.graph_work import sizes_taken
from rr_export.bundle.manifest import METADATA_KEY, manifest_text, read_plan
from rr_export.bundle.places import check_one_file
from rr_export.bundle.weights import EXTERNAL_ABOVE, inlined, shared_with_torch, weight_bytes
from rr_export.errors import BundleError
from rr_export.laws.costs import Costs
from rr_export.laws.plan import Plan
from rr_export.laws.profile import Profile, profile_of
from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.profile import Measured
from rr_runtime.strict_json import strict_json


@dataclass
class Bundle:
    """An exported model with everything needed to run and to re-prove it.

    Attributes:
        model: the ONNX model.
        manifest: what it says about itself (JSON-ready).
        golden: runs of the eager model to compare with.
        targets: other forms of the model, by name.
        parity: the JSON of the last ``verify``, or None.
        path: the folder it was loaded from or last saved to, or None.
        profiles: other laws over its sites, by name.
    """

    model: ir.Model
    manifest: dict[str, Any]
    golden: Sequence[GoldenCase] = ()
    targets: Mapping[str, TargetFiles] = field(default_factory=dict)
    parity: dict[str, Any] | None = None
    path: Path | None = field(default=None)
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._exported = shared_with_torch(self.model)  # the model may be trained on in the same memory

    @property
    def plan(self) -> Plan:
        """The sites with their policies."""
        return read_plan(self.manifest)

    def costs(self, unit: str = "flops", *, sizes: Mapping[str, int] | None = None) -> Costs:
        """Returns what paths cost, counted in the graph.

        Args:
            unit: "flops": multiply-adds times two of matrix products and convolutions; "parameters": numbers that are
                read, each once; "bytes": what these take.
            sizes: sizes of dynamic axes by name, for counting FLOPs; 1 for "batch", else 64, where not given.

        Raises:
            ValueError: there is no such unit or axis, or no one site decides on a part of it, as where two sites share
                a weight.
        """
        return count_costs(self.model, self.plan, unit, sizes_taken(self.manifest, sizes))

    def with_profile(
        self, name: str, law: Plan | Sequence[int] | NDArray[np.int64], *, measured: Measured | None = None
    ) -> Bundle:
        """Returns the bundle with one more profile, or another one of that name; model and targets stay.

        Args:
            name: what a run asks for.
            law: the plan with other policies (``plan.with_policies``), or one path, int [S] with -1
                where a site is not reached.
            measured: its quality and cost, which put it on the menu.

        Raises:
            TypeError: what was measured is no ``rr_runtime.profile.Measured``.
            ValueError: the name is empty, the law is over other sites, or the path is none that a run reports.
            BundleError: runs of this interface take no path.
        """
        if not name or not isinstance(name, str):
            raise ValueError(f"profile: expected a name, got {name!r}; give one such as 'fast'")
        if measured is not None and not isinstance(measured, Measured):
            raise TypeError(
                f"measured: expected Measured(cost, quality, spread, metric), got {type(measured).__name__}; make one, "
                "or take rr.evaluate(...).measured(costs)"
            )
        if self.manifest["interface"] not in ("explicit", "host"):
            raise BundleError(
                f"profile: expected a model whose runs take a path, got interface {self.manifest['interface']!r}; "
                "export it with interface='explicit'"
            )
        return replace(self, profiles={**self.profiles, name: profile_of(self.plan, law, measured)}, path=None)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        external_data: bool | None = None,
        only: Collection[str] = (),
        overwrite: bool = False,
        around: HubFiles | None = None,
    ) -> Path:
        """The bundle is at ``path``: a folder, or one file where the name ends in ``.onnx``.

        Everything is written beside its place first and then moved there in one step; a link is followed. Where several
        processes save to one place, each one's bundle is whole: the last one stays.

        Args:
            path: the folder or file.
            external_data: weights in a file of their own (mapped at load time), which all targets share; None: above
                1.5 GB, and where there are targets.
            only: write these targets alone, without the routed model, and of the golden cases those that one of them
                can run: enough for a device.
            overwrite: replace an earlier bundle (never another folder). What was written into its card (README.md)
                outside of the marks there is kept.
            around: what makes it a folder in the layout of Hugging Face: the bundle is then in its folder ``onnx``.

        Raises:
            ValueError: ``only`` names a target that the bundle has not; ``around`` a file of no such folder.
            BundleError: something else is there, nothing can be written there, or one file cannot hold the weights.
        """
        if not os.fspath(path):
            raise BundleError("save: expected the name of a folder or of an .onnx file, got an empty text; name one")
        for name in set(only) - set(self.targets):
            known = ", ".join(self.targets) or "none"
            raise ValueError(f"only: expected targets of the bundle ({known}), got {name!r}; package it first")
        unknown = sorted(set(around.files if around else ()) - set(COMPANIONS))
        if unknown:
            raise ValueError(f"around: expected names among {', '.join(COMPANIONS)}, got {unknown}; leave them away")
        place = Path(path) if Path(path).name and not os.path.islink(path) else Path(os.path.realpath(path))
        if around is not None and place.suffix == ".onnx":
            raise ValueError(
                f"around: expected a folder beside it, got the name of one file, {place}; save to a folder"
            )
        external = self._external() if external_data is None else external_data
        with writable(place):
            if place.suffix == ".onnx":
                self._save_file(place, external, overwrite)
            else:
                self._save_folder(place, external, only, overwrite, around)
        if not only:
            self.path = place if around is None else place / HUB
        return place

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yields the bundle as a folder: where it is saved, or a temporary one for the time of the block."""
        if self.path is not None:
            yield self.path
            return
        mapped = sys.platform == "win32"  # which removes no file that a session or an array still reads
        with tempfile.TemporaryDirectory(prefix="rr_export.", ignore_cleanup_errors=mapped) as scratch:
            self._write(Path(scratch), self._external())
            yield Path(scratch)

    def write_parity(self, report: dict[str, Any]) -> None:
        """The bundle carries ``report``; where it is saved, the file beside the model is replaced atomically."""
        self.parity = report
        if self.path is not None and self.path.is_dir():
            write_atomically(self.path / PARITY, strict_json(report, indent=1).encode())
            self.renew_card()

    @property
    def card_folder(self) -> Path | None:
        """Where the card of the saved bundle is: in its folder, or, in the layout of Hugging Face, around it."""
        if self.path is None or not self.path.is_dir():
            return None
        around = self.path.name == HUB and read_card(self.path) is None
        return self.path.parent if around else self.path

    def renew_card(self) -> None:
        """The card of a saved bundle tells what is there; one that was changed between its marks stays: it warns."""
        place = self.card_folder
        earlier = None if place is None else read_card(place)
        if place is None or earlier is None:
            return
        try:
            card = merge_card(self._card(place.absolute(), "" if place == self.path else HUB), earlier, place)
        except BundleError as error:
            warnings.warn(f"{error}; the card stays as it was", stacklevel=3)
        else:
            write_atomically(place / CARD, card.encode())

    def __repr__(self) -> str:
        """Shows where it is and what it has; neither its graph nor its arrays."""
        said = [f"{len(self.manifest['sites'])} sites", f"interface {self.manifest['interface']}"]
        said += [f"targets {list_few(self.targets)}"] if self.targets else []
        said += [f"profiles {list_few(self.profiles)}"] if self.profiles else []
        said += [f"{len(self.golden)} golden cases"] if self.golden else []
        same = None if self.parity is None else bool(self.parity.get("passed"))
        unproven = [] if self.parity is None else unproven_parts(self.targets, self.profiles, self.parity)
        later = f", but for {list_few(unproven)}" if unproven else ""
        said.append({None: "not verified", True: f"verified{later}", False: "NOT the same model"}[same])
        return cut_to_line(f"Bundle({', '.join(said)}; {self.path or 'not saved'})")

    def _external(self) -> bool:
        return bool(self.targets) or weight_bytes(self.model) > EXTERNAL_ABOVE

    def _save_folder(
        self, place: Path, external: bool, only: Collection[str], overwrite: bool, around: HubFiles | None
    ) -> None:
        with scratch_folder(place) as scratch:
            inner, beside = ("", {}) if around is None else (HUB, around.files)
            (scratch / inner).mkdir(exist_ok=True)
            for name, content in beside.items():
                (scratch / name).write_bytes(content)
            files = self._write(scratch / inner, external, only)
            with alone_in(place.parent):
                same = all(_content(place / name) == content for name, content in beside.items())
                if not (same and holds(place / inner, files, like=scratch / inner)):
                    check_replaceable(place, overwrite=overwrite)
                    card = merge_card(self._card(place, inner, around, only), read_card(place), place)
                    (scratch / CARD).write_text(card, encoding="utf-8")
                    move_into_place(scratch, place)

    def _card(self, place: Path, inner: str, around: HubFiles | None = None, only: Collection[str] = ()) -> str:
        targets = self._forms(only)
        facts = CardFacts(
            model=self.model,
            plan=self.plan,
            manifest=self.manifest,
            targets={name: target.about for name, target in targets.items()},
            parity=self.parity,
            profiles=self.profiles,
            own_model=not only,
            replayed=bool(fitting_cases(self.golden, self.manifest, targets) if only else self.golden),
        )
        return write_card(facts, name=place.name, inside=inner, front=around.front if around else {})

    def _forms(self, only: Collection[str]) -> dict[str, TargetFiles]:
        return {name: target for name, target in self.targets.items() if not only or name in only}

    def _save_file(self, place: Path, external: bool, overwrite: bool) -> None:
        if place.is_dir():
            raise BundleError(
                f"{place}: expected a place for one file, as its name ends in .onnx, got a folder; save to another name"
            )
        check_one_file(place, targets=self.targets, external=external, profiles=self.profiles)
        self._check_weights()
        content = serialized(inlined(self._stamped()))
        place.parent.mkdir(parents=True, exist_ok=True)
        with alone_in(place.parent):
            if place.exists() and not overwrite and place.read_bytes() != content:
                raise BundleError(
                    f"{place}: expected no such file, got one with other content; choose another name, or pass "
                    "overwrite=True (--overwrite)"
                )
            put_file(place, content)

    def _check_weights(self) -> None:
        now = shared_with_torch(self.model) if self._exported else {}
        for name, content in self._exported.items():
            if now.get(name, content) != content:
                raise BundleError(
                    f"save: expected the weights that were exported, got other numbers in {name!r}, which was changed "
                    "in place since; save the bundle before the model is trained on, or export again"
                )

    def _stamped(self) -> ir.Model:
        self.model.metadata_props[METADATA_KEY] = manifest_text(self.manifest)
        return self.model

    def _write(self, folder: Path, external: bool, only: Collection[str] = ()) -> FileRows:
        """The folder holds the bundle, or some of its targets alone; returns what its manifest records of each file."""
        self._check_weights()
        model = None if only else self._stamped()
        targets = self._forms(only)
        golden = fitting_cases(self.golden, self.manifest, targets) if only else self.golden
        told = self.manifest, golden, targets, self.profiles, self.parity
        return write_folder(folder, model, *told, external=external)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
