"""Inputs far from the example, on which nothing of the example itself can stand in for a condition on the input."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from rr_export.errors import RunError
from rr_export.parity.compare import Arrays, Comparison
from rr_export.parity.eager_model import Eager
from rr_export.parity.rounding import rounding
from rr_export.parity.subject import Answer, File
from rr_export.parity.terms import Terms
from rr_export.report.report import Check

RUNS = 2  # free runs on each of the inputs

_TOPK = (torch.topk, torch.Tensor.topk)

Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def _same(tensor: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    return tensor


def _shuffled(tensor: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    order = torch.randperm(tensor.numel(), generator=random)
    return tensor.flatten()[order].reshape(tensor.shape)


def _normal(tensor: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    numbers = tensor.double()
    spread = numbers.std() if tensor.numel() > 1 else numbers.abs().mean()
    made = torch.randn(tensor.shape, generator=random, dtype=torch.float64)
    return (numbers.mean() + spread * made).to(tensor.dtype)


def _within_range(tensor: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Whole numbers between the least and the largest of the example, since others may be none that the model takes."""
    low, high = int(tensor.min()), int(tensor.max())
    return torch.randint(low, high + 1, tensor.shape, generator=random).to(tensor.dtype)


def _flipped(tensor: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    return ~tensor if tensor.dtype == torch.bool else (tensor.max() + tensor.min() - tensor).to(tensor.dtype)


# what becomes of real numbers, and what of whole ones and of truth values
CHANGES: dict[str, tuple[Change, Change]] = {
    "negated": (lambda t, _: -t, _same),
    "moved": (lambda t, _: 0.5 * t + 1, _same),
    "16 times as large": (lambda t, _: 16 * t, _same),
    "16 times as small": (lambda t, _: t / 16, _same),
    "raised": (lambda t, _: 4 * t + 16, _same),
    "lowered": (lambda t, _: 4 * t - 16, _same),
    "shuffled": (_shuffled, _shuffled),
    "random": (_normal, _within_range),
    "flipped": (_same, _flipped),
}


@dataclass
class FarRuns:
    """How free runs on inputs far from the example went.

    Attributes:
        comparison: of those that could be compared.
        compared: how many these were.
    """

    comparison: Comparison
    compared: int = 0

    def compare(self, eager: Eager, file: File) -> None:
        """Compares free runs of the model on all changed inputs with the file on their paths."""
        for name, other in far_inputs(eager):
            for run in range(RUNS):
                try:
                    found = other.free_run()
                except RunError:
                    raise
                except Exception:  # numbers that the model itself does not take, for whatever reason
                    break
                if not all(_is_finite(found.outputs)):
                    break
                self._compare(f"free run {run} on inputs {name}", found, other, file)

    def _compare(self, where: str, expected: Answer, eager: Eager, file: File) -> None:
        path = expected.path.tolist()
        try:
            got = file.on_path(eager.inputs, path)
        except Exception as error:  # a file that fails where the model does not is another model
            self.comparison.failures.append(f"{where}: expected outputs, got {type(error).__name__}: {error}")
            return
        told_nothing = self.comparison.rounded
        is_rounding = rounding(eager, expected, got, path)
        self.comparison.add(
            where,
            expected.outputs,
            got.outputs,
            unless=lambda: is_rounding() or self._is_by_ties(got, eager, path),
            case=(eager, path),
        )
        if self.comparison.rounded > told_nothing:
            return
        self.compared += 1
        if not np.array_equal(expected.path, got.path):
            self.comparison.failures.append(f"{where}: expected path taken {path}, got {got.path.tolist()}")

    def _is_by_ties(self, got: Answer, eager: Eager, path: list[int]) -> bool:
        """Whether the model gives what the file gives where the first of equal numbers comes first, as in ONNX."""
        with FirstOfEqual() as ties:
            expected = eager.on_path(path)
        comparison = Comparison(self.comparison.rtol, self.comparison.atol, own=self.comparison.own)
        return ties.met and comparison.add("", expected.outputs, got.outputs)


class FirstOfEqual(TorchFunctionMode):
    """Inside, ``topk`` takes equal numbers in their order, which torch leaves open.

    Attributes:
        met: whether there were any to take.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function, its order made plain."""
        kwargs = dict(kwargs or {})
        if func in _TOPK:
            return self._topk(*args, **kwargs)
        return func(*args, **kwargs)

    def _topk(self, tensor: torch.Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
        self.met = True
        found = torch.sort(tensor, dim=dim, descending=largest, stable=True)
        return torch.return_types.topk((found.values.narrow(dim, 0, k), found.indices.narrow(dim, 0, k)))


def check_far_inputs(eager: Eager, file: File, terms: Terms) -> Check:
    """Compares free runs on inputs far from the example, so that no condition on the input is what it was there."""
    runs = FarRuns(terms.comparison())
    try:
        runs.compare(eager, file)
    except RunError as error:
        runs.comparison.failures.append(f"expected code that decides as it was traced, got {error}")
    count = runs.comparison.rounded
    rounded = f"; {count} more differ by rounding, or the order of equal numbers, alone" if count else ""
    return Check(
        "inputs",
        not runs.comparison.failures if runs.compared or runs.comparison.failures else None,
        f"{runs.compared} free runs on inputs far from the example (scaled, moved, of other signs, shuffled, random)"
        f"{rounded}; largest difference {runs.comparison.worst:.2g}",
        tuple(runs.comparison.failures),
        {"runs": runs.compared, "rounded": count, "largest_difference": runs.comparison.worst},
        runs.comparison.case,
    )


def far_inputs(eager: Eager) -> Iterator[tuple[str, Eager]]:
    """Yields the model with inputs that are changed, and in which way; the same ones every time."""
    tensors = [t for _, t in eager.request.tensors(eager.request.args, eager.request.kwargs) if t.numel()]
    real = any(t.is_floating_point() for t in tensors)
    whole = any(not t.is_floating_point() for t in tensors)
    for number, (name, (of_real, of_whole)) in enumerate(CHANGES.items()):
        if (real and of_real is not _same) or (whole and of_whole is not _same):
            random = torch.Generator().manual_seed(number)
            yield name, Eager(eager.request.changed(functools.partial(_changed, of_real, of_whole, random)))


def _changed(
    of_real: Change, of_whole: Change, random: torch.Generator, name: str, tensor: torch.Tensor
) -> torch.Tensor:
    if not tensor.numel():
        return tensor
    return of_real(tensor, random) if tensor.is_floating_point() else of_whole(tensor, random)


def _is_finite(outputs: Arrays) -> list[bool]:
    return [bool(np.isfinite(array).all()) for array in outputs.values() if array.dtype.kind == "f"]
