"""A bundle, files of figures beside it, and how they are read: what ``inspect`` and ``report`` are given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rr_export.cli.options import read_sizes

if TYPE_CHECKING:
    from rr_export.overview.gathered import Overview


@dataclass(frozen=True)
class KnownOptions:
    """What the command line says of a bundle and of what is known of it.

    Attributes:
        bundle: the bundle.
        files: figures beside it.
        form: which of several forms the costs of a bench are of.
        sizes: ``AXIS=N`` texts, for counting FLOPs.
    """

    bundle: Path
    files: tuple[Path, ...]
    form: str | None
    sizes: tuple[str, ...]

    def gather(self) -> Overview:
        """Returns all that is known of the bundle.

        Raises:
            ValueError: a file cannot be read, is of another kind, or is one of another bundle.
            BundleError: there is no bundle, or it is damaged.
        """
        from rr_export.bundle.bundle_reader import load
        from rr_export.overview.gathered import overview_of

        sizes = read_sizes(self.sizes)
        return overview_of(load(self.bundle), self.files, name=str(self.bundle), form=self.form, sizes=sizes)


def known_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command takes a bundle and files of figures, and is handed them as one argument, ``known``."""

    @functools.wraps(command)
    def with_options(
        *args: Any, bundle: Path, files: Sequence[Path], form: str | None, sizes: Sequence[str], **kwargs: Any
    ) -> Any:
        return command(*args, known=KnownOptions(bundle, tuple(files), form, tuple(sizes)), **kwargs)

    for option in (
        click.option(
            "--size", "sizes", multiple=True, metavar="AXIS=N", help="Size of a dynamic axis, for counting FLOPs."
        ),
        click.option("--form", metavar="NAME", help="With a bench of several forms: whose costs, such as cpu."),
        click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILES]..."),
        click.argument("bundle", type=click.Path(path_type=Path)),
    ):
        with_options = option(with_options)
    return with_options
