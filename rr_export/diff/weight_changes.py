"""What changed in weights: of two files, of two checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.parity.named_weights import weights_in
from rr_export.report.changes import Aspect

Weights = Mapping[str, Callable[[], NDArray[np.generic]]]  # read one at a time: they may be large


def weights_of(model: ir.Model) -> Weights:
    """Returns the weights of a file by name, without what decides."""
    return {name: tensor.numpy for name, tensor in weights_in(model)}


def compare_weights(before: Weights, after: Weights) -> Aspect:
    """Returns which weights came, went, or hold other numbers, the most changed first."""
    changed: list[tuple[float, str]] = []
    for name in before:
        if name in after:
            share, text = _apart(before[name](), after[name]())
            changed += [(share, f"{name}: {text}")] if text else []
    gone = {name: _content(before[name]()) for name in before if name not in after}
    waiting: dict[bytes, list[str]] = {}
    for name in after:
        if name not in before:
            waiting.setdefault(_content(after[name]()), []).append(name)
    renamed = {name: waiting[held].pop(0) for name, held in gone.items() if waiting.get(held)}
    gone_names = [name for name in gone if name not in renamed]
    left = {name for names in waiting.values() for name in names}
    new_names = [name for name in after if name in left]
    details = [f"- {name}" for name in gone_names] + [f"+ {name}" for name in new_names]
    details += [text for _, text in sorted(changed, key=lambda row: -row[0])]
    is_changed = bool(details)
    details += [f"{name} is called {other} now" for name, other in renamed.items()]
    summary = f"{len(before)} -> {len(after)} weights, {len(changed)} with other numbers"
    return Aspect(
        "weights",
        is_changed,
        summary,
        tuple(details),
        {
            "changed": len(changed),
            "gone": gone_names,
            "new": new_names,
            "renamed": renamed,
            "largest_share": max((share for share, _ in changed), default=0.0),
        },
    )


def _content(array: NDArray[np.generic]) -> bytes:
    told = f"{array.dtype} {array.shape}".encode()
    return hashlib.blake2b(told + np.ascontiguousarray(array).tobytes(), digest_size=16).digest()


def _apart(one: NDArray[np.generic], other: NDArray[np.generic]) -> tuple[float, str]:
    """How far apart two weights are, as a share of their size, and in words; "" where they are equal."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return np.inf, f"{one.dtype} {list(one.shape)} -> {other.dtype} {list(other.shape)}"
    if one.tobytes() == other.tobytes():
        return 0.0, ""
    exact = np.complex128 if one.dtype.kind == "c" else np.float64
    a, b = one.astype(exact).ravel(), other.astype(exact).ravel()
    odd = int((~np.isfinite(a) | ~np.isfinite(b)).sum())
    if odd:
        return np.inf, f"{odd} of {a.size} numbers are NaN or infinite on one side or both"
    share = float(np.linalg.norm(b - a) / max(float(np.linalg.norm(a)), 1e-300))
    return share, f"moved by {share:.2%} of its norm, at most {np.abs(b - a).max():.3g}"
