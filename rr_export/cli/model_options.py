"""MODEL and the options that say more of it: what every command that needs a model takes, and how it becomes one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from rr_export.cli.console import err
from rr_export.cli.users_code import load_function
from rr_export.sources.tasks import TASKS

if TYPE_CHECKING:
    from rr_export.bundle.contents import HubFiles

METAVAR = "MODEL"
HUGGING_FACE, TIMM = "hf:", "timm:"  # begin names of models that are no functions


@dataclass(frozen=True)
class ModelOptions:
    """What the command line says of MODEL beside its name.

    Attributes:
        weights: a checkpoint that the model gets.
        routes: patterns of the layers that become sites.
        keeps: P(run) of them: one for all, or one for each pattern.
        task: what a model of Hugging Face is for.
    """

    weights: Path | None = None
    routes: tuple[str, ...] = ()
    keeps: tuple[float, ...] = ()
    task: str | None = None

    def __post_init__(self) -> None:
        """Raises a UsageError where they do not fit together."""
        if self.keeps and not self.routes:
            raise click.UsageError("--keep: expected --route PATTERN beside it, got none; name the layers to route")
        if self.routes and len(self.keeps) not in (1, len(self.routes)):
            raise click.UsageError(
                f"--keep: expected one for all or one for each of {len(self.routes)} --route, got {len(self.keeps)}; "
                "give the probability of running, such as --keep 0.8"
            )

    @property
    def given(self) -> str | None:
        """The name of an option that was given, None where none was."""
        asked = {"--weights": self.weights, "--route": self.routes, "--keep": self.keeps, "--task": self.task}
        return next((name for name, value in asked.items() if value), None)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command takes the options of a model, and is handed them as one argument, ``model_options``."""

    @functools.wraps(command)
    def with_options(
        *args: Any, weights: Path | None, routes: Sequence[str], keeps: Sequence[float], task: str | None, **kwargs: Any
    ) -> Any:
        given = ModelOptions(weights, tuple(routes), tuple(keeps), task)
        return command(*args, model_options=given, **kwargs)

    for option in (
        click.option(
            "--task", type=click.Choice(list(TASKS)), metavar="TASK",
            help="With hf:FOLDER: what it is for, fill-mask and the like (default: as its config.json says).",
        ),
        click.option(
            "--keep", "keeps", multiple=True, type=click.FloatRange(0, 1), metavar="P",
            help="With --route: P(run) of each of its layers; once, or once for each --route.",
        ),
        click.option(
            "--route", "routes", multiple=True, metavar="PATTERN",
            help="Layers of MODEL that may be skipped, such as 'encoder.layer.*'; repeat.",
        ),
        click.option(
            "--weights", type=click.Path(path_type=Path), metavar="FILE",
            help="A checkpoint for MODEL: .safetensors, or what torch.save wrote of a state dict.",
        ),
    ):  # fmt: skip
        with_options = option(with_options)
    return with_options


def load_case(name: str, given: ModelOptions = ModelOptions()) -> dict[str, Any]:
    """Returns export's arguments for MODEL, with its weights loaded and its layers routed.

    Args:
        name: ``module:function``, ``hf:FOLDER`` or ``timm:NAME``.
        given: what the options say of it.

    Raises:
        click.ClickException: there is no such function, it fails, or it returns something else.
        SourceError: there is no such model, or the checkpoint is not that of the model.
        PlanError: a pattern matches nothing, or a layer that cannot be skipped.
    """
    if given.weights is not None:
        from rr_export.sources.checkpoint import check_checkpoint

        check_checkpoint(given.weights)
    case = _made(name, given)
    if given.weights is not None:
        from rr_export.sources.checkpoint import load_weights

        load_weights(case["model"], given.weights)
    if given.routes:
        _route(case, given)
    return case


def _route(case: dict[str, Any], given: ModelOptions) -> None:
    from rr_export.wrap import route_layers

    keeps = given.keeps if len(given.keeps) > 1 else given.keeps * len(given.routes)
    for pattern, keep in zip(given.routes, keeps, strict=True):
        with redirect_stdout(sys.stderr):
            route_layers(case["model"], pattern, keep=keep, args=case["args"], kwargs=case.get("kwargs"))


def hub_around(name: str, given: ModelOptions) -> HubFiles | None:
    """Returns what makes the output a folder in the layout of Hugging Face, None where MODEL is not from one."""
    if not name.startswith(HUGGING_FACE):
        return None
    from rr_export.sources.hugging_face import hub_files

    return hub_files(Path(name.removeprefix(HUGGING_FACE)), given.task)


def _made(name: str, given: ModelOptions) -> dict[str, Any]:
    """MODEL as export's arguments, as it is named; weights are those of a folder, if none are given."""
    if given.task is not None and not name.startswith(HUGGING_FACE):
        raise click.UsageError(f"--task: expected hf:FOLDER beside it, got {name!r}; leave it away")
    if name.startswith(HUGGING_FACE):
        from rr_export.sources.hugging_face import read_folder

        folder = Path(name.removeprefix(HUGGING_FACE))
        return read_folder(folder, task=given.task, with_weights=given.weights is None).case()
    if name.startswith(TIMM):
        from rr_export.sources.timm_names import read_name

        if given.weights is None:
            err.print(f"[yellow]warning:[/] {escape(name)} has weights of chance; name a checkpoint with --weights")
        return read_name(name.removeprefix(TIMM)).case()
    return _returned(name)


def _returned(name: str) -> dict[str, Any]:
    """What the function of that name returns, as export's arguments."""
    made = load_function(name)()
    if isinstance(made, dict):
        unknown = sorted(set(made) - {"model", "args", "kwargs", "dynamic_shapes"})
        if unknown or "model" not in made:
            raise click.UsageError(
                f"model: expected the keys model, args, kwargs, dynamic_shapes from {name!r}, got "
                f"{sorted(made)}; mend them"
            )
        return {"args": (), **made}
    if isinstance(made, tuple) and 2 <= len(made) <= 3:
        return dict(zip(("model", "args", "kwargs"), made, strict=False))
    raise click.UsageError(
        f"model: expected {name!r} to return (model, args), (model, args, kwargs) or a dictionary, got "
        f"{type(made).__name__}; see rr-export export --help"
    )
