"""``--data``: the inputs that users have, from files or from a function of theirs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rr_export.cli.users_code import items_of, load_function

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILES = (".npz", ".npy")


@dataclass(frozen=True)
class DataOptions:
    """What the command line says of the user's inputs.

    Attributes:
        names: files and functions that have them.
        jobs: how many processes compare on them.
        results: where results are kept as they come.
        worst: where the input with the largest difference goes.
    """

    names: tuple[str, ...]
    jobs: int | None
    results: Path | None
    worst: Path | None

    def __post_init__(self) -> None:
        """Raises a UsageError or ValueError where they do not fit together, or a file cannot be written."""
        if not self.names and (self.jobs, self.results, self.worst) != (None, None, None):
            raise click.UsageError("--jobs, --results, --worst: expected --data beside them, got none; name the inputs")
        if self.jobs == 0:
            raise click.UsageError("--jobs: expected a number of workers, or -1 for one for each core, got 0; write 1")
        if self.worst is not None:
            from rr_runtime.output_files import check_output_file

            check_output_file(self.worst, overwrite=False, option="--worst")
        if self.results is not None:
            from rr_runtime.file_places import check_file_place

            check_file_place(self.results, option="--results")

    @property
    def spread(self) -> dict[str, Any]:
        """How the work on them is spread, as ``verify`` takes it."""
        return {"jobs": self.jobs, "results": self.results}


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command takes the options of the user's inputs, and is handed them as one argument, ``data``."""

    @functools.wraps(command)
    def with_options(
        *args: Any, data: Sequence[str], jobs: int | None, results: Path | None, worst: Path | None, **kwargs: Any
    ) -> Any:
        return command(*args, data=DataOptions(tuple(data), jobs, results, worst), **kwargs)

    for option in (
        click.option(
            "--worst", type=click.Path(path_type=Path), metavar="FILE.npz",
            help="With --data: keep the input with the largest difference, as --data takes it.",
        ),
        click.option(
            "--results", type=click.Path(path_type=Path), metavar="FILE",
            help="With --data: keep what is found as it comes; an interrupted run goes on there.",
        ),
        click.option(
            "--jobs", type=int, metavar="N",
            help="With --data: processes that compare, -1: one for each core (default: one).",
        ),
        click.option(
            "--data", multiple=True, metavar="FILE|MODULE:FUNCTION",
            help="Inputs to compare values on: .npz or .npy, or a function that returns an iterable; repeat.",
        ),
    ):  # fmt: skip
        with_options = option(with_options)
    return with_options


def read_data(texts: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> Iterable[Any] | None:
    """Returns the inputs that some texts name, None where there is no text.

    Args:
        texts: files, or ``module:function`` of a function that returns an iterable. A ``.npz`` holds an array for each
            input of the model by its name, a ``.npy`` that of its only input: one input, or several, along a first axis
            that the model's input has not.
        inputs: the model's inputs, as the manifest has them.

    Raises:
        click.ClickException: a file holds other inputs, or a function fails.
        ValueError: a file is not there or holds something else.
    """
    if not texts:
        return None
    parts = [_inputs_of(text, inputs) for text in texts]
    return chain.from_iterable(parts) if len(parts) > 1 else parts[0]


def _inputs_of(text: str, inputs: Sequence[Mapping[str, Any]]) -> Iterable[Any]:
    if Path(text).suffix in FILES:
        return _of_file(text, inputs)
    if ":" not in text:
        raise click.UsageError(
            f"--data: expected a .npz or .npy file or MODULE:FUNCTION, got {text!r}; such as rows.npz or my_models:rows"
        )
    made = load_function(text, where="--data")()
    if not isinstance(made, Iterable):
        raise click.UsageError(f"--data: expected {text} to return an iterable, got {type(made).__name__}; return one")
    return items_of(text, made)


def _of_file(file: str, inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, NDArray[Any]]]:
    from rr_runtime.array_files import read_array, read_arrays

    names = [row["name"] for row in inputs]
    single = Path(file).suffix == ".npy"
    arrays = {names[0]: read_array(file, "--data")} if single else read_arrays(file, "--data")
    if set(arrays) != set(names) or (single and len(names) > 1):
        raise click.UsageError(
            f"--data {file}: expected an array for each of {names}, got {sorted(arrays)}; save them by these names"
        )
    extra = {arrays[row["name"]].ndim - len(row["shape"]) for row in inputs}
    if extra == {0}:
        return [arrays]
    sizes = {array.shape[0] for array in arrays.values() if array.ndim}
    if extra == {1} and sizes == {0}:
        raise click.UsageError(f"--data {file}: expected inputs along the first axis, got none; save some")
    if extra == {1} and len(sizes) == 1:
        return [{name: array[i] for name, array in arrays.items()} for i in range(sizes.pop())]
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    raise click.UsageError(
        f"--data {file}: expected one input, or several along a first axis of their own, got the shapes {shapes} for "
        f"{[list(row['shape']) for row in inputs]}; stack whole inputs"
    )


def read_tolerance(option: str, texts: Sequence[str]) -> float | dict[str, float] | None:
    """Returns what ``1e-4`` or several ``NAME=1e-4`` say, None where there is nothing.

    Raises:
        click.UsageError: a text is neither, or a number is negative.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = -1.0
        if not found[name] >= 0:
            raise click.UsageError(f"--{option}: expected a number >= 0 or NAME=NUMBER, got {text!r}; such as 1e-4")
    if "" in found and len(texts) > 1:
        raise click.UsageError(
            f"--{option}: expected one number for all or NAME=NUMBER for some, got both; name the outputs or a dtype"
        )
    return found.get("", found or None)
