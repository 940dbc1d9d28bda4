"""What a bundle holds beside its model: recorded runs of the eager model, and other forms of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from rr_runtime.one_line import cut_to_line, describe_arrays, list_few


@dataclass(frozen=True)
class GoldenCase:
    """Inputs and outputs of one run of the eager model.

    Attributes:
        seed: the seed of its draws, or None.
        path: the asked path, or None.
        taken: int64 [S], the path taken.
        inputs: arrays by input name.
        outputs: arrays by output name.
        why: what it is there for, in words; "" where nothing is said.
    """

    seed: int | None
    path: tuple[int, ...] | None
    taken: tuple[int, ...]
    inputs: Mapping[str, NDArray[Any]]
    outputs: Mapping[str, NDArray[Any]]
    why: str = ""

    def __repr__(self) -> str:
        """Shows what decided, and names and sizes of the arrays."""
        asked = f"seed {self.seed}, " if self.seed is not None else ""
        return cut_to_line(
            f"GoldenCase({asked}path {list(self.taken)}, {describe_arrays(self.inputs)} -> "
            f"{describe_arrays(self.outputs)})"
        )


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

    def __repr__(self) -> str:
        """Shows what it is for, and the names of its files."""
        form, precision, provider = (self.about.get(key) for key in ("form", "precision", "provider"))
        return cut_to_line(f"TargetFiles({form} {precision} for {provider}: {list_few(self.models)})")


@dataclass(frozen=True)
class HubFiles:
    """What stands around a bundle in a folder that has the layout of Hugging Face.

    Attributes:
        files: their contents by name: config.json, those of a tokenizer.
        front: entries of the card's front matter, such as ``pipeline_tag``.
    """

    files: Mapping[str, bytes]
    front: Mapping[str, str]
