"""What the zoo says of one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Case:
    """A model of the zoo.

    Attributes:
        name: unique, such as ``draws/torch_rand``; its first part names the file.
        make: returns the model in evaluation mode and its example arguments.
        paths: how many different paths its random decisions can take; 0: it must be refused.
        gates: how many of its decisions depend on the input.
        refuses: pattern that the refusal's message matches, where ``paths`` is 0.
        options: keywords for ``rr.export``, such as ``dynamic_shapes`` or ``keep_training_routes``.
        default: whether the default tests run it; the others stand behind the marker ``zoo``.
    """

    name: str
    make: Callable[[], tuple[nn.Module, tuple[Any, ...]]]
    paths: int
    gates: int = 0
    refuses: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    default: bool = False
