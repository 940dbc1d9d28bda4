"""Segments -> QDQ segments, each calibrated with what really reaches it on forced paths, so that no branch is left out.

before:  program of float32 segments
after:   the same program of segments with 8-bit integers inside and float32 between them
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.bundle.weights import inlined
from rr_export.targets.masks import wide_borders
from rr_export.targets.qdq import Arrays, find_scheme, quantize_static_model
from rr_runtime.segment_program import Around, Choose, Run, Step, walk

Feed = tuple[Arrays, Sequence[int]]  # the model's inputs, and the path taken


def quantize_segments(
    program: Sequence[Step],
    models: Mapping[str, ir.Model],
    feeds: Sequence[Feed],
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
    program: Sequence[Step], models: Mapping[str, ir.Model], feeds: Sequence[Feed]
) -> dict[str, list[dict[str, NDArray[Any]]]]:
    """Returns what reaches every segment on these paths, by file name, equal inputs once.

    Raises:
        ValueError: nothing reaches some segment, or a path does not say which branch to take.
    """
    recorder = _Recorder(models)
    for inputs, path in feeds:
        recorder.run(program, inputs, path)
    for step, around in walk(program):
        if isinstance(step, Run) and not recorder.recorded.get(step.model):
            raise ValueError(
                f"feeds: expected at least one path that takes {_place(around)} (segment {step.model}), got none of "
                f"{len(feeds)}; add one, or the ranges of its values are not known"
            )
    return recorder.recorded


class _Recorder:
    """Runs segments on the CPU, and remembers what each is given."""

    def __init__(self, models: Mapping[str, ir.Model]) -> None:
        self.recorded: dict[str, list[dict[str, NDArray[Any]]]] = {}
        self._models = models
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._seen: set[bytes] = set()

    def run(self, program: Sequence[Step], inputs: Arrays, path: Sequence[int]) -> None:
        """What reaches the segments on this path is recorded."""

        def route(choice: Choose) -> int:
            count = len(choice.branches)
            if not 0 <= path[choice.site] < count:
                raise ValueError(
                    f"feeds: expected a route from 0 to {count - 1} at site {choice.site}, which path {list(path)} "
                    f"reaches, got {path[choice.site]}; pass the paths that were taken"
                )
            return path[choice.site]

        values = dict(inputs)
        for step, _ in walk(program, route):
            if isinstance(step, Run):
                given = {name: values[name] for name in step.inputs}
                self._record(step.model, given)
                made = self._session(step.model).run(list(step.outputs), given)
                values.update(zip(step.outputs, map(np.asarray, made), strict=True))
            else:
                results = step.branches[route(step)].results
                values.update(zip(step.outputs, [values[name] for name in results], strict=True))

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


def _place(around: Around) -> str:
    """Returns the words for where a step stands."""
    if not around:
        return "the part that every path runs"
    site, route = around[-1]
    return f"branch {route} of site {site}"
