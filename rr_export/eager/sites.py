"""Sites: torch modules that choose one of K branches in every run.

Eagerly each is a plain Python ``if``: only the branch of this run's route is computed, and gradients flow
through it alone. All elements of a batch share the route.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode

from rr_export.eager.run import Choice, active_tracer, recording_with
from rr_export.errors import RunError
from rr_export.laws.policies import Categorical, Policy

RUN = 1  # the route of a LayerChoice that runs its layer
_FAKE = threading.Lock()  # torch's fake tensors are not made for several threads at once


class OperationChoice(Choice):
    """Operation routing: one of K different computations.

    Args:
        branches: K modules, or a mapping from branch names to modules (a list names them "0", "1", ...).
            Branches may share parameters, may be the same module, and may return a tensor or any nesting
            of tuples, lists and dicts of tensors, as long as all branches agree on structure, dtypes and
            shapes (checked at export). ``nn.Identity`` returns the input.
        policy: the law of the route, over K branches.

    Raises:
        TypeError: a branch is not an ``nn.Module``, or the policy is not a policy.
        ValueError: there are no branches, or the policy has another K.
    """

    kind = "operation"

    def __init__(self, branches: Sequence[nn.Module] | Mapping[str, nn.Module], policy: Policy) -> None:
        super().__init__()
        named = dict(branches) if isinstance(branches, Mapping) else {str(k): b for k, b in enumerate(branches)}
        for name, branch in named.items():
            if not isinstance(branch, nn.Module):
                raise TypeError(
                    f"OperationChoice: expected branch {name!r} to be an nn.Module, got {type(branch).__name__}; "
                    "wrap the computation in a module"
                )
        self.branch_names = tuple(named)
        self.policy = _checked("OperationChoice", policy, len(named))
        self.branches = nn.ModuleList(named.values())

    def branch(self, index: int, *args: Any, **kwargs: Any) -> Any:
        """Returns what branch ``index`` makes of the arguments."""
        return self.branches[index](*args, **kwargs)

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns the module path of every branch inside the site."""
        return tuple(f"branches.{k}" for k in range(len(self.branches)))


class ParameterChoice(Choice):
    """Parameter routing: one computation, K sets of parameters.

    Args:
        module: the computation with the first set of parameters and buffers.
        copies: K, to start from K equal copies of ``module``; or the other K - 1 sets, each a state dict
            for ``module`` or a module of the same class.
        policy: the law of the route, over K sets.

    Raises:
        TypeError, ValueError: as for :class:`OperationChoice`; a set does not fit the module.
    """

    kind = "parameter"

    def __init__(
        self, module: nn.Module, copies: int | Sequence[nn.Module | Mapping[str, Any]], policy: Policy
    ) -> None:
        super().__init__()
        others = [module.state_dict()] * (copies - 1) if isinstance(copies, int) else list(copies)
        sets = [module, *(_with_parameters(module, other, k) for k, other in enumerate(others, 1))]
        count = copies if isinstance(copies, int) else len(sets)
        self.branch_names = tuple(str(k) for k in range(count))
        self.policy = _checked("ParameterChoice", policy, count)
        self.copies = nn.ModuleList(sets)

    def branch(self, index: int, *args: Any, **kwargs: Any) -> Any:
        """Returns what the computation with parameter set ``index`` makes of the arguments."""
        return self.copies[index](*args, **kwargs)

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns the module path of every parameter set inside the site."""
        return tuple(f"copies.{k}" for k in range(len(self.copies)))


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
        self.policy = _checked("LayerChoice", policy, 2)
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

    def branch(self, index: int, *args: Any, **kwargs: Any) -> Any:
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


def _checked(where: str, policy: Policy | None, count: int) -> Policy:
    if not isinstance(policy, Policy):
        raise TypeError(
            f"{where}: expected a policy (Categorical, Uniform or a step of a Markov chain), got "
            f"{type(policy).__name__}; for a chain pass chain.step(t)"
        )
    if count < 1:
        raise ValueError(f"{where}: expected at least one branch, got none; add a branch")
    if policy.branches != count:
        raise ValueError(
            f"{where}: expected a policy over {count} branches, got one over {policy.branches}; make the counts agree"
        )
    return policy


def _with_parameters(module: nn.Module, source: nn.Module | Mapping[str, Any], index: int) -> nn.Module:
    if isinstance(source, nn.Module):
        if type(source) is not type(module):
            raise TypeError(
                f"ParameterChoice: expected set {index} to be a {type(module).__name__}, got "
                f"{type(source).__name__}; use OperationChoice for different computations"
            )
        return source
    twin = copy.deepcopy(module)
    try:
        twin.load_state_dict(source)
    except RuntimeError as error:
        raise ValueError(
            f"ParameterChoice: expected set {index} to fit {type(module).__name__}, got {error}; give a state dict "
            "of that module"
        ) from error
    return twin
