"""Where the code is, and refusals that say so."""

from __future__ import annotations

import ast
import sys
import types
from typing import Any, NoReturn

from torch import nn

from rr_export.capture.python.decisions import Line, is_between
from rr_export.capture.python.frames import Block, Frame, Stack
from rr_export.capture.python.notes import Notes
from rr_export.capture.python.source_code import saw_deciding
from rr_export.capture.python.training_mode_routes import EVALUATING, TrainingNoiseError, TrainingRoutes
from rr_export.capture.python.values import CHOOSES, DEFINITE
from rr_export.errors import CaptureError

_OURS = __name__.rpartition(".")[0]  # the package of the interpreter


class DecidesInPackageError(BaseException):
    """Code of a package that is not interpreted decides: the model is to be run again, with that code interpreted.

    No code of the model's own may catch it.
    """


class Whereabouts:
    """Where the code is.

    Args:
        root: the model.
        stack: the functions that are interpreted.
        notes: of the first run, which is made again where more is to be interpreted.
        training: modules whose training routes are kept.
    """

    def __init__(self, root: nn.Module, stack: Stack, notes: Notes, training: TrainingRoutes = EVALUATING) -> None:
        self._paths = {id(vars(m)): n for n, m in root.named_modules()}
        self._stack, self._notes, self._training = stack, notes, training

    def line(self) -> Line:
        """Returns the innermost line that is neither ours nor of a numeric library."""
        for frame in self.native_frames():
            if not is_between(frame):
                return Line(frame.f_code.co_filename, frame.f_lineno, self._module_around(frame))
        if not self._stack.frames:
            return Line("model", 0)
        top = self._stack.top
        return Line(top.source.file, top.node.lineno, self._interpreted_module())  # type: ignore[attr-defined]

    def lines(self) -> tuple[int, int]:
        """Returns the first and last line of the part of a statement in which the code is."""
        line = self.line()
        top = self._stack.frames[-1] if self._stack.frames else None
        while top is not None:
            blocks = [part for part in top.pending if isinstance(part, Block)]
            if blocks and line.file == top.source.file:
                first, last = header(blocks[-1].statements[blocks[-1].position])
                if first <= line.number <= last:
                    return first, last
            top = top.parent
        return line.number, line.number

    def native_frames(self) -> list[types.FrameType]:
        """Returns the frames of what is not interpreted, from the innermost to the one that interpreted code called."""
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and (_is_of_rr_export(frame) or frame.f_code.co_name == "__torch_function__"):
            if _is_ours(frame, ".syntax."):
                return []  # interpreted code itself got here
            frame = frame.f_back
        found = []
        while frame is not None and not _is_of_rr_export(frame):
            found.append(frame)
            frame = frame.f_back
        while frame is not None and not _is_ours(frame, ".syntax."):
            frame = frame.f_back
        return found if frame is not None or not self._stack.frames else []

    def _module_around(self, frame: types.FrameType | None) -> str:
        """The path of the innermost module whose code runs, from a frame outwards."""
        while frame is not None and not _is_ours(frame):
            path = self._path_of(frame.f_locals.get(next(iter(frame.f_code.co_varnames), "")))
            if path is not None:
                return path
            frame = frame.f_back
        return self._interpreted_module()

    def _interpreted_module(self) -> str:
        found = (self._path_of(frame.scope.variables.get(_first(frame))) for frame in reversed(self._stack.frames))
        return next((path for path in found if path is not None), "")

    def _path_of(self, owner: Any) -> str | None:
        return self._paths.get(id(vars(owner))) if isinstance(owner, nn.Module) else None

    def refuse(self, expected: str, got: str, do: str) -> NoReturn:
        """Raises a CaptureError that names the line.

        Raises:
            DecidesInPackageError: code of a package got here that is interpreted from now on.
        """
        if not self._notes.replaying and any([saw_deciding(frame) for frame in self.native_frames()]):
            raise DecidesInPackageError
        line = self.line()
        text = f"{line}: expected {expected}, got {got}; {do}"
        if expected in (CHOOSES, DEFINITE) and self._training.kept:
            raise TrainingNoiseError(text, line.file, line.number, line.module)
        raise CaptureError(text)


def _first(frame: Frame) -> str:
    """The name of the first argument of a function that runs: of a method, itself."""
    given: ast.arguments | None = getattr(frame.source.node, "args", None)
    return next((a.arg for a in (*given.posonlyargs, *given.args)), "") if given is not None else ""


def header(statement: ast.stmt) -> tuple[int, int]:
    """Returns the first and last line of a statement without the statements in it."""
    part: ast.AST = statement
    if isinstance(statement, ast.If | ast.While):
        part = statement.test
    elif isinstance(statement, ast.For):
        part = statement.iter
    elif isinstance(statement, ast.With):
        part = statement.items[-1].context_expr
    return statement.lineno, getattr(part, "end_lineno", None) or statement.lineno


def _is_of_rr_export(frame: types.FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("rr_export.")


def _is_ours(frame: types.FrameType, part: str = "") -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith(_OURS + part)
