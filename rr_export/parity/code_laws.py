"""The law of every draw of a model's own code, exact: what the code gives its random functions is what the plan has.

The code runs as it was written, on given paths. Where a draw chooses among outcomes, the probabilities that it was
called with are compared with the plan's. Where it is a number that the code compares, it is put at both ends of the
interval that the plan gives to the route, so that code with any other threshold goes another way, which its outputs or
a later law show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from rr_export.capture.python.conclude import Program
from rr_export.capture.python.given_laws import RunLaws, law_differences, laws_watched, threshold_differences
from rr_export.capture.python.own_code import OwnCode
from rr_export.capture.python.told_numbers import Place, drawn_at
from rr_export.eager.code_sites import code_of
from rr_export.errors import RunError
from rr_export.laws.plan import Plan
from rr_export.parity.compare import Comparison
from rr_export.parity.eager_model import Eager
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Forced

ENDS: tuple[Place, ...] = ("low", "high")
MOST_PATHS, EVEN_PATHS = 64, 32
MOST_TOLD = 3  # differences that are told


class CodeLaws:
    """Compares the laws that runs of a model's own code give with those of a plan.

    Args:
        eager: the model.
        plan: of the file.

    Attributes:
        failures: one sentence per law that differs.
        suspects: thresholds that the plan does not have; the code may compare with them in vain.
    """

    def __init__(self, eager: Eager, plan: Plan) -> None:
        code = code_of(eager.model)
        self._program: Program | None = code.program if isinstance(code, OwnCode) else None
        self._plan = plan
        self.failures: list[str] = []
        self.suspects: list[str] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The laws of all runs of the model inside the block are compared."""
        runs: list[RunLaws] = []
        try:
            with laws_watched() as runs:
                yield
        finally:
            for run in runs if self._program is not None else ():
                assert self._program is not None
                self._add(self.failures, law_differences(self._program, self._plan, run))
                self._add(self.suspects, threshold_differences(self._program, self._plan, run))

    def _add(self, found: list[str], more: Iterator[str]) -> None:
        found += [text for text in more if text not in found and len(found) < MOST_TOLD]

    def compare(self, eager: Eager, file: Forced, comparison: Comparison) -> None:
        """Compares laws, outputs and paths taken, path by path, for draws at either end of their intervals."""
        for path in paths_of_laws(self._plan):
            got = file.on_path(eager.inputs, path)
            for place in ENDS:
                with self.watching(), drawn_at(place):
                    expected = eager.on_path(path)
                where = f"path {list(path)}, draws at the {place} ends of their intervals"
                comparison.add(where, expected.outputs, got.outputs, unless=rounding(eager, expected, got, path))
                if not np.array_equal(expected.path, got.path):
                    paths = f"expected path taken {expected.path.tolist()}, got {got.path.tolist()}"
                    comparison.failures.append(f"{where}: {paths}")


def code_law_failures(eager: Eager, file: Forced, comparison: Comparison) -> list[str]:
    """Returns one sentence per law that the model's own code gives its draws and the file does not have."""
    if code_of(eager.model) is None:
        return []
    laws = CodeLaws(eager, file.plan)
    try:
        laws.compare(eager, file, comparison)
    except RunError as error:
        return laws.failures or [str(error)]
    return laws.failures or (laws.suspects if comparison.failures else []) or comparison.failures[:MOST_TOLD]


def paths_of_laws(plan: Plan) -> list[tuple[int, ...]]:
    """Returns the paths on which laws are compared: all, or a covering set and seeded ones that take all routes alike.

    A covering set has every pair of routes: whatever one decision does to the law of another one is seen. The others
    have most combinations of three and four.
    """
    if plan.path_count() <= MOST_PATHS:
        return list(plan.paths())
    random = np.random.default_rng(0)
    counts = [len(site.branches) for site in plan.sites]
    even = [tuple(plan.taken(random.integers(counts)).tolist()) for _ in range(EVEN_PATHS)]
    return list(dict.fromkeys([*plan.covering(), plan.evenly().most_probable(), *even]))
