"""The program of a segments target: which static files a path needs, and in which order (SPEC.md, section 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Around = tuple[tuple[int, int], ...]  # the branches around a step, outermost first: each one's site and route


@dataclass(frozen=True)
class Run:
    """A step of a program: one static file is run.

    Attributes:
        model: the file's name.
        inputs: the values that it takes, by their names.
        outputs: the values that it gives.
    """

    model: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Branch:
    """One branch of a step that chooses: its steps, and the values that are its results."""

    steps: tuple[Step, ...]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Choose:
    """A step of a program: the branch that is the site's route is walked.

    Attributes:
        site: the site's index.
        outputs: the values that the results of the walked branch become.
        branches: one for each route.
    """

    site: int
    outputs: tuple[str, ...]
    branches: tuple[Branch, ...]


Step = Run | Choose


def walk(
    program: Sequence[Step], route: Callable[[Choose], int] | None = None, around: Around = ()
) -> Iterator[tuple[Step, Around]]:
    """Yields every step with the branches around it, in the order in which their values are made.

    A step that chooses comes after the steps of its branches: when it comes, the results of its branches are there.

    Args:
        program: the steps.
        route: says which branch to walk, asked as a step that chooses is met; None: all are walked, one after another.
        around: the branches around the program itself.
    """
    for step in program:
        if isinstance(step, Choose):
            for number in range(len(step.branches)) if route is None else (route(step),):
                yield from walk(step.branches[number].steps, route, (*around, (step.site, number)))
        yield step, around
