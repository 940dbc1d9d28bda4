"""The proof of one case, shared by its tests: each asks for a point, or for a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rr_export.pytest_plugin.cases import Case
from rr_export.pytest_plugin.quiet_tracing import quiet_tracing
from rr_export.pytest_plugin.session_bundles import made_of_same
from rr_export.pytest_plugin.wanted import Path_

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle
    from rr_export.report.report import Check


class CaseProof:
    """A bundle and a model.

    Args:
        bundle: the bundle.
        case: the model and its arguments.
        terms: options of the proof, as for ``rr_export.verify``.

    Raises:
        TypeError, ValueError: a wrong option, or a model in training mode.
    """

    def __init__(self, bundle: Bundle, case: Case, terms: Mapping[str, Any]) -> None:
        from rr_export.capture.request import bind
        from rr_export.parity.proof import Proof
        from rr_export.parity.terms import Terms
        from rr_export.parity.verify import check_evaluating

        given = {"rtol": None, "atol": None, **terms}
        others = {name: given.pop(name) for name in ("data", "jobs", "results") if name in given}
        asked = Terms.asked(**given)
        check_evaluating(case.model)
        self._bundle, self._terms, self._paths_tried = bundle, asked, 0
        self._open = ExitStack()
        folder = self._open.enter_context(bundle.folder())
        with quiet_tracing():
            request = bind(case.model, case.args, case.kwargs)
        self._proof = Proof(bundle, folder, request, asked, **others)
        self._failed: tuple[Check, ...] = ()

    def checks(self, test: str | Path_) -> tuple[Check, ...]:
        """Returns the checks of a point, or of one path; those of the sites where these differ.

        There are none where the point does not apply: a bundle without targets, a model without sites.

        Args:
            test: the name of a point, or routes, int [S].

        Raises:
            ValueError: the bundle has no such path.
        """
        with quiet_tracing():
            found = self._proof.checks((test,)) if isinstance(test, str) else self._of_path(test)
        self._failed = self._failed or tuple(check for check in found if check.passed is False)
        return found

    def close(self) -> None:
        """What the proof has written is gone."""
        self._open.close()

    def paths(self) -> list[Path_]:
        """Returns the paths that the point "paths" compares."""
        from rr_export.parity.paths import paths_to_compare

        return paths_to_compare(self._bundle.plan, self._terms.max_paths)[0]

    @cached_property
    def parting(self) -> Sequence[str]:
        """Where file and model part, in lines: by the checks that failed first; none where their values do not."""
        with quiet_tracing():
            divergence = self._proof.divergence(self._failed)
        return () if divergence is None else divergence.lines()

    def _of_path(self, path: Path_) -> tuple[Check, ...]:
        """The check of one path; the first ones are also tried at other sizes, as many as the point "paths" tries."""
        from rr_export.parity.paths import FEWER_PATHS, RESIZED_PATHS

        plan = self._bundle.plan
        taken = tuple(int(route) for route in plan.taken(plan.check_whole_path(path)))
        if self._proof.sites.passed is False:
            return (self._proof.sites,)
        tried, self._paths_tried = self._paths_tried, self._paths_tried + 1
        sizes = "all" if tried < FEWER_PATHS else "near" if tried < RESIZED_PATHS else "none"
        return (replace(self._proof.check_path(taken, sizes=sizes), name=f"path {list(path)}"),)


class LastProof:
    """The proof that was asked for last, so that the tests of one case share it."""

    def __init__(self) -> None:
        self._made_of: tuple[Any, ...] = ()
        self._proof: CaseProof | None = None

    def of(self, made_of: tuple[Any, ...], make: Callable[[], CaseProof]) -> CaseProof:
        """Returns the last proof where it is made of the same objects, else another one.

        Args:
            made_of: the objects that the case depends on.
            make: makes the proof.
        """
        __tracebackhide__ = True
        if self._proof is None or not made_of_same(self._made_of, made_of):
            self.close()
            self._proof, self._made_of = make(), made_of
        return self._proof

    def close(self) -> None:
        """There is no last proof, and what it has written is gone."""
        if self._proof is not None:
            self._proof.close()
        self._proof, self._made_of = None, ()
