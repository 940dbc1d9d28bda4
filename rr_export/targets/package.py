"""A routed bundle -> the same bundle with one more form of its model, as an execution provider wants it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.bundle.bundle import Bundle, TargetFiles
from rr_export.bundle.manifest import METADATA_KEY
from rr_export.errors import PackageError
from rr_export.laws.plan import Plan
from rr_export.passes import copy_shared_weights, place_weights
from rr_export.targets.freeze import freeze_model
from rr_export.targets.frozen_paths import FrozenLaw, Metric, choose_paths
from rr_export.targets.marks import mark_sites
from rr_export.targets.provider_table import SHARES, Target, find_target, share_of
from rr_export.targets.reroute import reroute
from rr_export.targets.sizes import check_sizes, fix_sizes, fixed_rows, fixed_shape, symbolic_axes
from rr_export.targets.split import split
from rr_runtime.arguments import check_inputs
from rr_runtime.draws import draws
from rr_runtime.manifest import Manifest

Arrays = Mapping[str, NDArray[Any]]
FORMATS = ("onnx", "ort")
QDQ_PATHS = 128  # paths that each calibration input is run on, more where that many do not reach every branch
QDQ_RUNS = 1024  # of calibration inputs on paths

ACTIVATION_BITS = {"qdq": 8, "qdq16": 16}
FORMS = ("routed", "segments")


@dataclass(frozen=True)
class Form:
    """One form of a model.

    Attributes:
        about: what the manifest says about it, besides what it says about every target.
        models: its models by file name.
    """

    about: Mapping[str, Any]
    models: Mapping[str, ir.Model | bytes]


def package(
    bundle: Bundle,
    target: str,
    *,
    form: str | None = None,
    frozen: int | None = None,
    best: Metric | None = None,
    sizes: Mapping[str, int] | None = None,
    precision: str = "float32",
    calibration: Sequence[Arrays] | None = None,
    name: str | None = None,
    format: str = "onnx",
) -> Bundle:
    """Returns the bundle with one more target; its own model and its other targets stay, over the same weights.

    Made from the bundle alone: the PyTorch model and its source are not needed.

    Args:
        bundle: a bundle with a routed model.
        target: what it is for: a name in ``TARGETS``, which says what form the model gets.
        form: "routed" or "segments" in place of the form that the target says; a routed form has the target's
            interface, or "host" where it has none.
        frozen: instead of that form, static files of this many paths, of which the runtime chooses one per run. Their
            law is as near to the plan's as that many paths allow; the distance stands in the manifest.
        best: take the frozen paths for which this is largest; None: paths drawn from the plan.
        sizes: sizes of symbolic axes to fix, by name; engines that want static shapes need all of them.
        precision: "float32", "float16" (inside; inputs and outputs stay), "qdq" (8-bit integers; static forms only) or
            "qdq16" (the same with activations of 16 bits, which transformers need; opset 21).
        calibration: for "qdq" and "qdq16": inputs to calibrate with; each is run on paths that reach every branch.
            Larger ones are cut into pieces of the target's sizes. None: the inputs of the golden cases.
        name: the target's name; None: ``target``.
        format: "onnx", or "ort" for ONNX Runtime's own format, with weights inside each file and the list of operators
            that a reduced build needs.

    Raises:
        PackageError: the target does not take such a form, the name is taken, or the model has no such form.
        ValueError: a name, size or number is wrong; raised before any work.
    """
    profile = find_target(target)
    _check_options(form, frozen, best, precision, calibration)
    profile = _with_form(profile, form)
    sizes = {} if sizes is None else sizes
    name = target if name is None else name
    _check(bundle, profile, frozen, sizes, precision, name, format)
    feeds = _calibration(bundle, calibration, sizes) if precision in ACTIVATION_BITS else []
    model = bundle.model.clone()
    mark_sites(model, bundle.plan, bundle.manifest.get("idle", ()))
    fix_sizes(model, sizes)
    if frozen is not None:
        made = _frozen(model, bundle, name, choose_paths(bundle.plan, frozen, best=best), sizes)
    elif profile.form == "segments":
        made = _segments(model, bundle.plan, name)
    else:
        made = _routed(model, bundle, profile, name, sizes)
    made = _with_precision(made, precision, profile, bundle.plan, feeds)
    made = _with_format(made, format, profile, name)
    _check_files(bundle, made, name)
    tolerances = bundle.manifest["tolerances"]
    share = share_of(profile.name, precision)
    about = {
        "provider": profile.name,
        "precision": precision,
        **tolerances,
        **({"share": share} if share else {}),
        **({"sizes": sizes} if sizes else {}),
        **({} if profile.reads_weight_file else {"weights_inside": True}),
        **made.about,
    }
    return replace(bundle, targets={**bundle.targets, name: TargetFiles(about, made.models)}, parity=None, path=None)


def _with_form(profile: Target, form: str | None) -> Target:
    """The profile with another form."""
    if form is None or form == profile.form:
        return profile
    if form not in FORMS:
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}; choose one, or freeze paths")
    return replace(profile, form=form, interface=None if form == "segments" else profile.interface or "host")


def _check_options(form: str | None, frozen: int | None, best: object, precision: str, calibration: object) -> None:
    """Raises a ValueError where an option would do nothing."""
    if form is not None and frozen is not None:
        raise ValueError(f"form: expected None beside frozen, got {form!r}; frozen paths are a form of their own")
    if best is not None and frozen is None:
        raise ValueError("best: expected frozen=N beside it, got none; say how many paths")
    if calibration is not None and precision not in ACTIVATION_BITS:
        raise ValueError(
            f"calibration: expected precision 'qdq' or 'qdq16' beside it, got {precision!r}; leave it away"
        )


def _check_files(bundle: Bundle, made: Form, name: str) -> None:
    """Raises a PackageError where another target has a file of the same name."""
    for other, target in bundle.targets.items():
        for file in target.models:
            if file in made.models:
                raise PackageError(
                    f"name: expected files of their own, got {file!r} of target {other!r} for {name!r}; "
                    "choose another name"
                )


def _check(
    bundle: Bundle,
    profile: Target,
    frozen: int | None,
    sizes: Mapping[str, int],
    precision: str,
    name: str,
    format: str,
) -> None:
    where = f"target {profile.name!r}"
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}; choose one")
    if precision not in SHARES:
        raise ValueError(f"precision: expected one of {', '.join(SHARES)}, got {precision!r}; choose one")
    if (
        not isinstance(name, str)
        or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name)
        or name in ("default", "model")
    ):
        raise ValueError(
            f"name: expected letters, digits, '_', '-' and '.', and neither 'default' nor 'model', got {name!r}; "
            "choose another"
        )
    check_sizes(bundle.manifest, sizes)
    if name in bundle.targets:
        raise PackageError(f"{where}: expected a new name, got {name!r}, which the bundle has; pass name=... (--name)")
    static = profile.form == "segments" or frozen is not None
    if precision in ACTIVATION_BITS and not static:
        raise PackageError(
            f"{where}: expected a static form for precision {precision!r}, got routed; freeze paths (frozen=N, "
            "--frozen N), or cut it into segments (form='segments', --form segments)"
        )
    if precision not in profile.precisions and not (precision in ACTIVATION_BITS and static):
        raise PackageError(
            f"{where}: expected precision {' or '.join(profile.precisions)}, got {precision!r}; choose another"
        )
    free = [axis for axis in symbolic_axes(bundle.manifest) if axis not in sizes]
    if profile.static and free:
        raise PackageError(
            f"{where}: expected fixed shapes, got the symbolic axes {', '.join(free)}; pass "
            f"sizes={{{free[0]!r}: N}} (--size {free[0]}=N)"
        )


def _routed(model: ir.Model, bundle: Bundle, profile: Target, name: str, sizes: Mapping[str, int]) -> Form:
    """One graph with the interface of the profile."""
    interface = "plain"
    if bundle.plan.sites:
        assert profile.interface is not None
        interface = profile.interface
        if interface != bundle.manifest["interface"]:
            reroute(model, bundle.plan, interface)
    if profile.weights == "leaf":
        place_weights(model, deeper_than=0)
        copy_shared_weights(model, deeper_than=0)
    _stamp(model, bundle.manifest, sizes, interface=interface)
    file = f"{name}.onnx"
    return Form({"form": "routed", "interface": interface, "model": file}, {file: model})


def _segments(model: ir.Model, plan: Plan, name: str) -> Form:
    """Static files, and the program that walks a path through them."""
    program, models = split(model, plan, name)
    return Form({"form": "segments", "program": program}, dict(models))


def _frozen(model: ir.Model, bundle: Bundle, name: str, law: FrozenLaw, sizes: Mapping[str, int]) -> Form:
    """Static files of single paths, and the law by which the runtime chooses among them."""
    models: dict[str, ir.Model | bytes] = {}
    paths = []
    for number, (path, weight, keep) in enumerate(zip(law.paths, law.weights, law.keeps(), strict=True)):
        file = f"{name}.{number}.onnx"
        models[file] = freeze_model(model.clone(), path)
        _stamp(models[file], bundle.manifest, sizes, interface="plain", sites=[], idle=[], frozen={"path": path})
        paths.append({"path": list(path), "weight": float(weight), "keep": float(keep), "model": file})
    about = {"form": "frozen", "paths": paths, "thresholds": law.thresholds().astype(float).tolist()}
    return Form({**about, "distance": law.to_json()}, models)


def _stamp(model: ir.Model | bytes, manifest: Mapping[str, Any], sizes: Mapping[str, int], **changes: Any) -> None:
    """The model's metadata says what it is, so that it explains itself alone."""
    assert isinstance(model, ir.Model)
    rows = {side: fixed_rows(manifest[side], sizes) for side in ("inputs", "outputs")}
    axes = {axis: bounds for axis, bounds in manifest.get("axes", {}).items() if axis not in sizes}
    model.metadata_props[METADATA_KEY] = json.dumps({**manifest, **rows, "axes": axes, **changes})


