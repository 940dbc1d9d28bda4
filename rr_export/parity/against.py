"""A file that another tool has rewritten, proven again against the bundle that it came from."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rr_export.bundle import Bundle, load
from rr_export.errors import ParityError
from rr_export.lint.contract import check_contract
from rr_export.lint.flow import Flow
from rr_export.lint.reading import read
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.parity.compare import Arrays, Comparison
from rr_export.parity.law import check_law
from rr_export.parity.laziness import LEVELS, kernels, paths_taking_everything, profiling_options
from rr_export.parity.paths import Progress, check_paths, choose_paths
from rr_export.parity.report import Check, Report
from rr_export.parity.streams import check_streams
from rr_export.parity.subject import Answer, File, Reference, resize_array
from rr_export.parity.verify import check_tolerances
from rr_export.plan import Plan
from rr_export.routing import Path_, RoutingSlice, cut_at_path, cut_routing
from rr_runtime.draws import draws

POINTS = ("contract", "paths", "nearest", "streams", "law", "laziness")
PARTS = ("rr-export", "rr-runtime", "onnxruntime", "onnx", "numpy")
HEAVY = ("MatMul", "Gemm", "Conv", "Attention", "LSTM", "GRU", "RNN")  # parts of the names of operators with weights
OWN_RUNS = 16  # whole runs of a standalone file that draws by itself


def verify_against(
    file: str | os.PathLike[str],
    bundle: Bundle | str | os.PathLike[str],
    *,
    inputs: Mapping[str, NDArray[Any]] | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-5,
    max_paths: int = 256,
    progress: Progress | None = None,
) -> Report:
    """The file still is the model of the bundle: the report says how far that was tried. torch is not used.

    Args:
        file: what a tool has made of the bundle's model: a ``.onnx`` or ``.ort`` file.
        bundle: the bundle, or the place of one, that was verified against the eager model.
        inputs: arrays by input name; the bundle's first golden case has some.
        rtol: relative tolerance of floating-point outputs.
        atol: absolute tolerance; a quantised file needs a larger one.
        max_paths: as for ``verify``.
        progress: called with (stage, done, total).

    Raises:
        ParityError: something does not hold; its ``report`` says what.
        LintError: the file is no ONNX model.
        ValueError: a wrong argument.
    """
    check_tolerances(rtol, atol, max_paths)
    opened = bundle if isinstance(bundle, Bundle) else load(bundle)
    if inputs is None and not opened.golden:
        raise ValueError(
            f"verify: expected inputs, or a bundle folder with golden cases, got neither in {opened.path}; pass "
            "inputs= (--input)"
        )
    given = dict(opened.golden[0].inputs if inputs is None else inputs)
    tell = progress or (lambda stage, done, total: None)
    with opened.folder() as folder:
        checks = check_points(
            Path(file), opened, folder, given, rtol=rtol, atol=atol, max_paths=max_paths, progress=tell
        )
    report = Report(checks, str(file), {p: version(p) for p in PARTS} | {"Python": platform.python_version()})
    if not report.passed:
        raise ParityError(f"verify: expected the same model, got differences\n{report}", report)
    return report


def check_points(
    file: Path,
    bundle: Bundle,
    folder: Path,
    inputs: Arrays,
    *,
    points: Collection[str] = POINTS,
    rtol: float,
    atol: float,
    max_paths: int,
    progress: Progress,
) -> tuple[Check, ...]:
    """Returns the checks of some points of the proof; where the file does not load there is nothing else to compare."""
    contract, rewritten = _load(file, bundle)
    if rewritten is None:
        return (contract,)
    original = Original(File(folder, bundle), inputs)
    axes = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    bounds = bundle.manifest.get("axes", {})
    compare = partial(check_paths, axes=axes, bounds=bounds, max_paths=max_paths, progress=progress)
    checks: dict[str, Callable[[], Check]] = {
        "contract": lambda: contract,
        "paths": lambda: compare(original, rewritten, rtol=rtol, atol=atol),
        "nearest": lambda: _check_nearest(original, rewritten, max_paths),
    }
    if bundle.plan.sites:
        checks |= {
            "streams": lambda: _check_streams(original, rewritten, rtol, atol, progress),
            "law": lambda: check_law(None, rewritten, rewritten.routing(inputs), inputs, progress=progress),
            "laziness": lambda: _check_laziness(original, rewritten),
        }
    return tuple(_guard(name, check) for name, check in checks.items() if name in points)


def _guard(name: str, check: Callable[[], Check]) -> Check:
    """A file that fails where the original does not is another model."""
    try:
        return check()
    except Exception as error:  # onnxruntime's own exceptions have no common base
        text = str(error).splitlines()[0] if str(error) else ""
        return Check(name, False, "the file fails", (f"expected an answer, got {type(error).__name__}: {text}",))


class Original:
    """The bundle's own file, as what is right."""

    def __init__(self, file: File, inputs: Arrays) -> None:
        self.file, self.inputs = file, inputs

    def on_path(self, path: Path_) -> Answer:
        """Returns what the bundle's file gives when forced to ``path``."""
        return self.file.on_path(self.inputs, path)

    def on_seed(self, seed: int) -> Answer:
        """Returns what the bundle's file gives with the draws of ``seed``."""
        return self.file.on_seed(self.inputs, seed)

    def on_seed_and_path(self, seed: int, path: Path_) -> Answer:
        """Returns what the bundle's file gives with ``seed`` where ``path`` does not force a route."""
        return self.file.on_seed(self.inputs, seed, path)

    def resized(self, sizes: Mapping[str, int], axes: Mapping[str, Sequence[int | str]]) -> Reference:
        """Returns the file with inputs whose named axes have other sizes (elements repeat cyclically)."""
        return Original(self.file, {n: resize_array(a, axes.get(n, ()), sizes) for n, a in self.inputs.items()})


