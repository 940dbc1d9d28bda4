"""Profiles: a runtime draws from each the law that it states, and the file gives what the model gives there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rr_export.bundle.manifest import law_digest, write_profile
from rr_export.laws.plan import Plan
from rr_export.laws.policies import LEAST
from rr_export.laws.profile import Profile
from rr_export.parity.compare import Comparison
from rr_export.parity.law import FALSE_ALARM, count_tests, law_failures
from rr_export.parity.subject import File, Reference
from rr_export.parity.terms import Terms
from rr_export.report.report import Check
from rr_runtime.draws import draws, draws_as_floats
from rr_runtime.routes import Router

SEEDS = 32  # whole runs
VALUES = 4  # of them are compared with the model
LAW_RUNS = 10_000


def check_profile(name: str, profile: Profile, reference: Reference, file: File, terms: Terms) -> Check:
    """Compares runs under a profile with its law, seed by seed and in frequencies, and with the model on their paths.

    The law is that of ``laws/``; routes and paths are the runtime's, which shares no code with it.
    """
    near, failures = terms.comparison(), []
    plan, law = file.plan, profile.law
    for seed in range(SEEDS if law is not None else 1):
        taken = np.array(profile.path) if law is None else _taken(law, seed, reference)
        failures += _compare_run(name, seed, taken, reference, file, near, values=seed < VALUES)
    summary = f"one path, {list(profile.path or ())}"
    if law is not None:
        router = Router(file.session.profiles[name].sites)
        failures += _threshold_failures(law, router)
        latent = np.array([router.latent(draws_as_floats(s, len(plan.sites))) for s in range(LAW_RUNS)], np.int64)
        latent[:, list(law.gates)] = 0
        failures += law_failures(law.settled(), latent, FALSE_ALARM / count_tests(law))
        summary = (
            f"paths of {SEEDS} seeds; draws on either side of every threshold, exactly; marginals, pairs of sites and "
            f"kept counts of {LAW_RUNS} seeds (false-alarm rate {FALSE_ALARM:g})"
        )
    failures += near.failures
    return Check(f"profile {name}", not failures, summary, tuple(failures), {"law": law_digest(write_profile(profile))})


def _taken(law: Plan, seed: int, reference: Reference) -> NDArray[np.int64]:
    """The path of a seed by a law; where gates decide, as they do in the model."""
    routes = law.routes(draws(seed, len(law.sites)))
    return reference.on_seed_and_path(seed, routes.tolist()).path if law.gates else law.taken(routes)


def _compare_run(
    name: str, seed: int, taken: NDArray[np.int64], reference: Reference, file: File, near: Comparison, *, values: bool
) -> list[str]:
    got = file.session.run(dict(reference.inputs), seed=seed, profile=name)
    assert got.path is not None
    if not np.array_equal(got.path, taken):
        return [f"seed {seed}: expected path {taken.tolist()}, got {got.path.tolist()}"]
    if values:
        near.add(f"seed {seed}, path {taken.tolist()}", reference.on_path(tuple(taken.tolist())).outputs, got.outputs)
    return []


def _threshold_failures(law: Plan, router: Router) -> list[str]:
    """One sentence for each draw next to a threshold that takes another route than the law says."""
    failures = []
    for i, site in enumerate(law.sites):
        for threshold in () if i in law.gates else np.unique(site.policy.thresholds):
            for draw in (threshold - LEAST, threshold):
                if not 0 <= draw < 1:
                    continue
                for before in (0.0, 1.0 - LEAST):  # what the steps before draw
                    numbers = np.full(len(law.sites), before, np.float32)
                    numbers[i] = draw
                    expected, got = law.routes(numbers).tolist(), router.latent(numbers.tolist())
                    if expected != got:
                        failures.append(f"site {site.name!r}, draw {draw!r}: expected routes {expected}, got {got}")
    return failures