def _with_precision(form: Form, precision: str, profile: Target, plan: Plan, feeds: Sequence[Arrays]) -> Form:
    """The form in another precision, if that is asked for."""
    if precision == "float32":
        return form
    from rr_export.targets.calibrate import quantize_segments, quantize_static_model
    from rr_export.targets.precision import to_half

    models = {name: model for name, model in form.models.items() if isinstance(model, ir.Model)}
    if precision == "float16":
        return Form(form.about, {name: to_half(model) for name, model in models.items()})
    if form.about["form"] == "segments":
        runs = _paired(feeds, _covering(plan))
        bits = ACTIVATION_BITS[precision]
        made = quantize_segments(form.about["program"], models, runs, profile.name, activation_bits=bits)
        return Form(form.about, dict(made))
    return Form(
        form.about,
        {
            name: quantize_static_model(model, feeds, profile.name, activation_bits=ACTIVATION_BITS[precision])
            for name, model in models.items()
        },
    )


def _with_format(form: Form, format: str, profile: Target, name: str) -> Form:
    """The form in ONNX Runtime's own format, if that is asked for, with the list of operators that it needs."""
    if format == "onnx":
        return form
    models = {file: model for file, model in form.models.items() if isinstance(model, ir.Model)}
    from rr_export.targets.ort_files import to_ort

    made, operators = to_ort(models, "fixed" if profile.name == "cpu" else "runtime")
    listed = f"{name}.required_operators.config"
    about = {
        **_renamed(form.about, {file: file.removesuffix(".onnx") + ".ort" for file in models}),
        "operators": listed,
    }
    return Form(about, {**made, listed: operators.encode()})


