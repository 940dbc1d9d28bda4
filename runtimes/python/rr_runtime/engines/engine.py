"""What every engine offers, and how it opens its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rr_runtime.errors import BundleError
from rr_runtime.manifest import Tensor
from rr_runtime.provider_options import CPU, captures_graphs
from rr_runtime.providers import create_session
from rr_runtime.tuning import Tuning

Arrays = dict[str, NDArray[Any]]
Places = Mapping[str, "NDArray[Any] | None"]
Taken = tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None]

# onnxruntime's words for the dtypes of a manifest.
ELEMENTS = {"float16": "float16", "float32": "float", "float64": "double"}


class Engine(Protocol):
    """Runs one form of a model; its arguments are right."""

    routed: bool  # whether it takes seeds and paths

    def run(self, feeds: Arrays, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs by name, and the path taken, int64 [S], or None where the file does not tell it.

        Args:
            feeds: the model's own inputs.
            seed: the seed of the run, None where the engine is not routed.
            asked: int64 [S], -1 draws; None where all sites draw, and where the engine is not routed.
        """

    def prepare(self, inputs: Arrays, places: Places) -> Rerun:
        """Returns what runs on these arrays again and again.

        Args:
            inputs: the model's own inputs, of right sizes and C-contiguous.
            places: where its outputs go, in the manifest's order; None where the sizes are known after a run only.
        """


class Rerun(Protocol):
    """Runs an engine on the same arrays again and again; one run at a time."""

    def run(self, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """As `Engine.run`; the outputs are in their places."""


@dataclass(frozen=True)
class Opening:
    """How the files of one session are opened.

    Attributes:
        provider: onnxruntime's name of the execution provider.
        tuning: how they compute, where the caller gives no session options.
        options: the caller's session options, or None.
        provider_options: the caller's options of the provider, or None.
    """

    provider: str
    tuning: Tuning
    options: onnxruntime.SessionOptions | None
    provider_options: Mapping[str, str] | None

    @property
    def captures(self) -> bool:
        """Whether the caller asks for CUDA graphs."""
        return captures_graphs(self.provider, self.provider_options)

    def open(self, model: Path, *, reseed: bool = False, spinning: bool = True) -> Any:
        """Returns an onnxruntime session on a file; ``spinning`` False: its threads do not wait actively.

        Raises:
            BundleError: the file is at fault.
            ProviderError: the provider is.
        """
        options = self.tuning.options(spinning=spinning) if self.options is None else self.options
        return create_session(model, self.provider, options, reseed=reseed, provider_options=self.provider_options)


def direct_run(session: Any) -> Callable[[list[str], Arrays], list[Any]]:
    """Returns what runs a session: on the CPU without the part of onnxruntime that looks at every run's names again.

    That part takes 3 us, refuses inputs that are missing, and sees to other providers' graphs and fallbacks.
    """
    own_run = "run" in vars(type(session))  # of a class that derives from onnxruntime's
    if own_run or not is_on_cpu(session) or not hasattr(session, "_sess"):
        return session.run  # type: ignore[no-any-return]
    return lambda names, feeds: session._sess.run(names, feeds, None)


def is_on_cpu(session: Any) -> bool:
    """Tells whether all nodes of a session are on the CPU, and read their inputs where they are."""
    return bool(session.get_providers() == [CPU])


def fixed(tensors: Sequence[Tensor], sizes: Mapping[str, int]) -> list[Tensor]:
    """Returns the tensors with the sizes that a target fixes."""
    return [
        Tensor(t.name, t.dtype, tuple(sizes.get(s, s) if isinstance(s, str) else s for s in t.shape)) for t in tensors
    ]


def compare(where: str, side: str, expected: Sequence[Tensor], found: Sequence[Any]) -> None:
    """Raises a BundleError where a graph's inputs or outputs differ from what is expected in name, type, rank or size.

    Args:
        where: the file.
        side: "input" or "output".
        expected: what the manifest says.
        found: what onnxruntime says.
    """
    nodes = {node.name: node for node in found}
    names = [tensor.name for tensor in expected]
    if set(names) != set(nodes):
        raise BundleError(
            f"{where}: expected the {side}s {', '.join(names)} of its manifest, got {', '.join(nodes)}; "
            "export it again (a tool that changes the file may have dropped some)"
        )
    for tensor in expected:
        node = nodes[tensor.name]
        kind = f"tensor({ELEMENTS.get(tensor.dtype, tensor.dtype)})"
        # onnxruntime says [] for a shape that the graph leaves open, and a text or None for a size.
        sizes = list(node.shape) or list(tensor.shape)
        same = len(sizes) == len(tensor.shape) and all(
            a == b for a, b in zip(sizes, tensor.shape, strict=True) if isinstance(a, int) and isinstance(b, int)
        )
        if node.type != kind or not same:
            raise BundleError(
                f"{where}: {side} {tensor.name!r}: expected {kind} {list(tensor.shape)} of its manifest, "
                f"got {node.type} {node.shape}; export it again"
            )
