"""``--costs``: what branches cost, measured or counted."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from rr_export.cli.options import read_sizes

if TYPE_CHECKING:
    from rr_export.bundle.bundle import Bundle
    from rr_export.laws.costs import Costs

COUNTED = ("flops", "parameters", "bytes")


@dataclass(frozen=True)
class CostOptions:
    """What the command line says of costs.

    Attributes:
        source: a file of ``rr-export bench --json``, or what is counted in the graph.
        form: which of the forms in that file.
        sizes: ``AXIS=N`` texts, for what is counted.
    """

    source: str
    form: str | None
    sizes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises a UsageError where they do not fit together."""
        if self.form is not None and self.source in COUNTED:
            raise click.UsageError("--form: expected the FILE of a bench as --costs, got a unit; leave --form away")
        if self.sizes and self.source not in COUNTED:
            raise click.UsageError(
                "--size: expected flops, parameters or bytes as --costs, got a file; leave --size away"
            )

    def read(self, bundle: Bundle) -> Costs:
        """Returns the costs of a bundle's paths.

        Raises:
            ValueError: the file holds none of this bundle, or what is asked for cannot be counted.
        """
        from rr_export.laws.costs import Costs

        if self.source in COUNTED:
            return bundle.costs(self.source, sizes=read_sizes(self.sizes))
        return Costs.from_bench(self.source, bundle.plan, form=self.form)


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command takes the options of costs, and is handed them as one argument, ``costs``."""

    @functools.wraps(command)
    def with_options(*args: Any, costs: str, form: str | None, sizes: Sequence[str], **kwargs: Any) -> Any:
        return command(*args, costs=CostOptions(costs, form, tuple(sizes)), **kwargs)

    for option in (
        click.option(
            "--size", "sizes", multiple=True, metavar="AXIS=N", help="Size of a dynamic axis, for counting FLOPs."
        ),
        click.option("--form", metavar="NAME", help="With a FILE that has several forms: which of them, such as cpu."),
        click.option(
            "--costs", required=True, metavar="FILE|flops|parameters|bytes",
            help="What branches cost: measured by `rr-export bench --json FILE`, or counted in the graph.",
        ),
    ):  # fmt: skip
        with_options = option(with_options)
    return with_options
