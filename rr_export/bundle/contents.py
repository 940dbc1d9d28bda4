"""What a bundle holds beside its model: recorded runs of the eager model, and other forms of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray


@dataclass(frozen=True)
class GoldenCase:
    """Inputs and outputs of one run of the eager model.

    Attributes:
        seed: the seed of its draws, or None.
        path: the asked path, or None.
        taken: int64 [S], the path taken.
        inputs: arrays by input name.
        outputs: arrays by output name.
    """

    seed: int | None
    path: tuple[int, ...] | None
    taken: tuple[int, ...]
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TargetFiles:
    """Another form of a bundle's model, made for one execution provider.

    Attributes:
        about: what the manifest says about it (JSON-ready; format: ``runtimes/SPEC.md``, section 9).
        models: its models by file name; bytes where they are in ONNX Runtime's own format, and the list of operators
            that these need.
    """

    about: Mapping[str, Any]
    models: Mapping[str, ir.Model | bytes]
