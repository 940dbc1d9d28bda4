"""The sizes of dynamic axes for which a file is the model: tried, and what is not right excluded by bounds.

torch.export takes a size that is not fixed for 2 or more: a model that treats 0 or 1 apart, or broadcasts there, comes
out without that. So both are tried.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence

from rr_export.bundle.bundle import Bundle
from rr_export.errors import CaptureError
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.eager_model import Eager
from rr_export.parity.named_numbers import numbers_named
from rr_export.parity.other_sizes import Bounds, named_sizes, size_thresholds, telling_sizes
from rr_export.parity.paths import evenly_apart, paths_to_compare
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import File
from rr_export.parity.terms import Terms

logger = logging.getLogger(__name__)

PATHS, MOST_PRODUCT = 3, 3  # paths that are compared at each size; axes of which all small sizes are tried together


def bound_axes(bundle: Bundle, eager: Eager) -> None:
    """The manifest's bounds leave no size 0 or 1 of a dynamic axis at which the file is not the model.

    Raises:
        CaptureError: they differ at another size.
    """
    axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    sizes = named_sizes(axes, eager.inputs)
    if not sizes:
        return
    given: Bounds = bundle.manifest["axes"]
    thresholds, named = size_thresholds(bundle, eager.inputs), numbers_named(eager.model)
    with bundle.folder() as folder:
        trial = _Trial(bundle, eager, File(folder, bundle))
        least = {
            label: trial.least(label, size, given.get(label, (None, None))[0] or 0) for label, size in sizes.items()
        }
        for chosen in _combined(sizes, least):
            if any(size < least[label] for label, size in chosen.items()) or trial.failure(chosen) is None:
                continue
            label = min(chosen, key=lambda name: chosen[name])
            least[label] = chosen[label] + 1
        for label, size in sizes.items():
            most = given.get(label, (None, None))[1]
            for other in telling_sizes(size, (max(2, least[label]), most), (*thresholds.get(label, ()), *named)):
                trial.check({label: other})
            if least[label] or most is not None:
                bundle.manifest["axes"][label] = [least[label] or None, most]


class _Trial:
    """Compares the file with the model at other sizes."""

    def __init__(self, bundle: Bundle, eager: Eager, file: File) -> None:
        self._eager, self._file = eager, file
        self._axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
        self._paths = evenly_apart(paths_to_compare(bundle.plan, Terms().max_paths)[0], PATHS)
        self._comparison = Terms(**bundle.manifest["tolerances"]).comparison

    def least(self, label: str, size: int, given: int) -> int:
        """Returns the least size of an axis at which the file is the model, of those up to 2 and the bound given."""
        wrong = [s for s in (0, 1) if s >= given and s != size and self.failure({label: s}) is not None]
        if wrong:
            logger.info("%s: sizes %s are not those of the model", label, wrong)
        return max([given, *(s + 1 for s in wrong)])

    def check(self, sizes: Mapping[str, int]) -> None:
        """Raises where the model takes these sizes and the file gives something else, on one path."""
        failure = self.failure(sizes, paths=self._paths[:1], unless_refused=True)
        if failure is not None:
            label, size = next(iter(sizes.items()))
            raise CaptureError(
                f"export: expected the file to be the model at every size of {label!r}, got a difference at {size}: "
                f"{failure}; the model decides by that size in a way that was not captured: fix the axis, or compare "
                "x.shape itself"
            )

    def failure(
        self, sizes: Mapping[str, int], *, paths: Sequence[Path_] = (), unless_refused: bool = False
    ) -> str | None:
        """Returns what is wrong at these sizes, None where nothing is.

        Args:
            sizes: by the name of the axis.
            paths: on which it is tried; none: on a few.
            unless_refused: sizes that the model itself does not take are not wrong.
        """
        other = self._eager.resized(sizes, self._axes)
        comparison = self._comparison()
        for path in paths or self._paths:
            try:
                expected = other.on_path(path)
            except Exception as error:  # a size that the model itself does not take, for whatever reason
                return None if unless_refused else f"the model raises {type(error).__name__}"
            try:
                got = self._file.on_path(other.inputs, path)
            except Exception as error:  # onnxruntime's own exceptions have no common base
                return f"path {list(path)}: the file fails with {type(error).__name__}"
            unless = rounding(other, expected, got, path)
            if not comparison.add(f"path {list(path)}", expected.outputs, got.outputs, unless=unless):
                return comparison.failures[0]
        return None


def _combined(sizes: Mapping[str, int], least: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Several axes at sizes 0 and 1 at once: all combinations, of many axes those of two."""
    small = {label: [s for s in (0, 1) if s >= least[label]] for label in sizes}
    most = len(sizes) if len(sizes) <= MOST_PRODUCT else 2
    for count in range(2, most + 1):
        for labels in itertools.combinations(sizes, count):
            for chosen in itertools.product(*(small[label] for label in labels)):
                yield dict(zip(labels, chosen, strict=True))
