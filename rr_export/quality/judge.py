"""A metric on the user's data: what it says of one path, batch by batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rr_export.content_digest import content_digest

Metric = Callable[[Any, Any], Any]
Inputs = Mapping[str, Any]
WHOLE = "whole"  # the attribute of a metric that is one of whole data sets


@dataclass(frozen=True)
class Judge:
    """Says how good the outputs on a path are; more is better.

    Attributes:
        metric: from the outputs of a batch, by name, and its target to a number, or to one number for each row. One
            with the attribute ``whole`` that is true is given the lists of all outputs and of all targets, once.
        data: batches ``(inputs, target)``, the same every time it is gone through.
        digest: of all batches.
    """

    metric: Metric
    data: Iterable[Any]
    digest: str

    def __call__(self, outputs_on: Callable[[Inputs], Any]) -> dict[str, Any]:
        """Returns the metric's number of every batch, and the rows that it counts, JSON-ready.

        Args:
            outputs_on: what the path gives on the inputs of a batch.

        Raises:
            TypeError, ValueError: the metric gives no number, or the data are others than before.
        """
        values, rows, digests, kept = [], [], [], []
        for number, (inputs, target) in enumerate(_batches(self.data)):
            digests.append(content_digest(inputs, target))
            outputs = outputs_on(inputs)
            if is_whole(self.metric):
                kept.append((outputs, copy.deepcopy(target)))  # a loader may fill one buffer again and again
                continue
            value, count = _number(self.metric(outputs, target), f"metric, batch {number}")
            values.append(value)
            rows.append(_rows(inputs, target) if count is None else count)
        if content_digest(digests) != self.digest:
            raise ValueError(
                "data: expected the same batches every time, got others; pass a list, or a loader that does not shuffle"
            )
        if kept:
            value, count = _number(self.metric([o for o, _ in kept], [t for _, t in kept]), "metric")
            values, rows = [value], [1 if count is None else count]
        return {"values": values, "rows": rows}


def judge_of(data: Iterable[Any], metric: Metric) -> tuple[Judge, Inputs]:
    """Returns what judges on some data, which are gone through once, and the inputs of their first batch.

    Raises:
        TypeError: the metric is no function, or the data are none of batches ``(inputs, target)``, or can be gone
            through only once.
        ValueError: there is no batch.
    """
    if not callable(metric):
        raise TypeError(f"metric: expected a function of outputs and target, got {type(metric).__name__}; pass one")
    if not isinstance(data, Iterable) or isinstance(data, Iterator):
        raise TypeError(
            f"data: expected batches that can be gone through again for every path, got {type(data).__name__}; pass a "
            "list, or an object with __iter__"
        )
    digests, first = [], None
    for inputs, target in _batches(data):
        first = copy.deepcopy(dict(inputs)) if first is None else first
        digests.append(content_digest(inputs, target))
    if first is None:
        raise ValueError("data: expected batches of (inputs, target), got none; give one at least")
    return Judge(metric, data, content_digest(digests)), first


def is_whole(metric: Metric) -> bool:
    """Tells whether a metric is given all outputs together."""
    return bool(getattr(metric, WHOLE, False))


def metric_name(metric: Metric) -> str:
    """Returns what a metric is called."""
    return str(getattr(metric, "__name__", type(metric).__name__))


def _batches(data: Iterable[Any]) -> Iterator[tuple[Inputs, Any]]:
    for number, batch in enumerate(data):
        if not isinstance(batch, tuple | list) or len(batch) != 2 or not isinstance(batch[0], Mapping):
            found = type(batch).__name__
            if isinstance(batch, tuple | list):
                found = f"a {found} of {', '.join(type(part).__name__ for part in batch) or 'nothing'}"
            raise TypeError(
                f"data, batch {number}: expected (inputs, target) with inputs by name, got {found}; yield such pairs"
            )
        lengths = _lengths(*batch)
        if lengths and not lengths[0]:
            raise ValueError(f"data, batch {number}: expected one row at least, got none; leave empty batches out")
        yield batch[0], batch[1]


def _number(said: Any, where: str) -> tuple[float, int | None]:
    """What a metric said as one number, and for how many rows; None: it said one number."""
    found = np.asarray(said)
    if found.dtype.kind not in "biuf" or found.ndim > 1 or not found.size:
        raise TypeError(
            f"{where}: expected a number, or one for each row, got {found.dtype} of shape {found.shape}; return such"
        )
    value = float(np.mean(found, dtype=np.float64))
    if not math.isfinite(value):
        raise ValueError(f"{where}: expected finite numbers, got {value}; return a finite one for every row")
    return value, len(found) if found.ndim else None


def _rows(inputs: Inputs, target: Any) -> int:
    """How many rows a batch has: the length of the target's first axis; of one without axes, that of the inputs."""
    lengths = _lengths(inputs, target)
    return lengths[0] if lengths else 1


def _lengths(inputs: Inputs, target: Any) -> list[int]:
    """The lengths of the first axes of the target and the inputs, of those that have axes."""
    return [int(shape[0]) for shape in map(np.shape, (target, *inputs.values())) if shape]
