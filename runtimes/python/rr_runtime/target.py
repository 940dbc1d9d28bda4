"""A target of a bundle: another form of its model, made for one execution provider (SPEC.md, section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.segment_program import Run, Step, walk

DEFAULT = "default"  # the name under which the bundle's own model is asked for


@dataclass(frozen=True)
class FrozenPath:
    """One path of a frozen target.

    Attributes:
        path: S routes, -1 where the site is not reached.
        weight: the probability with which the target takes it.
        keep: where a run's own path is this one, it is taken if the run's draw number S is below this.
        model: the file's name.
    """

    path: tuple[int, ...]
    weight: float
    keep: float
    model: str


@dataclass(frozen=True)
class Target:
    """Another form of the bundle's model.

    Attributes:
        name: what it is asked for by.
        provider: the short name of the execution provider that it is made for.
        form: "routed" (one graph with ``If``), "segments" (static files and a program) or "frozen" (static paths).
        precision: "float32", "float16", or 8-bit integers between QuantizeLinear and DequantizeLinear: "qdq", and
            "qdq16" where activations have 16 bits.
        rtol: the relative tolerance of its floating-point outputs.
        atol: the absolute tolerance.
        share: where above 0, the tolerance instead: a share of the standard deviation of each output.
        sizes: sizes of symbolic axes that are fixed here.
        interface: of a routed form: "explicit", "host", "gates" or "plain"; else None.
        model: the file of a routed form, else None.
        program: the steps of a segments form, else ().
        paths: the paths of a frozen form, else ().
        thresholds: of a frozen form, float32 numbers: where a run's own path is not taken, the path is the number of
            thresholds <= the run's draw number S + 1.
    """

    name: str
    provider: str
    form: str
    precision: str
    rtol: float
    atol: float
    share: float
    sizes: Mapping[str, int]
    interface: str | None
    model: str | None
    program: tuple[Step, ...]
    paths: tuple[FrozenPath, ...]
    thresholds: tuple[float, ...]

    def __repr__(self) -> str:
        return cut_to_line(
            f"Target({self.name!r}: {self.form} {self.precision} for {self.provider}, {list_few(sorted(self.files))})"
        )

    @property
    def files(self) -> frozenset[str]:
        """The names of its models."""
        own = {self.model} if self.model is not None else set()
        steps = {step.model for step, _ in walk(self.program) if isinstance(step, Run)}
        return frozenset(own | steps | {frozen.model for frozen in self.paths})
