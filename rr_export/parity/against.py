"""A file that another tool has rewritten, proven again against the bundle that it came from."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.bundle_reader import load
from rr_export.bundle.file_names import MANIFEST
from rr_export.bundle.manifest import law_digest, write_profile
from rr_export.errors import ParityError
from rr_export.lint.dataflow import Dataflow
from rr_export.lint.reading import Subject, read
from rr_export.lint.rules.branches import check_defaults
from rr_export.lint.rules.contract import check_contract
from rr_export.parity.compare import Arrays
from rr_export.parity.data_arrays import checked_arrays
from rr_export.parity.data_check import Spread, check_data
from rr_export.parity.divergence import divergence_from_file, searched
from rr_export.parity.file_worker import file_worker
from rr_export.parity.kinds_that_ran import check_kinds_that_ran
from rr_export.parity.law import check_law
from rr_export.parity.model_file_digest import model_file_digest
from rr_export.parity.named_weights import check_named_weights
from rr_export.parity.nearest import check_nearest
from rr_export.parity.paths import check_paths, paths_to_compare
from rr_export.parity.pruned_check import check_pruned, said_pruned
from rr_export.parity.random_node import first_random_runs
from rr_export.parity.rewritten import OpensRewritten, Rewritten
from rr_export.parity.streams import check_streams
from rr_export.parity.subject import File, Original
from rr_export.parity.terms import Progress, Terms, Tolerance, silent
from rr_export.report.divergence import Divergence
from rr_export.report.report import Check, Report

POINTS = ("contract", "weights", "paths", "nearest", "data", "streams", "law", "laziness")
PARTS = ("rr-export", "rr-runtime", "onnxruntime", "onnx", "numpy")
OWN_RUNS = 16  # whole runs of a standalone file that draws by itself


def verify_against(
    file: str | os.PathLike[str],
    bundle: Bundle | str | os.PathLike[str],
    *,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    data: Iterable[Mapping[str, NDArray[Any]]] | None = None,
    rtol: Tolerance | None = None,
    atol: Tolerance | None = None,
    share: float = 0.0,
    max_paths: int = 256,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """The file still is the model of the bundle: the report says how far that was tried. No eager model is needed.

    Args:
        file: what a tool has made of the bundle's model: a ``.onnx`` or ``.ort`` file, or a bundle folder; or what
            ``prune`` made of it, whose paths are compared with those that they were in the bundle.
        bundle: the bundle, or the place of one, that was verified against the eager model.
        inputs: arrays by input name; the bundle's first golden case has some.
        data: more inputs to compare values on, each as arrays by input name.
        rtol: relative tolerance of floating-point outputs, of all or by the name of an output or of a dtype; None: what
            the bundle was proven to.
        atol: absolute tolerance; None: alike.
        share: above 0, in place of both: for every output, how large the root mean square of the differences may be, as
            a share of the output's standard deviation. For quantised files.
        max_paths: as for ``verify``.
        jobs: with ``data``: as for ``verify``.
        results: with ``data``: alike.
        progress: called with (stage, done, total).

    Raises:
        ParityError: something does not hold; its ``report`` says what.
        LintError: the file is no ONNX model.
        ValueError, TypeError: a wrong argument.
    """
    if inputs is not None and not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: expected arrays by input name, got a {type(inputs).__name__}; pass a dictionary")
    terms = Terms.asked(rtol=rtol, atol=atol, share=share, max_paths=max_paths, progress=progress or silent)
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    terms = terms.with_default(opened.manifest["tolerances"])
    terms.check_names({row["name"]: row["dtype"] for row in opened.manifest["outputs"]})
    if inputs is None and not opened.golden:
        raise ValueError(
            f"verify: expected inputs, or a bundle folder with golden cases, got neither in {opened.path}; pass "
            "inputs= (--input)"
        )
    given = dict(opened.golden[0].inputs if inputs is None else inputs)
    pruned = load(file) if said_pruned(read(file).manifest, opened) else None
    if pruned is not None and data is not None:
        raise ValueError(
            "data: expected none for a pruned bundle, got some; compare on other inputs one by one, with inputs= "
            "(--input)"
        )
    with opened.folder() as folder:
        if pruned is not None:
            with pruned.folder() as place:
                checks = check_pruned(pruned, place, opened, folder, given, terms)
        else:
            checks = check_points(Path(file), opened, folder, given, terms, data=data, jobs=jobs, results=results)
    divergence = _divergence(Path(file), opened, given, checks, terms) if pruned is None else None
    versions = {p: version(p) for p in PARTS} | {"Python": platform.python_version()}
    report = Report(checks, str(file), versions, divergence)
    if not report.passed:
        raise ParityError(f"verify: expected the same model, got differences\n{report}", report)
    return report


def _divergence(file: Path, bundle: Bundle, inputs: Arrays, checks: Sequence[Check], terms: Terms) -> Divergence | None:
    """Where the file and the bundle's own part, if their values do."""
    if not any(check.passed is False for check in checks if check.name in ("paths", "nearest", "data", "streams")):
        return None
    reference, path = next((check.case for check in checks if check.case is not None), (None, None))
    inputs = inputs if reference is None else reference.inputs
    return searched(lambda: divergence_from_file(bundle, read(file).model, inputs, path, terms), path)


