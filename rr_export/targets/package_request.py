"""What ``package`` is asked for: one object, checked as it is made, which every step of packaging is handed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.errors import PackageError
from rr_export.targets.frozen_paths import Metric
from rr_export.targets.provider_table import SHARES, ProviderNeeds, find_target
from rr_export.targets.sizes import check_sizes, symbolic_axes

Arrays = Mapping[str, NDArray[Any]]
FORMATS = ("onnx", "ort")
ASKED_FORMS = ("routed", "segments")  # in place of a provider's own; frozen paths are asked for by their number
ACTIVATION_BITS = {"qdq": 8, "qdq16": 16}  # of the precisions that need calibration and a static form


@dataclass(frozen=True)
class PackageRequest:
    """One target that a bundle is asked to hold.

    Attributes:
        bundle: the bundle.
        needs: what the provider needs, in the form that is asked for.
        name: the target's name, which the bundle has not yet.
        frozen: the number of frozen paths that are asked for in place of that form, or None.
        best: what the frozen paths are best by, or None.
        sizes: sizes of symbolic axes to fix, by name.
        precision: "float32", "float16", "qdq" or "qdq16".
        calibration: inputs to calibrate with; None: those of the golden cases.
        format: "onnx" or "ort".
        golden: how many golden cases the target gets, or checked inputs to record them on; None: those that it needs.

    Raises:
        PackageError: the provider does not take such a form, or the name is taken.
        ValueError: a name or size is wrong.
    """

    bundle: Bundle
    needs: ProviderNeeds
    name: str
    frozen: int | None
    best: Metric | None
    sizes: Mapping[str, int]
    precision: str
    calibration: Sequence[Arrays] | None
    format: str
    golden: int | Sequence[Arrays] | None = None

    @classmethod
    def resolved(
        cls,
        bundle: Bundle,
        target: str,
        *,
        form: str | None,
        frozen: int | None,
        best: Metric | None,
        sizes: Mapping[str, int] | None,
        precision: str,
        calibration: Sequence[Arrays] | None,
        name: str | None,
        format: str,
    ) -> PackageRequest:
        """Returns the request that the arguments of ``package`` make, their defaults filled in.

        Raises:
            PackageError: the provider does not take such a form, or the name is taken.
            ValueError: there is no such target, an option would do nothing, or a name or size is wrong.
        """
        needs = find_target(target)
        if form is not None and frozen is not None:
            raise ValueError(f"form: expected None beside frozen, got {form!r}; frozen paths are a form of their own")
        if best is not None and frozen is None:
            raise ValueError("best: expected frozen=N beside it, got none; say how many paths")
        if calibration is not None and precision not in ACTIVATION_BITS:
            raise ValueError(
                f"calibration: expected precision 'qdq' or 'qdq16' beside it, got {precision!r}; leave it away"
            )
        return cls(
            bundle=bundle,
            needs=_with_form(needs, form),
            name=target if name is None else name,
            frozen=frozen,
            best=best,
            sizes={} if sizes is None else sizes,
            precision=precision,
            calibration=calibration,
            format=format,
        )

    def __post_init__(self) -> None:
        """Raises where what is asked for cannot be."""
        self._check_words()
        self._check_gates()
        check_sizes(self.bundle.manifest, self.sizes)
        self._check_name_is_new()
        self._check_precision()
        self._check_shapes()

    @property
    def static(self) -> bool:
        """Whether the form has no ``If``."""
        return self.needs.form == "segments" or self.frozen is not None

    @property
    def activation_bits(self) -> int | None:
        """The bits of what flows between quantised layers; None where nothing is quantised."""
        return ACTIVATION_BITS.get(self.precision)

    @property
    def _where(self) -> str:
        return f"target {self.needs.name!r}"

    def _check_words(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {self.format!r}; choose one")
        if self.precision not in SHARES:
            raise ValueError(f"precision: expected one of {', '.join(SHARES)}, got {self.precision!r}; choose one")
        name = self.name
        if (
            not isinstance(name, str)
            or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name)
            or name in ("default", "model")
        ):
            raise ValueError(
                f"name: expected letters, digits, '_', '-' and '.', and neither 'default' nor 'model', got {name!r}; "
                "choose another"
            )

    def _check_gates(self) -> None:
        """Only a graph that decides, in the precision of the model, has gates: what else decides runs before it."""
        gates, interface = self.bundle.plan.gates, self.bundle.manifest["interface"]
        if gates and (self.static or self.needs.interface != interface or self.precision != "float32"):
            raise PackageError(
                f"{self._where}: expected sites whose routes are known before the run, got "
                f"{self.bundle.plan.sites[gates[0]].name!r}, where the input decides; freeze one path "
                "(rr-export freeze), or run the bundle's own model"
            )

    def _check_name_is_new(self) -> None:
        if self.name in self.bundle.targets:
            raise PackageError(
                f"{self._where}: expected a new name, got {self.name!r}, which the bundle has; pass name=... (--name)"
            )

    def _check_precision(self) -> None:
        quantised = self.precision in ACTIVATION_BITS
        if quantised and not self.static:
            raise PackageError(
                f"{self._where}: expected a static form for precision {self.precision!r}, got routed; freeze paths "
                "(frozen=N, --frozen N), or cut it into segments (form='segments', --form segments)"
            )
        if self.precision not in self.needs.precisions and not quantised:
            raise PackageError(
                f"{self._where}: expected precision {' or '.join(self.needs.precisions)}, got {self.precision!r}; "
                "choose another"
            )

    def _check_shapes(self) -> None:
        free = [axis for axis in symbolic_axes(self.bundle.manifest) if axis not in self.sizes]
        if self.needs.static and free:
            raise PackageError(
                f"{self._where}: expected fixed shapes, got the symbolic axes {', '.join(free)}; pass "
                f"sizes={{{free[0]!r}: N}} (--size {free[0]}=N)"
            )


def _with_form(needs: ProviderNeeds, form: str | None) -> ProviderNeeds:
    """Returns the needs with another form."""
    if form is None or form == needs.form:
        return needs
    if form not in ASKED_FORMS:
        raise ValueError(f"form: expected one of {', '.join(ASKED_FORMS)}, got {form!r}; choose one, or freeze paths")
    return replace(needs, form=form, interface=None if form == "segments" else needs.interface or "host")
