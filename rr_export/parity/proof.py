"""One bundle and one eager model under proof: points are checked when asked for, and what they share is made once."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence, Sized
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import torch

from rr_export.bundle.bundle import Bundle
from rr_export.capture.request import Request
from rr_export.capture.trace import trace_plan
from rr_export.eager.code_sites import many_runs
from rr_export.laws.moved_lines import moved_sites, told_moved
from rr_export.laws.policies import Gated
from rr_export.lowering.deciding_slice import RoutingSlice, routing_slice
from rr_export.parity.data_check import Spread, check_data
from rr_export.parity.divergence import searched
from rr_export.parity.eager_model import Eager
from rr_export.parity.far_inputs import check_far_inputs
from rr_export.parity.gates_check import check_gates
from rr_export.parity.law import check_law
from rr_export.parity.laziness import check_laziness
from rr_export.parity.model_divergence import divergence_from_model
from rr_export.parity.model_file_digest import model_file_digest
from rr_export.parity.model_worker import model_digest, model_worker
from rr_export.parity.named_numbers import numbers_named
from rr_export.parity.other_sizes import size_thresholds
from rr_export.parity.paths import check_paths
from rr_export.parity.profiles_check import check_profile
from rr_export.parity.random_node import first_random_runs
from rr_export.parity.streams import check_streams
from rr_export.parity.subject import File
from rr_export.parity.target_check import check_target
from rr_export.parity.terms import Terms
from rr_export.parity.tolerances import tolerances_of
from rr_export.parity.user_data import Data, requests_of
from rr_export.parity.weights_check import check_all_weights
from rr_export.report.divergence import Divergence
from rr_export.report.report import Check


class Proof:
    """A bundle and the model that it is to be the same as.

    Args:
        bundle: the bundle.
        folder: where its files are.
        request: the eager model and its arguments.
        terms: what counts as equal, and how much is tried; None: the defaults.
        data: inputs of the user's, as for ``verify``.
        jobs: how many processes compare on them.
        results: the file that keeps what they find.
    """

    def __init__(
        self,
        bundle: Bundle,
        folder: Path,
        request: Request,
        terms: Terms | None = None,
        *,
        data: Data | None = None,
        jobs: int | None = None,
        results: str | os.PathLike[str] | None = None,
    ) -> None:
        if "pruned" in bundle.manifest:
            raise ValueError(
                "verify: expected a bundle with all branches of the model, got a pruned one; verify the bundle that it "
                "was made from, and this one against that: rr.verify_against(pruned, source) (--against)"
            )
        self._bundle, self._folder, self._request, self._data = bundle, folder, request, data
        self._jobs, self._results = jobs, None if results is None else Path(results)
        self._asked = terms or Terms.asked(rtol=None, atol=None)
        # before anything runs: a model may change by its runs
        self._model = "" if results is None else f"torch {torch.__version__} {model_digest(request.model)}"

    def checks(self, points: Collection[str]) -> tuple[Check, ...]:
        """Returns the checks of some points, of ``POINTS``; without equal sites there is nothing else to compare."""
        if self.sites.passed is False:
            return (self.sites,)
        checks: dict[str, Callable[[], Check]] = {
            "sites": lambda: self.sites,
            "weights": lambda: check_all_weights(self._bundle, self._request, self._terms),
            "paths": self._check_paths,
            "inputs": lambda: check_far_inputs(self._eager, self._file, self._terms),
        }
        if self._data is not None:
            checks["data"] = lambda: self._check_data(self._data or ())
        targets = self._bundle.targets if "targets" in points else ()
        with ExitStack() as meanwhile:
            meanwhile.enter_context(many_runs(self._request.model))
            if self._bundle.plan.sites and not {"streams", "law", "gates", "laziness"}.isdisjoint(points):
                eager, file, routing, terms = self._eager, self._file, self._routing, self._terms
                drawn = meanwhile.enter_context(first_random_runs(routing, wanted="law" in points))
                checks |= {
                    "streams": lambda: check_streams(eager, file, routing, terms),
                    "law": lambda: check_law(eager, file, routing, drawn, eager.inputs, terms),
                    **({"gates": lambda: check_gates(eager, file, terms)} if file.plan.gates else {}),
                    "laziness": lambda: check_laziness(self._bundle, file, eager, terms),
                }
            found = [check() for name, check in checks.items() if name in points]
            profiles = self._bundle.profiles if "profiles" in points else {}
            found += [check_profile(n, p, self._eager, self._file, self._terms) for n, p in profiles.items()]
            found += [check_target(self._bundle, self._folder, name, self._eager, self._terms) for name in targets]
        return tuple(found)

    def check_path(self, path: tuple[int, ...], *, sizes: str) -> Check:
        """Returns the check of one path, which the plan has; the sites are equal.

        Args:
            path: its routes.
            sizes: of dynamic axes that are tried beside the example's: "none", "near" it, or "all" that the point
                "paths" tries.
        """
        with many_runs(self._request.model):
            return self._check_paths([path], sizes)

    def divergence(self, checks: Sequence[Check]) -> Divergence | None:
        """Returns where file and model part, if their values do in these checks."""
        failed = [check.name for check in checks if check.passed is False]
        if not set(failed) - {"law", "laziness"}:
            return None
        eager, path = next((check.case for check in checks if check.case is not None), (None, None))
        request = self._request if eager is None else eager.request

        def search() -> Divergence | None:
            terms = self._asked if path is None else self._terms  # with other sites the model takes no path of these
            return divergence_from_model(self._bundle, request, path, terms)

        with many_runs(self._request.model):
            return searched(search, path)

    @cached_property
    def sites(self) -> Check:
        """Whether the model still has the sites and policies that the bundle was made from."""
        return _check_sites(self._bundle, self._request)

    @cached_property
    def _eager(self) -> Eager:
        return Eager(self._request)

    @cached_property
    def _file(self) -> File:
        return File(self._folder, self._bundle)

    @cached_property
    def _routing(self) -> RoutingSlice:
        return routing_slice(self._file.source, self._bundle, self._eager.inputs)

    @cached_property
    def _terms(self) -> Terms:
        terms = self._asked.with_default(tolerances_of(self._eager, self._bundle.plan))
        terms.check_names({row["name"]: row["dtype"] for row in self._bundle.manifest["outputs"]})
        return terms

    def _check_paths(self, paths: Sequence[tuple[int, ...]] | None = None, sizes: str = "all") -> Check:
        everything, axes = sizes == "all", {row["name"]: row["shape"] for row in self._bundle.manifest["inputs"]}
        return check_paths(
            self._eager,
            self._file,
            self._terms,
            axes={} if sizes == "none" else axes,
            bounds=self._bundle.manifest.get("axes", {}),
            thresholds=size_thresholds(self._bundle, self._eager.inputs) if everything else None,
            named=numbers_named(self._eager.model) if everything else (),
            paths=paths,
        )

    def _check_data(self, data: Data) -> Check:
        given = (Eager(other) for other in requests_of(data, self._request, self._bundle.manifest))
        spread = Spread(
            self._jobs,
            self._results,
            f"{self._model} {model_file_digest(self._file.source)}" if self._results is not None else "",
            lambda eager: (eager.request.args, eager.request.kwargs),
            model_worker(self._request, self._folder, self._terms),
        )
        total = len(data) if isinstance(data, Sized) else None
        return check_data(given, self._file, self._terms, total=total, spread=spread)


def _check_sites(bundle: Bundle, request: Request) -> Check:
    expected = bundle.plan.sites
    got = trace_plan(request.with_axes_of(bundle.manifest), training=bundle.manifest.get("training_routes", ())).sites
    if not expected and not got:
        return Check("sites", None, "a model without sites")
    failures = []
    moved = moved_sites(expected, got)  # which is which is told by their order, and proven by the values on paths
    if not moved and [s.name for s in expected] != [s.name for s in got]:
        failures.append(f"expected sites {[s.name for s in expected]}, the model has {[s.name for s in got]}")
    else:
        for a, b in zip(expected, got, strict=True):
            if a.branches != b.branches:
                failures.append(f"site {a.name!r}: expected branches {a.branches}, the model has {b.branches}")
            elif isinstance(a.policy, Gated) or isinstance(b.policy, Gated):
                if a.policy != b.policy:
                    failures.append(f"site {a.name!r}: expected {a.policy!r}, the model has {b.policy!r}")
            elif a.policy.table.shape != b.policy.table.shape or abs(a.policy.table - b.policy.table).max() > 1e-12:
                failures.append(
                    f"site {a.name!r}: expected probabilities {a.policy.table.tolist()}, the model has "
                    f"{b.policy.table.tolist()}"
                )
    summary = "; ".join(filter(None, (f"{len(expected)} sites: names, branches, policies", told_moved(moved))))
    return Check("sites", not failures, summary, tuple(failures), {"moved": moved} if moved else {})