def check_points(
    file: Path,
    bundle: Bundle,
    folder: Path,
    inputs: Arrays,
    terms: Terms,
    *,
    points: Collection[str] = POINTS,
    data: Iterable[Mapping[str, NDArray[Any]]] | None = None,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
) -> tuple[Check, ...]:
    """Returns the checks of some points of the proof; where the file does not load there is nothing else to compare."""
    subject = read(file)
    contract = _check_contract(subject, bundle)
    try:
        rewritten = Rewritten(subject, bundle)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        failure = f"expected a file that onnxruntime loads, got {_first_line(error)}"
        return (Check("contract", False, contract.summary, (*contract.failures, failure)),)
    own = File(folder, bundle)
    original = Original(own, inputs)
    axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    bounds = bundle.manifest.get("axes", {})
    checks: dict[str, Callable[[], Check]] = {
        "contract": lambda: contract,
        "weights": lambda: check_named_weights(bundle.model, subject.model),
        "paths": lambda: check_paths(original, rewritten, terms, axes=axes, bounds=bounds),
        "nearest": lambda: check_nearest(original, rewritten, terms),
    }
    if data is not None:
        references = (Original(own, given) for given in checked_arrays(data, bundle))
        spread = Spread(
            jobs,
            None if results is None else Path(results),
            "" if results is None else " ".join(map(model_file_digest, (own.source, subject.path))),
            elsewhere=file_worker(OpensRewritten(subject.path.resolve(), folder.resolve()), terms),
        )
        checks["data"] = lambda: check_data(references, rewritten, terms, spread=spread)
    if bundle.plan.sites:
        checks |= {
            "streams": lambda: _check_streams(original, rewritten, terms),
            "law": lambda: _check_law(rewritten, inputs, terms),
            "laziness": lambda: check_kinds_that_ran(original, rewritten),
        }
    # what fails on the user's inputs is the file where it alone fails, and then ``check_data`` says so
    return tuple(check() if name == "data" else _guard(name, check) for name, check in checks.items() if name in points)


def _guard(name: str, check: Callable[[], Check]) -> Check:
    """A file that fails where the original does not is another model."""
    try:
        return check()
    except Exception as error:  # onnxruntime's own exceptions have no common base
        return Check(name, False, "the file fails", (f"expected an answer, got {_first_line(error)}",))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _check_contract(subject: Subject, bundle: Bundle) -> Check:
    """Inputs, outputs and decisions are what the bundle's manifest says; and so is the file's own, if it has one."""
    failures = [f.message for f in subject.remarks if f.severity == "error"]
    if subject.manifest is not None and subject.manifest != bundle.manifest:
        keys = sorted(k for k in bundle.manifest if subject.manifest.get(k) != bundle.manifest[k])
        failures.append(f"expected the manifest of the bundle, got another one ({', '.join(keys)})")
    judged = replace(subject, manifest=bundle.manifest, plan=bundle.plan, remarks=[])
    flow = Dataflow(judged.model)
    findings = [*check_contract(judged, flow), *check_defaults(judged, flow)]
    failures += [f.message for f in findings if f.severity == "error"]
    failures += _profile_failures(subject, bundle)
    summary = "manifest, inputs, outputs, an If per site, routes of seeds, thresholds: as the bundle's manifest says"
    return Check("contract", not failures, summary, tuple(failures))


def _profile_failures(subject: Subject, bundle: Bundle) -> list[str]:
    """One sentence for each profile of a folder that the bundle has not, or of which it has another law."""
    place = subject.path.parent / MANIFEST
    if not Path(subject.file).is_dir() or not place.is_file():
        return []
    try:
        found = {name: law_digest(told) for name, told in json.loads(place.read_text()).get("profiles", {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        return [f"expected a {MANIFEST} that says its profiles, got {type(error).__name__}: {error}"]
    laws = {name: law_digest(write_profile(profile)) for name, profile in bundle.profiles.items()}
    return [
        f"profile {name!r}: expected {'the law of the bundle, got another one' if name in laws else 'none, got one'}"
        for name, law in found.items()
        if laws.get(name) != law
    ]


def _check_streams(original: Original, file: Rewritten, terms: Terms) -> Check:
    """By seeds; a standalone file takes none and tells no path: each of its runs must give the outputs of one."""
    if file.interface != "standalone":
        return check_streams(original, file, file.routing(original.inputs), terms)
    paths, total, every = paths_to_compare(file.plan, 4096)
    if not every:
        return Check(
            "streams", None, f"a standalone file takes no seed, and its {total} paths are too many to tell apart"
        )
    expected = [original.on_path(path).outputs for path in paths]
    failures: list[str] = []
    for run in range(OWN_RUNS):
        got = file.on_its_own(original.inputs)
        if not any(terms.comparison().add("", one, got) for one in expected):
            failures.append(f"run {run}: expected the outputs of one of {total} paths, got others")
    summary = f"a standalone file takes no seed; each of {OWN_RUNS} runs by its own draws gave the outputs of a path"
    return Check("streams", not failures, summary, tuple(failures))


def _check_law(file: Rewritten, inputs: Arrays, terms: Terms) -> Check:
    routing = file.routing(inputs)
    with first_random_runs(routing) as drawn:
        return check_law(None, file, routing, drawn, inputs, terms)
