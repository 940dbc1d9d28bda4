"""Which line of the model asks for more than bounds of a dynamic axis: torch tells of the axis, not of the line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.fx.experimental.symbolic_shapes import ShapeEnv

from rr_export.capture.user_lines import line_that_runs

Asked = list[tuple[Any, str]]  # conditions on sizes that a trace went by, and the user's lines; "" where not known


@contextmanager
def noting_guards(asked: Asked) -> Iterator[None]:
    """Inside, conditions on sizes that torch.export takes for granted are written down with their lines."""
    space: Any = ShapeEnv
    log = space._log_guard

    def noting(self: ShapeEnv, prefix: str, guard: Any, *args: Any, **kwargs: Any) -> None:
        if "suppressed" not in prefix:
            asked.append((guard, line_that_runs()))
        log(self, prefix, guard, *args, **kwargs)

    space._log_guard = noting
    try:
        yield
    finally:
        space._log_guard = log


def line_that_fixes(asked: Asked) -> str:
    """Returns the first line that asks for more than a bound of one size; "" where no such line is known."""
    return next((line for guard, line in asked if line and not _is_bound(guard)), "")


def line_of_multiple(asked: Asked) -> str:
    """Returns the first line that compares something computed of a size; "" where no such line is known."""
    return next((line for guard, line in asked if line and not any(side.is_Symbol for side in guard.args)), "")


def _is_bound(guard: Any) -> bool:
    sides = guard.args
    return (
        getattr(guard, "rel_op", "==") != "=="
        and any(side.is_Symbol for side in sides)
        and any(side.is_number for side in sides)
    )
