"""Two bundles, aspect by aspect."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.diff.structure_changes import (
    compare_graphs,
    compare_laws,
    compare_paths,
    compare_sites,
    compare_sizes,
    with_names,
)
from rr_export.diff.value_changes import compare_latency, compare_outputs
from rr_export.diff.weight_changes import compare_weights, weights_of
from rr_export.laws.moved_lines import moved_sites
from rr_export.parity.data_arrays import checked_arrays
from rr_export.parity.terms import Progress, Terms, Tolerance, silent
from rr_export.report.changes import Changes


def diff(
    before: Bundle | str | os.PathLike[str],
    after: Bundle | str | os.PathLike[str],
    *,
    data: Iterable[Mapping[str, NDArray[Any]]] | None = None,
    rtol: Tolerance | None = None,
    atol: Tolerance | None = None,
    max_paths: int = 64,
    timed_runs: int = 50,
    progress: Progress | None = None,
) -> Changes:
    """Returns what changed from one bundle to another.

    Args:
        before: a bundle, or the place of one.
        after: alike.
        data: inputs on which outputs are compared, each as arrays by input name; None: those of the first golden
            case of ``before``, or of ``after``.
        rtol: relative tolerance of outputs, of all or by the name of an output or of a dtype; None: what ``before`` was
            proven to.
        atol: absolute tolerance; None: alike.
        max_paths: up to so many paths are all compared on an input, else a covering set.
        timed_runs: how many runs of each are timed; 0: none.
        progress: called with (stage, done, total).

    Raises:
        BundleError: there is none at a place, or it is damaged.
        ValueError, TypeError: a wrong argument.
    """
    old, new = (b if isinstance(b, Bundle) else load(b) for b in (before, after))
    terms = Terms.asked(rtol=rtol, atol=atol, max_paths=max_paths, progress=progress or silent)
    terms = terms.with_default(old.manifest["tolerances"])
    terms.check_names({row["name"]: row["dtype"] for row in old.manifest["outputs"]})
    recorded = [case.inputs for case in [*old.golden, *new.golden][:1]]
    given = recorded if data is None else list(checked_arrays(data, old))
    with old.folder() as old_folder, new.folder() as new_folder:
        moved = moved_sites(old.plan.sites, new.plan.sites)
        new = with_names(new, moved)
        one, other = (old, old_folder), (new, new_folder)
        aspects = [
            compare_sites(old, new, moved),
            compare_laws(old, new),
            compare_paths(old, new),
            compare_weights(weights_of(old.model), weights_of(new.model)),
            compare_graphs(old, new),
        ]
        aspects.append(compare_outputs(one, other, given, terms))
        aspects.append(compare_sizes(old, new))
        if timed_runs:
            aspects.append(compare_latency(one, other, given[:1], runs=timed_runs))
    names = [str(b.path or type(b).__name__) for b in (old, new)]
    return Changes(names[0], names[1], tuple(aspects))
