"""The user's line: of what runs now, of what an error came through, and of a node."""

from __future__ import annotations

import functools
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import FrameSummary, StackSummary
from types import FrameType
from typing import Any, NoReturn

import onnx_ir as ir
from torch.fx.proxy import TracerBase

from rr_export.capture.python.decisions import Line
from rr_export.capture.python.frames import line_noted
from rr_export.capture.python.source_code import is_library_file
from rr_export.capture.python.values import active_interpreter
from rr_export.errors import CaptureError

# packages whose code is never where a user has to look
_BETWEEN = ("torch", "numpy", "onnx", "onnxscript", "onnx_ir", "rr_export", "rr_runtime", "sympy", "einops")
_TRACE = "pkg.torch.onnx.stack_trace"
_OURS = str(Path(__file__).parent)


def refuse(expected: str, got: str, do: str) -> NoReturn:
    """Raises a CaptureError that names the line that runs."""
    interpreter = active_interpreter.get()
    if interpreter is not None:
        interpreter.refuse(expected, got, do)
    raise CaptureError(f"{_best(_outwards(sys._getframe(1))) or 'capture'}: expected {expected}, got {got}; {do}")


def line_that_runs() -> str:
    """Returns the user's line that runs now, as ``file.py:line``; "" where there is none."""
    line = _interpreted_line()
    return _best(_outwards(sys._getframe(1))) if line is None else str(line)


def _interpreted_line() -> Line | None:
    interpreter = active_interpreter.get()
    return None if interpreter is None else interpreter.line()


@contextmanager
def interpreted_lines() -> Iterator[None]:
    """Inside, torch notes the lines of interpreted code for what it traces: no frame of Python has them."""
    space: Any = TracerBase
    chosen = space._filter_traceback_frames

    def with_interpreted(self: TracerBase, summary: StackSummary) -> StackSummary:
        frames: StackSummary = chosen(self, summary)
        line = _interpreted_line()
        if line is None:
            return frames
        return StackSummary.from_list([*frames, FrameSummary(line.file, line.number, "forward")])

    space._filter_traceback_frames = with_interpreted
    try:
        yield
    finally:
        space._filter_traceback_frames = chosen


def line_of_error(error: BaseException) -> str:
    """Returns the innermost line of the user that an error came through, as ``file.py:line``; "" where there is none.

    Lines of the model's own files go before lines of packages that it is made of.
    """
    lines: list[Line] = []
    trace = error.__traceback__
    while trace is not None:
        lines.append(Line(trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    noted = line_noted(error)
    if noted is not None:  # it came through code that is interpreted: what lies further out is the interpreter
        inside = max((i for i, line in enumerate(lines) if line.file.startswith(_OURS)), default=-1)
        lines = [noted, *lines[inside + 1 :]]
    return _best(reversed(lines))


def line_of_node(node: ir.Node) -> str:
    """Returns the user's line that a node of the flat graph was captured at; "" where it is not known."""
    return line_of_trace(node.metadata_props.get(_TRACE, ""))


def line_of_trace(text: str) -> str:
    """Returns the user's line in the text of a traceback; "" where there is none."""
    found = re.findall(r'File "([^"]+)", line (\d+)', text)
    return _best(Line(file, int(number)) for file, number in reversed(found))


def _outwards(frame: FrameType | None) -> Iterator[Line]:
    while frame is not None:
        yield Line(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back


def _best(lines: Iterable[Line]) -> str:
    """Of lines, innermost first, the first that is the author's, else the first that may be one to look at."""
    there = [line for line in lines if not _is_between(line.file)]
    best = next((line for line in there if not is_library_file(line.file)), there[0] if there else None)
    return "" if best is None else str(best)


@functools.cache
def _is_between(file: str) -> bool:
    homes = [Path(sys.modules[name].__file__ or "/").parent for name in _BETWEEN if name in sys.modules]
    path = Path(file)
    paths = sysconfig.get_paths()
    if file.startswith("<") or any(home in path.parents for home in homes):
        return True
    installed = any(Path(paths[name]) in path.parents for name in ("purelib", "platlib"))
    return Path(paths["stdlib"]) in path.parents and not installed
