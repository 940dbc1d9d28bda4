"""What a name of a model leads to: the model with example arguments, as export takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn


def tensor_bytes(model: nn.Module) -> int:
    """Returns how many bytes the parameters and buffers of a model have; of what is no model, 0."""
    if not isinstance(model, nn.Module):
        return 0
    return sum(tensor.nbytes for tensor in {*model.parameters(), *model.buffers()})


@dataclass(frozen=True, eq=False)
class ModelCase:
    """A model with example arguments.

    Attributes:
        model: the model, in evaluation mode on the CPU.
        args: positional arguments of its forward.
        kwargs: keyword arguments.
        dynamic_shapes: names of the dynamic axes, by parameter.
    """

    model: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    dynamic_shapes: Mapping[str, Any] = field(default_factory=dict)

    def case(self) -> dict[str, Any]:
        """Returns the arguments of ``rr_export.export``."""
        shapes = {"dynamic_shapes": dict(self.dynamic_shapes)}
        return {"model": self.model, "args": self.args, "kwargs": dict(self.kwargs)} | shapes
