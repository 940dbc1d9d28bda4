"""A process that works on one cell after the other, and is replaced when a tool crashes or hangs in it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from multiprocessing.connection import Connection
from types import TracebackType

from survival.cell import NO_LOAD, REFUSES, Outcome, run_cell
from survival.files import Column
from survival.tool import Tool
from survival.tools import TOOLS

LIMIT = 180.0  # seconds for one cell


class Worker:
    """Runs cells; imports are paid once, as long as nothing crashes."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.context.SpawnProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Worker:
        """Returns itself; the process starts with the first cell."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The process is gone."""
        self._stop()

    def run(self, tool: Tool, column: Column, *, limit: float = LIMIT) -> Outcome:
        """Returns what comes of the tool on the file; a crash or a hang is an outcome, too.

        Args:
            tool: a row of the table, or one whose ``run`` is a function of a module.
            column: the exported file.
            limit: in seconds.
        """
        pipe = self._pipe or self._start()
        pipe.send((tool.name if tool.name in TOOLS else tool, column))
        stage = "tool"
        while pipe.poll(limit):
            try:
                message = pipe.recv()
            except EOFError:
                return self._lost(stage, "")
            if isinstance(message, Outcome):
                return message
            if isinstance(message, BaseException):
                raise message
            stage = message
        return self._lost(stage, f"no end after {limit:g} s")

    def _start(self) -> Connection:
        ours, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = ours
        return ours

    def _lost(self, stage: str, reason: str) -> Outcome:
        """The outcome of a cell whose process is not to be had any more."""
        assert self._process is not None
        if not reason:
            self._process.join()
            code = self._process.exitcode or 0
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            reason = f"the process dies ({name})"
        self._stop()
        return Outcome(REFUSES if stage == "tool" else NO_LOAD, reason)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection) -> None:
    """Answers cells until the pipe closes; what tools print is dropped."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    while True:
        try:
            tool, column = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(run_cell(TOOLS[tool] if isinstance(tool, str) else tool, column, pipe.send))
        except Exception as error:  # a fault of the matrix itself: shown where it was asked
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))