def _renamed(about: Any, names: Mapping[str, str]) -> Any:
    """Returns a JSON value in which the files have their new names."""
    if isinstance(about, Mapping):
        return {
            key: names[value] if key in ("model", "run") else _renamed(value, names) for key, value in about.items()
        }
    return [_renamed(value, names) for value in about] if isinstance(about, list) else about


def _covering(plan: Plan) -> list[tuple[int, ...]]:
    """Returns reported paths that reach every branch: all, or a pairwise covering set and paths that seeds draw."""
    if not plan.sites:
        return [()]
    if plan.path_count() <= QDQ_PATHS:
        return list(plan.paths())
    seeds = range(QDQ_PATHS)
    drawn = [tuple(plan.taken(plan.routes(draws(seed, len(plan.sites)))).tolist()) for seed in seeds]
    covering = plan.covering()
    return list(dict.fromkeys([*covering, plan.most_probable(), *drawn]))[: max(QDQ_PATHS, len(covering))]


def _calibration(bundle: Bundle, calibration: Sequence[Arrays] | None, sizes: Mapping[str, int]) -> list[Arrays]:
    """Returns the inputs to calibrate with, in the sizes of the target."""
    if isinstance(calibration, Mapping):
        raise TypeError(
            "calibration: expected a list of inputs, each a mapping of names to arrays, got one mapping; "
            "write calibration=[{...}]"
        )
    given = calibration if calibration is not None else [bundle.golden[0].inputs] if bundle.golden else []
    if not given:
        raise PackageError(
            "calibration: expected inputs for precision 'qdq', got none, and the bundle has no golden cases; pass "
            "calibration=[{...}] (--calibration FILE.npz)"
        )
    rows = {row["name"]: row["shape"] for row in bundle.manifest["inputs"]}
    declared = Manifest.parse(bundle.manifest)
    checked = []
    for number, inputs in enumerate(given):
        try:
            checked.append(check_inputs(inputs, declared.inputs, declared.axes))
        except (TypeError, ValueError) as error:
            raise type(error)(f"calibration[{number}]: {error}") from error
    return [piece for inputs in checked for piece in _windows(inputs, rows, sizes)]


def _windows(inputs: Arrays, rows: Mapping[str, Sequence[int | str]], sizes: Mapping[str, int]) -> list[Arrays]:
    """Returns the inputs cut into pieces of the fixed sizes, all of them; the last piece starts again at the first."""
    wanted = {name: fixed_shape(shape, sizes) for name, shape in rows.items()}
    axes = [
        (name, axis, size) for name, shape in wanted.items() for axis, size in enumerate(shape) if isinstance(size, int)
    ]
    pieces = max((-(-inputs[name].shape[axis] // size) for name, axis, size in axes if size), default=1)
    found: list[Arrays] = []
    for piece in range(pieces):
        cut = dict(inputs)
        for name, axis, size in axes:
            cut[name] = np.take(cut[name], (piece * size + np.arange(size)) % inputs[name].shape[axis], axis=axis)
        found.append(cut)
    return found


def _paired(feeds: Sequence[Arrays], paths: Sequence[tuple[int, ...]]) -> list[tuple[Arrays, tuple[int, ...]]]:
    """Returns inputs with paths: all pairs where they are few, else every input and every path at least once."""
    if len(feeds) * len(paths) <= QDQ_RUNS:
        return [(inputs, path) for inputs in feeds for path in paths]
    count = max(QDQ_RUNS, len(feeds), len(paths))
    return [(feeds[i % len(feeds)], paths[(i + i // len(feeds)) % len(paths)]) for i in range(count)]
