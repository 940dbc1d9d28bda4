"""A bundle and a model under proof: each point is checked when a test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    from rr_export.parity.eager_model import Eager
    from rr_export.parity.subject import File
    from rr_export.parity.terms import Terms
    from rr_export.report.report import Check


class Proof:
    """One bundle and one model; what they share is made once.

    Args:
        bundle: the bundle.
        case: the model and its arguments.
        terms: options of the proof.

    Raises:
        ValueError: a wrong option, or a model in training mode.
    """

    def __init__(self, bundle: Bundle, case: Case, terms: Mapping[str, Any]) -> None:
        from rr_export.capture.request import bind
        from rr_export.parity.terms import Terms
        from rr_export.parity.verify import check_evaluating

        given = {"rtol": None, "atol": None, **terms}
        self._others = {"data": given.pop("data")} if "data" in given else {}
        self._terms = Terms.asked(**given)
        check_evaluating(case.model)
        with quiet_tracing():
            self._bundle, self._request = bundle, bind(case.model, case.args, case.kwargs)
        self._open = ExitStack()
        self._folder = self._open.enter_context(bundle.folder())
        self._paths_tried = 0

    def checks(self, test: str | Path_) -> tuple[Check, ...]:
        """Returns the checks of a point, or of one path; those of the sites where these differ.

        There are none where the point does not apply: a bundle without targets, a model without sites.

        Args:
            test: the name of a point, or routes, int [S].

        Raises:
            ValueError: the bundle has no such path.
        """
        with quiet_tracing():
            return self._of_point(test) if isinstance(test, str) else self._of_path(test)

    def close(self) -> None:
        """What the proof has written is gone."""
        self._open.close()

    @property
    def sites_differ(self) -> bool:
        """Whether nothing else can be compared."""
        return self._sites.passed is False

    def paths(self) -> list[Path_]:
        """Returns the paths that the point "paths" compares."""
        from rr_export.parity.paths import paths_to_compare

        return paths_to_compare(self._bundle.plan, self._terms.max_paths)[0]

    @cached_property
    def _sites(self) -> Check:
        (check,) = self._of_point("sites")
        return check

    @cached_property
    def _sides(self) -> tuple[Eager, File, Terms]:
        from rr_export.parity.eager_model import Eager
        from rr_export.parity.subject import File
        from rr_export.parity.tolerances import tolerances_of

        eager = Eager(self._request)
        return (
            eager,
            File(self._folder, self._bundle),
            self._terms.with_default(tolerances_of(eager, self._bundle.plan)),
        )

    def _of_point(self, point: str) -> tuple[Check, ...]:
        from rr_export.parity.verify import verify_points

        return verify_points(self._bundle, self._folder, self._request, self._terms, points=(point,), **self._others)

    def _of_path(self, path: Path_) -> tuple[Check, ...]:
        """The check of one path; the first ones are also tried at other sizes, as many as the point "paths" tries."""
        from rr_export.eager.code_sites import many_runs
        from rr_export.parity.named_numbers import numbers_named
        from rr_export.parity.other_sizes import size_thresholds
        from rr_export.parity.paths import FEWER_PATHS, RESIZED_PATHS, check_paths

        taken = self._bundle.plan.taken(self._bundle.plan.check_path(path))
        if self.sites_differ:
            return (self._sites,)
        eager, file, terms = self._sides
        tried, self._paths_tried = self._paths_tried, self._paths_tried + 1
        sized, far = tried < RESIZED_PATHS, tried < FEWER_PATHS
        with many_runs(self._request.model):
            check = check_paths(
                eager,
                file,
                terms,
                axes={row["name"]: row["shape"] for row in self._bundle.manifest["inputs"]} if sized else {},
                bounds=self._bundle.manifest.get("axes", {}),
                thresholds=size_thresholds(self._bundle, eager.inputs) if far else None,
                named=numbers_named(eager.model) if far else (),
                paths=[tuple(int(route) for route in taken)],
            )
        return (replace(check, name=f"path {list(path)}"),)


class LastProof:
    """The proof that was asked for last, so that the tests of one case share it."""

    def __init__(self) -> None:
        self._made_of: tuple[Any, ...] = ()
        self._proof: Proof | None = None

    def of(self, made_of: tuple[Any, ...], make: Callable[[], Proof]) -> Proof:
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
