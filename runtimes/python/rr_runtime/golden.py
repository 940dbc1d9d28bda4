"""Replays the recorded runs of a bundle and compares their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.array_files import stored_arrays
from rr_runtime.bundle import GOLDEN, Bundle
from rr_runtime.errors import BundleError, RuntimeFailure
from rr_runtime.manifest import GoldenCase, Tensor
from rr_runtime.results import Result
from rr_runtime.target import DEFAULT, Target


@dataclass(frozen=True)
class Replayed:
    """A recorded run that was repeated.

    Attributes:
        number: which one.
        case: what is recorded of it, as it was repeated: a frozen target takes the path itself, not the seed.
        failure: what differs, None where it holds.
    """

    number: int
    case: GoldenCase
    failure: RuntimeFailure | None


def check_golden(bundle: Bundle, target: Target | None, run: Callable[..., Result]) -> int:
    """Returns how many recorded runs `run` repeated: the same path and, within the tolerances, outputs.

    Integers and bools must be equal, NaN and infinities in the same places. Runs on paths that a frozen target does not
    have, and at other sizes than those that a target fixes, are left out.

    Args:
        bundle: the bundle that the cases come from.
        target: which of its targets runs, or None for its own model.
        run: `Session.run`.

    Raises:
        BundleError: the recorded arrays are damaged.
        RuntimeFailure: there are no cases, or one differs; it names case and output.
    """
    count = 0
    for replayed in replay_golden(bundle, target, run):
        if replayed.failure is not None:
            raise replayed.failure
        count += 1
    return count


def replay_golden(bundle: Bundle, target: Target | None, run: Callable[..., Result]) -> Iterator[Replayed]:
    """Yields every recorded run that the form can repeat, repeated; arguments and what is left out as `check_golden`.

    Raises:
        BundleError: the recorded arrays are damaged.
        RuntimeFailure: there are no cases that the form can repeat.
    """
    arrays = _load(bundle) if replayable(bundle, target) is None else {}
    cases = replayable_cases(bundle, target, arrays)
    for number, case in cases.items():
        failure = None
        try:
            _check_case(bundle, target, number, case, arrays, run)
        except RuntimeFailure as error:
            failure = error
        yield Replayed(number, case, failure)


def replayable(bundle: Bundle, target: Target | None) -> str | None:
    """Returns why no recorded run can be repeated on a form, whatever the runs are; None where they can."""
    if not bundle.manifest.golden:
        return "expected golden cases, got none; check a bundle folder that has some"
    if bundle.manifest.interface == "standalone" and target is None:
        return (
            "expected a file that takes a path, got interface 'standalone', whose runs cannot be repeated; verify it "
            "with rr_export"
        )
    return None


def replayable_cases(
    bundle: Bundle, target: Target | None, arrays: Mapping[str, NDArray[Any]]
) -> dict[int, GoldenCase]:
    """Returns the recorded runs that a form can repeat, by number.

    Raises:
        RuntimeFailure: there are none.
    """
    manifest, where = bundle.manifest, f"{bundle.path}: "
    why = replayable(bundle, target)
    if why is not None:
        raise RuntimeFailure(where + why)
    cases = dict(enumerate(manifest.golden))
    if target is None:
        return cases
    sized = [n for n in cases if has_sizes(manifest.inputs, _inputs(bundle, arrays, n), target.sizes)]
    if not sized:
        raise RuntimeFailure(
            f"{where}expected golden cases at the sizes {dict(target.sizes)} of target {target.name!r}, "
            "got none; verify it with rr_export, or package it again"
        )
    if target.form != "frozen":
        return {number: cases[number] for number in sized}
    packaged = {frozen.path for frozen in target.paths}
    found = {n: replace(cases[n], seed=None, path=cases[n].taken) for n in sized if cases[n].taken in packaged}
    if not found:
        raise RuntimeFailure(
            f"{where}expected golden cases on paths of target {target.name!r}, got none; "
            "verify it with rr_export, or package these paths"
        )
    return found


def forms_of_cases(bundle: Bundle) -> list[list[str]]:
    """Returns for every recorded run the forms that can repeat it, by name: those of its sizes that have its path.

    Raises:
        BundleError: the recorded arrays are damaged.
    """
    forms: dict[str, Target | None] = {DEFAULT: None} if bundle.model is not None else {}
    forms |= bundle.manifest.targets
    found: list[list[str]] = [[] for _ in bundle.manifest.golden]
    if not found:
        return found
    arrays = _load(bundle) if any(target is not None and target.sizes for target in forms.values()) else {}
    for name, target in forms.items():
        try:
            cases = replayable_cases(bundle, target, arrays)
        except RuntimeFailure:  # there are none
            continue
        for number in cases:
            found[number].append(name)
    return found


def has_sizes(declared: Sequence[Tensor], inputs: Mapping[str, NDArray[Any]], sizes: Mapping[str, int]) -> bool:
    """Tells whether inputs have the sizes that a target fixes; damaged ones are looked at later."""
    return all(
        sizes.get(name, size) == size if isinstance(name, str) else True
        for tensor in declared
        if tensor.name in inputs
        for name, size in zip(tensor.shape, inputs[tensor.name].shape, strict=False)
    )


def golden_inputs(bundle: Bundle, number: int, target: Target | None = None) -> dict[str, NDArray[Any]]:
    """Returns the inputs of a recorded run, by name.

    Args:
        bundle: the bundle.
        number: of the run.
        target: the form that they are for; None: the bundle's own model.

    Raises:
        BundleError: the recorded arrays are damaged.
        ValueError: there is no such run, or its inputs have other sizes than the target fixes.
    """
    count = len(bundle.manifest.golden)
    if not 0 <= number < count:
        known = f"0..{count - 1}" if count else "a bundle folder that has some"
        raise ValueError(f"golden case: expected {known}, got {number} of {count} in {bundle.path}; name another")
    arrays, declared = _load(bundle), bundle.manifest.inputs
    inputs = _inputs(bundle, arrays, number)
    if target is not None and not has_sizes(declared, inputs, target.sizes):
        fitting = [n for n in range(count) if has_sizes(declared, _inputs(bundle, arrays, n), target.sizes)]
        raise ValueError(
            f"golden case: expected one at the sizes {dict(target.sizes)} of target {target.name!r} "
            f"({', '.join(map(str, fitting)) or 'there is none'}), got {number}, at others; name another"
        )
    return inputs


def difference(
    expected: NDArray[Any], found: NDArray[Any], *, rtol: float, atol: float, share: float = 0.0
) -> str | None:
    """Returns what differs between two outputs, in words, or None.

    Floats agree where `|found - expected| <= atol + rtol * |expected|`. Where `share` is above 0, instead, the root
    mean square of the differences is at most this share of the deviation of `expected` (one number: of its size).
    """
    if expected.dtype != found.dtype or expected.shape != found.shape:
        return f"expected {expected.dtype} {list(expected.shape)}, got {found.dtype} {list(found.shape)}"
    if share and expected.dtype.kind == "f" and expected.size:
        return _share_difference(expected.astype(float), found.astype(float), share)
    if expected.dtype.kind == "f":
        with np.errstate(invalid="ignore", over="ignore"):
            wrong = ~np.isclose(found.astype(float), expected.astype(float), rtol=rtol, atol=atol, equal_nan=True)
    else:
        wrong = found != expected
    if not wrong.any():
        return None
    worst = tuple(int(i) for i in np.argwhere(wrong)[0])
    return (
        f"expected {expected[worst]!s} at {list(worst)}, got {found[worst]!s} "
        f"({int(wrong.sum())} of {wrong.size} differ, rtol {rtol:g}, atol {atol:g})"
    )


def _share_difference(expected: NDArray[Any], found: NDArray[Any], share: float) -> str | None:
    finite = np.isfinite(expected)
    if not np.array_equal(expected[~finite], found[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
        return "expected NaN and infinities at the same places, got them elsewhere"
    if not finite.any():
        return None
    error = float(np.sqrt(np.mean((found[finite] - expected[finite]) ** 2)))
    scale = float(expected[finite].std() if finite.sum() > 1 else np.abs(expected[finite]).max())
    if error <= share * scale:
        return None
    return f"expected differences of at most {share:.0%} of the deviation {scale:.3g}, got {error:.3g}"


def _load(bundle: Bundle) -> dict[str, NDArray[Any]]:
    file = bundle.path / GOLDEN
    if GOLDEN not in bundle.manifest.files:
        raise BundleError(f"{file}: expected a recorded file, as there are golden cases, got none; export again")
    try:
        return stored_arrays(file)
    except Exception as error:  # numpy, zipfile and zlib each have their own
        raise BundleError(f"{file}: expected arrays, got {type(error).__name__}: {error}; export again") from error


def _check_case(
    bundle: Bundle,
    target: Target | None,
    number: int,
    case: GoldenCase,
    arrays: Mapping[str, NDArray[Any]],
    run: Callable[..., Result],
) -> None:
    where = f"{bundle.path}: golden case {number}{f' ({case.why})' if case.why else ''}"
    inputs = _inputs(bundle, arrays, number)
    expected = _side(arrays, f"{number}/output/")
    names = [tensor.name for tensor in bundle.manifest.outputs]
    if set(expected) != set(names):
        raise BundleError(f"{where}: expected outputs {names}, got {sorted(expected)}; export again")
    routed = bundle.manifest.interface != "plain"
    path = case.taken if case.seed is None and case.path is None else case.path
    try:
        result = run(inputs, seed=case.seed, path=path) if routed else run(inputs)
    except (TypeError, ValueError) as error:
        raise BundleError(f"{where}: expected inputs of this model, got: {error}; export again") from error
    if result.path is not None and case.taken is not None and result.path.tolist() != list(case.taken):
        raise RuntimeFailure(
            f"{where}: expected path {list(case.taken)}, got {result.path.tolist()}; "
            "this onnxruntime computes the routing wrongly, use another version or provider"
        )
    for name in names:
        found = difference(
            expected[name],
            result.outputs[name],
            rtol=bundle.manifest.rtol if target is None else target.rtol,
            atol=bundle.manifest.atol if target is None else target.atol,
            share=0.0 if target is None else target.share,
        )
        if found is not None:
            raise RuntimeFailure(f"{where}: output {name!r}: {found}; try another version of onnxruntime or provider")


def _inputs(bundle: Bundle, arrays: Mapping[str, NDArray[Any]], number: int) -> dict[str, NDArray[Any]]:
    shared = bundle.manifest.golden[number].inputs
    return _side(arrays, f"{number if shared is None else shared}/input/")


def _side(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
