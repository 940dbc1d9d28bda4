"""The decisions of a model's own code, as sites of its runs."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from rr_export.eager.choice import Choice, sites_of
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Policy


class Code(Protocol):
    """The decisions that a model's own code makes.

    Attributes:
        sites: what stands for them in a run, by their names, in site order after the sites of the module tree.
    """

    sites: dict[str, CodeSite]

    @property
    def plan(self) -> Plan:
        """All sites, those of the module tree first."""

    def many_runs(self, root: nn.Module) -> AbstractContextManager[None]:
        """Inside the block runs begin faster."""

    def following(self, root: nn.Module, run: CodeRun, given: Any) -> AbstractContextManager[None]:
        """Inside the block the code's draws decide as ``run`` says, and it is told what was reached.

        Args:
            root: the model.
            run: of its code.
            given: its arguments.
        """


@dataclass
class CodeSite:
    """A decision of a model's own code, as a site.

    Attributes:
        policy: the law of its route.
        branch_names: of its routes.
        kind: "python".
    """

    policy: Policy
    branch_names: tuple[str, ...]
    kind: str = "python"

    @property
    def law(self) -> Policy:
        """The policy: code learns none."""
        return self.policy


class CodeRun(Protocol):
    """What a model's own code sees of a run."""

    finished: bool  # whether the forward came to its end

    def route_of(self, site: CodeSite) -> int | None:
        """Returns the route that the site is to take; None: what it draws itself."""

    def took(self, site: CodeSite, route: int) -> None:
        """Writes down which route a site took."""

    def route_of_module(self, site: Choice) -> int:
        """Returns the route of a site of the module tree."""


_codes: weakref.WeakKeyDictionary[nn.Module, Code] = weakref.WeakKeyDictionary()


def remember_code(root: nn.Module, code: Code | None) -> None:
    """From now on runs of ``root`` have the decisions of its own code too (None: it has none)."""
    if code is None:
        _codes.pop(root, None)
    else:
        _codes[root] = code


def code_of(root: nn.Module) -> Code | None:
    """Returns the known decisions of the model's own code."""
    return _codes.get(root)


def many_runs(root: nn.Module) -> AbstractContextManager[None]:
    """Inside the block runs of ``root`` begin faster, if decisions of its own code are known; use it around many."""
    code = _codes.get(root)
    return nullcontext() if code is None else code.many_runs(root)


def all_sites(root: nn.Module) -> dict[str, Choice | CodeSite]:
    """Returns the sites below ``root``, then the known decisions of its own code, by name in site order."""
    code = _codes.get(root)
    return {**sites_of(root), **(code.sites if code is not None else {})}
