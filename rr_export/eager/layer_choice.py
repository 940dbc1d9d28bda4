"""Layer routing: run a layer or skip it."""

from __future__ import annotations

import copy
import threading
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from rr_export.eager.calling import take_route
from rr_export.eager.choice import Choice, checked_policy
from rr_export.eager.tracers import active_tracer, recording_with
from rr_export.errors import RunError
from rr_export.laws.policies import Categorical, Policy

RUN = 1  # the route of a LayerChoice that runs its layer
_FAKE = threading.Lock()  # torch's fake tensors are not made for several threads at once


class LayerChoice(Choice):
    """Layer routing: run a layer or skip it. Route 0 skips, 1 runs.

    Skipping returns the first positional argument, or the keyword argument named by ``hidden``. If the
    layer returns a tuple, skipping returns one of the same length whose element 0 is that argument and
    whose other elements are None, as the layer's must be.

    What the layer returns is learnt when it first runs; should the first call be a skip, the layer is
    traced once on fake tensors, without computing anything.

    Attributes of the layer can be read from the site (many models ask their layers for settings).

    Args:
        layer: the layer.
        keep: P(run), in [0, 1]; shorthand for ``policy=Categorical((1 - keep, keep))``.
        policy: the law of the route, over (skip, run); instead of ``keep``.
        hidden: the keyword under which callers pass what a skip returns, if not positionally.

    Raises:
        TypeError, ValueError: the layer is no module; not exactly one of ``keep`` and ``policy`` is given.
    """

    kind = "layer"
    forward = take_route

    def __init__(
        self,
        layer: nn.Module,
        keep: float | None = None,
        *,
        policy: Policy | None = None,
        hidden: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(layer, nn.Module):
            raise TypeError(f"LayerChoice: expected the layer to be an nn.Module, got {type(layer).__name__}; wrap it")
        if (keep is None) == (policy is None):
            raise ValueError(
                "LayerChoice: expected exactly one of keep= and policy=, got both or none; drop or add one"
            )
        if keep is not None:
            if not 0 <= keep <= 1:
                raise ValueError(f"LayerChoice: expected keep in [0, 1], got {keep!r}; give the probability of running")
            policy = Categorical((1 - keep, keep))
        self.branch_names = ("skip", "run")
        self.policy = checked_policy("LayerChoice", policy, 2)
        self.hidden = hidden
        self.layer = layer
        self._tuple_length: int | None = None  # 0: the layer returns a tensor; None: not seen yet

    def __getattr__(self, name: str) -> Any:
        """Looks the attribute up in the site, then in the layer."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            layer = self.__dict__.get("_modules", {}).get("layer")
            if layer is None or name.startswith("__"):
                raise
            return getattr(layer, name)

    def branch(self, index: int, /, *args: Any, **kwargs: Any) -> Any:
        """Returns the layer's output (1) or what passes it by (0)."""
        if index == RUN:
            output = self.layer(*args, **kwargs)
            self._tuple_length = self._learn(output)
            return output
        hidden = self._hidden(args, kwargs)
        if self._tuple_length is None:
            self._tuple_length = self._learn(self._trace(args, kwargs))
        return (hidden, *[None] * (self._tuple_length - 1)) if self._tuple_length else hidden

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns (None, "layer"): skipping has no module."""
        return (None, "layer")

    def _hidden(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.hidden is not None and self.hidden in kwargs:
            return kwargs[self.hidden]
        if args:
            return args[0]
        raise RunError(
            f"LayerChoice({type(self.layer).__name__}): expected a positional argument to return when skipping, "
            f"got keywords {sorted(kwargs)}; name one of them with hidden="
        )

    def _learn(self, output: Any) -> int:
        if isinstance(output, torch.Tensor):
            return 0
        if isinstance(output, tuple) and output and all(o is None for o in output[1:]):
            return len(output)
        found = (
            f"a tuple whose element {next(i for i, o in enumerate(output) if i and o is not None)} is not None"
            if isinstance(output, tuple) and output
            else f"a {type(output).__name__}"
        )
        raise RunError(
            f"LayerChoice({type(self.layer).__name__}): expected the layer to return a tensor, or a tuple whose "
            f"elements after the first are None, got {found}; a skipped layer has nothing to put there: route a "
            "wrapper that returns the tensor alone"
        )

    def _trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The structure of the layer's output for these arguments, found without computing it."""
        if active_tracer((args, kwargs)) is not None:
            return self.layer(*args, **kwargs)  # dead code in what is traced
        given = torch.utils._pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs))
        with _FAKE, recording_with(_LastBranch()), FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            with FakeCopyMode(mode):
                twin = copy.deepcopy(self.layer)  # of fake tensors: it holds no data, and the layer is not touched
            fake_args, fake_kwargs = torch.utils._pytree.tree_map_only(torch.Tensor, mode.from_tensor, given)
            return twin(*fake_args, **fake_kwargs)


class _LastBranch:
    """Sites inside a layer that is traced for its structure alone: any branch would do; 1 of a layer runs it."""

    def call_site(self, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return site.branch(site.policy.branches - 1, *args, **kwargs)
