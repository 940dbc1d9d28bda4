"""What a capture gives: a flat graph with markers, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from rr_export.capture.dynamic_axes import Bounds
from rr_export.capture.python.conclude import Program
from rr_export.capture.python.training_mode_routes import EVALUATING, TrainingRoutes
from rr_export.capture.recorder import Call
from rr_export.laws.plan import Plan


@dataclass(frozen=True)
class Captured:
    """A captured model.

    Attributes:
        model: flat graph; markers ``rr::Route`` (attribute ``site``) and ``rr::Select`` (attribute ``call``);
            every node that was computed in a branch carries ``rr.scope``: ``call:branch/call:branch/...``.
        plan: the sites with their policies and the calls that this capture saw.
        calls: the call log.
        axes: least and largest size of the dynamic axes that the model bounds, by name.
        program: what the model's own code decides, if it does.
    """

    model: ir.Model
    plan: Plan
    calls: tuple[Call, ...]
    axes: Mapping[str, Bounds]
    program: Program | None = None

    @property
    def has_gates(self) -> bool:
        """Whether conditions on the input decide."""
        return self.program is not None and any(d.kind == "gate" for d in self.program.decisions)

    @property
    def training(self) -> TrainingRoutes:
        """The modules whose training routes are kept."""
        return EVALUATING if self.program is None else self.program.training

    def names(self, call: int) -> tuple[str, ...]:
        """Returns what to call a call, and then its branches."""
        made = self.calls[call]
        if made.names:
            return made.names
        site = self.plan.sites[made.site]
        return site.name, *site.branches

    def firsts(self, call: int) -> tuple[int, ...]:
        """Returns the least route of every branch of a call that a site decides."""
        made = self.calls[call]
        return made.firsts or tuple(range(self.plan.sites[made.site].policy.branches))
