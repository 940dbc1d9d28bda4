"""Parameter routing: one computation, K sets of parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from rr_export.eager.calling import take_route
from rr_export.eager.choice import Choice, checked_policy, register_gate
from rr_export.laws.policies import Policy


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
    forward = take_route

    def __init__(
        self, module: nn.Module, copies: int | Sequence[nn.Module | Mapping[str, Any]], policy: Policy
    ) -> None:
        super().__init__()
        others = [module.state_dict()] * (copies - 1) if isinstance(copies, int) else list(copies)
        sets = [module, *(_with_parameters(module, other, k) for k, other in enumerate(others, 1))]
        count = copies if isinstance(copies, int) else len(sets)
        self.branch_names = tuple(str(k) for k in range(count))
        self.policy = register_gate(self, checked_policy("ParameterChoice", policy, count))
        self.copies = nn.ModuleList(sets)

    def branch(self, index: int, /, *args: Any, **kwargs: Any) -> Any:
        """Returns what the computation with parameter set ``index`` makes of the arguments."""
        return self.copies[index](*args, **kwargs)

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns the module path of every parameter set inside the site."""
        return tuple(f"copies.{k}" for k in range(len(self.copies)))


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
