"""Sites and the laws of their routes, as a manifest says them."""

from __future__ import annotations

from dataclasses import dataclass

from rr_runtime.one_line import cut_to_line, list_few


@dataclass(frozen=True)
class Policy:
    """The law of one site's routes.

    Attributes:
        type: "categorical", "markov", or "gate": the input decides, in the graph.
        probabilities: J rows of K numbers; J = 1, except for later steps of a chain, where row j holds after route j;
            () of a gate.
        thresholds: J rows of K - 1 numbers; the route is the number of thresholds <= draw.
        chain: which Markov chain the site belongs to, or None.
        step: which step of the chain it is, or None.
        decision: of a gate: "sample", where the draw chooses by the probabilities that it computes, or "argmax".
    """

    type: str
    probabilities: tuple[tuple[float, ...], ...]
    thresholds: tuple[tuple[float, ...], ...]
    chain: int | None
    step: int | None
    decision: str | None = None

    def __repr__(self) -> str:
        if self.decision is not None:
            return f"Policy(gate, {self.decision})"
        rows = list_few(f"[{list_few(f'{number:.4g}' for number in row)}]" for row in self.probabilities)
        return cut_to_line(f"Policy({self.type}{'' if self.step is None else f' step {self.step}'}: {rows})")


@dataclass(frozen=True)
class Site:
    """A place in the model where one of K branches is chosen.

    Attributes:
        name: its module path in the source model.
        kind: "layer", "operation", "parameter", or "python" (a decision of the model's own code).
        branches: the names of its K branches; route k takes branch k.
        calls: for every call of the site the enclosing (site index, branch index) pairs; () = top level.
        policy: the law of its routes.
    """

    name: str
    kind: str
    branches: tuple[str, ...]
    calls: tuple[tuple[tuple[int, int], ...], ...]
    policy: Policy

    def __repr__(self) -> str:
        return cut_to_line(f"Site({self.name!r}, {self.kind}, {list_few(self.branches)}: {self.policy!r})")