class Rewritten(File):
    """The file to prove, which need not carry a manifest any more: the bundle's says what it should be."""

    def __init__(self, file: Path, bundle: Bundle) -> None:
        self.interface = bundle.manifest["interface"]
        self.source = file
        self.plan: Plan = bundle.plan
        self.forcible: str | bytes = str(file)
        self._names = [row["name"] for row in bundle.manifest["outputs"]]
        self._whole = _open(str(file))
        self._forced = self._whole
        if self.interface == "standalone":
            self.forcible = cut_at_path(read(file).model, len(self.plan.sites))
            self._forced = _open(self.forcible)

    def routing(self, inputs: Arrays) -> RoutingSlice:
        """Returns the routing slice of the file."""
        return cut_routing(read(self.source).model, self.interface, self.plan, inputs)

    def on_path(self, inputs: Arrays, path: Path_) -> Answer:
        """Returns what the file gives when forced to ``path``."""
        return self._answer(self._forced, self.feeds(inputs, path), path)

    def on_seed(self, inputs: Arrays, seed: int, path: Path_ | None = None) -> Answer:
        """Returns what the file gives with ``seed``, where ``path`` does not force a route."""
        count = len(self.plan.sites)
        drawn = {SEED: np.array(seed)} if self.interface == "explicit" else {DRAWS: draws(seed, count)}
        routes = np.full(count, -1) if path is None else np.array(path, dtype=np.int64)
        return self._answer(self._whole, {**inputs, **drawn, PATH: routes}, ())

    def on_random_node(self, inputs: Arrays) -> Answer:
        """Returns what an explicit file gives when its random node decides."""
        free = np.full(len(self.plan.sites), -1)
        return self._answer(self._whole, {**inputs, SEED: np.array(-1), PATH: free}, ())

    def on_its_own(self, inputs: Arrays) -> Arrays:
        """Returns what a standalone file gives."""
        return dict(zip(self._names, self._whole.run(self._names, dict(inputs)), strict=True))

    def _answer(self, session: onnxruntime.InferenceSession, feeds: Arrays, path: Path_) -> Answer:
        """The outputs by the bundle's names; what else the file gives is a difference."""
        told = self.interface in ("explicit", "host")
        names = [o.name for o in session.get_outputs()]
        values = dict(zip(names, session.run(names, dict(feeds)), strict=True))
        taken = np.asarray(values.pop(TAKEN)) if told else np.array(path, dtype=np.int64)
        return Answer(values, taken)


