"""Segments -> QDQ segments, each calibrated with what really reaches it on forced paths, so that no branch is left out.

before:  program of float32 segments
after:   the same program of segments with 8-bit integers inside and float32 between them
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.bundle.weights import inlined
from rr_export.targets.masks import wide_borders
from rr_export.targets.qdq import Arrays, find_scheme, quantize_static_model
from rr_export.targets.split import Step

__all__ = ["quantize_segments", "quantize_static_model", "record_inputs"]

Run = tuple[Arrays, Sequence[int]]  # the model's inputs, and the path taken


def quantize_segments(
    program: Sequence[Step],
    models: Mapping[str, ir.Model],
    feeds: Sequence[Run],
    provider: str,
    *,
    activation_bits: int = 8,
) -> dict[str, ir.Model]:
    """Returns the segments in QDQ form, by file name; those with nothing to quantise are returned themselves.

    Args:
        program: the steps that walk a path through the segments.
        models: the float32 segments by file name.
        feeds: inputs of the whole model, each with the path taken on it: together they must take every branch.
        provider: the short name of the execution provider.
        activation_bits: 8, or 16 for qnn.

    Raises:
        ValueError: no feed takes some branch, a path does not say which branch to take, or the provider does not take
            that many bits.
        PackageError: as for :func:`quantize_static_model`.
    """
    find_scheme(provider, activation_bits)
    recorded = record_inputs(program, models, feeds)
    masks = wide_borders(program, models)
    made = {}
    for name, model in models.items():
        inputs = {value.name or "" for value in model.graph.inputs}
        made[name] = quantize_static_model(
            model, recorded[name], provider, activation_bits=activation_bits, masks=masks & inputs
        )
    return made


def record_inputs(
    program: Sequence[Step], models: Mapping[str, ir.Model], feeds: Sequence[Run]
) -> dict[str, list[dict[str, NDArray[Any]]]]:
    """Returns what reaches every segment on these paths, by file name, equal inputs once.

    Raises:
        ValueError: nothing reaches some segment, or a path does not say which branch to take.
    """
    walker = _Walker(models)
    for inputs, path in feeds:
        walker.walk(program, dict(inputs), path)
    for name, where in _places(program, "the part that every path runs"):
        if not walker.recorded.get(name):
            raise ValueError(
                f"feeds: expected at least one path that takes {where} (segment {name}), got none of {len(feeds)}; "
                "add one, or the ranges of its values are not known"
            )
    return walker.recorded


class _Walker:
    """Runs segments on the CPU, and remembers what each is given."""

    def __init__(self, models: Mapping[str, ir.Model]) -> None:
        self.recorded: dict[str, list[dict[str, NDArray[Any]]]] = {}
        self._models = models
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._seen: set[bytes] = set()

    def walk(self, steps: Sequence[Step], values: dict[str, NDArray[Any]], path: Sequence[int]) -> None:
        """The values of the steps on this path are made."""
        for step in steps:
            if "run" in step:
                given = {name: values[name] for name in step["inputs"]}
                self._record(step["run"], given)
                made = self._session(step["run"]).run(step["outputs"], given)
                values.update(zip(step["outputs"], map(np.asarray, made), strict=True))
                continue
            site, count = step["site"], len(step["branches"])
            if not 0 <= path[site] < count:
                raise ValueError(
                    f"feeds: expected a route from 0 to {count - 1} at site {site}, which path {list(path)} reaches, "
                    f"got {path[site]}; pass the paths that were taken"
                )
            branch = step["branches"][path[site]]
            self.walk(branch["steps"], values, path)
            values.update(zip(step["outputs"], [values[name] for name in branch["results"]], strict=True))

    def _record(self, name: str, given: dict[str, NDArray[Any]]) -> None:
        digest = hashlib.sha256(name.encode())
        for key, array in given.items():
            digest.update(f"{key}{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        if digest.digest() not in self._seen:
            self._seen.add(digest.digest())
            self.recorded.setdefault(name, []).append(given)

    def _session(self, name: str) -> onnxruntime.InferenceSession:
        if name not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # many sessions, few cores
            content = ir.to_proto(inlined(self._models[name])).SerializeToString()
            self._sessions[name] = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return self._sessions[name]


def _places(steps: Sequence[Step], where: str) -> Iterator[tuple[str, str]]:
    """Yields the name of every segment, with the words for where it stands."""
    for step in steps:
        if "run" in step:
            yield step["run"], where
        else:
            for number, branch in enumerate(step["branches"]):
                yield from _places(branch["steps"], f"branch {number} of site {step['site']}")
