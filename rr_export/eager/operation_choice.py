"""Operation routing: one of K different computations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from rr_export.eager.calling import take_route
from rr_export.eager.choice import Choice, checked_policy, register_gate
from rr_export.laws.policies import Policy


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
    forward = take_route

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
        self.policy = register_gate(self, checked_policy("OperationChoice", policy, len(named)))
        self.branches = nn.ModuleList(named.values())

    def branch(self, index: int, /, *args: Any, **kwargs: Any) -> Any:
        """Returns what branch ``index`` makes of the arguments."""
        return self.branches[index](*args, **kwargs)

    def branch_prefixes(self) -> tuple[str | None, ...]:
        """Returns the module path of every branch inside the site."""
        return tuple(f"branches.{k}" for k in range(len(self.branches)))