def _open(file: str | bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(file, profiling_options(LEVELS["all"]), providers=["CPUExecutionProvider"])


def _load(file: Path, bundle: Bundle) -> tuple[Check, Rewritten | None]:
    """Whether onnxruntime takes the file, and whether its inputs, outputs and decisions are the manifest's."""
    subject = read(file)
    subject.manifest, subject.plan = bundle.manifest, bundle.plan
    failures = [f.message for f in check_contract(subject, Flow(subject.model)) if f.severity == "error"]
    rewritten = None
    try:
        rewritten = Rewritten(file, bundle)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        text = str(error).splitlines()[0] if str(error) else ""
        failures.append(f"expected a file that onnxruntime loads, got {type(error).__name__}: {text}")
    summary = "inputs, outputs, an If per site, thresholds: as the manifest says"
    return Check("contract", not failures, summary, tuple(failures)), rewritten


def _check_nearest(original: Original, file: Rewritten, max_paths: int) -> Check:
    """On every path the file is nearer to the original on that path than on any other: a tolerance hides no swap."""
    paths, _, _ = choose_paths(file.plan, max_paths)
    expected = np.stack([_numbers(original.on_path(p).outputs) for p in paths])
    failures: list[str] = []
    worst = 0.0
    for i, path in enumerate(paths):
        got = _numbers(file.on_path(original.inputs, path).outputs)
        if got.shape != expected[i].shape:
            failures.append(f"path {list(path)}: expected {expected[i].size} numbers, got {got.size}")
            continue
        apart = np.linalg.norm(expected - got, axis=1)
        others = np.linalg.norm(expected - expected[i], axis=1) > 0
        if not others.any():
            continue
        nearest = int(np.flatnonzero(others)[apart[others].argmin()])
        worst = max(worst, float(apart[i] / max(apart[nearest], np.finfo(float).tiny)))
        if not apart[i] < apart[nearest]:
            failures.append(f"path {list(path)}: expected the original's outputs, got nearer to {list(paths[nearest])}")
    return Check(
        "nearest",
        not failures,
        f"on each of {len(paths)} paths nearer to the original on that path than on any other: at most {worst:.2g} as "
        "far",
        tuple(failures),
        {"paths": len(paths), "largest_ratio": worst},
    )


def _numbers(outputs: Arrays) -> NDArray[np.float64]:
    """All outputs as one vector; what is not finite counts as 0 (the paths' own check holds it)."""
    parts = [np.asarray(a).astype(np.float64).ravel() for a in outputs.values() if a.dtype.kind in "fiub"]
    return np.nan_to_num(np.concatenate(parts), posinf=0, neginf=0) if parts else np.zeros(0)


def _check_streams(original: Original, file: Rewritten, rtol: float, atol: float, tell: Progress) -> Check:
    if file.interface == "standalone":
        return _check_own_runs(original, file, rtol, atol)
    return check_streams(original, file, file.routing(original.inputs), rtol=rtol, atol=atol, progress=tell)


def _check_own_runs(original: Original, file: Rewritten, rtol: float, atol: float) -> Check:
    """A standalone file tells no path: each run by its own draws must give the outputs of one."""
    paths, total, every = choose_paths(file.plan, 4096)
    if not every:
        return Check(
            "streams", None, f"a standalone file takes no seed, and its {total} paths are too many to tell apart"
        )
    expected = [original.on_path(path).outputs for path in paths]
    failures: list[str] = []
    for run in range(OWN_RUNS):
        got = file.on_its_own(original.inputs)
        if not any(Comparison(rtol, atol).add("", one, got) for one in expected):
            failures.append(f"run {run}: expected the outputs of one of {total} paths, got others")
    summary = f"a standalone file takes no seed; each of {OWN_RUNS} runs by its own draws gave the outputs of a path"
    return Check("streams", not failures, summary, tuple(failures))


def _check_laziness(original: Original, file: Rewritten) -> Check:
    """On no path more products, convolutions or recurrences run than in the original; smaller nodes are not counted."""
    paths = paths_taking_everything(file.plan)
    failures: list[str] = []
    counts: list[int] = []
    for path in paths:
        expected, got = (_heavy_kernels(f, original.inputs, path) for f in (original.file, file))
        counts.append(got)
        if got > expected:
            failures.append(f"path {list(path)}: expected at most {expected} nodes with weights to run, got {got}")
    return Check(
        "laziness",
        not failures,
        f"products, convolutions and recurrences that ran on {len(paths)} paths: {counts}, on none more than in the "
        "original",
        tuple(failures),
        {"profiled_paths": [list(p) for p in paths], "executed_nodes": counts},
    )


def _heavy_kernels(file: File, inputs: Arrays, path: Path_) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        options = profiling_options(LEVELS["disabled"])
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        session = onnxruntime.InferenceSession(file.forcible, options, providers=["CPUExecutionProvider"])
        session.run(None, file.feeds(inputs, path))
        ran = kernels(Path(session.end_profiling()))
        return sum(any(part in op for part in HEAVY) for _, op in ran)
