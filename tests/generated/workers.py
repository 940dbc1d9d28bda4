"""Judges random models in processes of their own, each model within a time; a process that dies is replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import tempfile
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from tests.generated.judge import CRASHED, Judged, judge, kind_of, source_of

MODELS = 200  # that a process judges before a fresh one takes its place: what torch keeps does not grow without end


class _Worker:
    """A process that judges models, one at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.judged = 0
        self.connection.recv()  # it has imported everything: the time of the first model begins here

    def judge(self, seed: int, seconds: float) -> Judged:
        """Returns what becomes of a model; the process is dead where it took too long."""
        self.judged += 1
        reason = f"TimeoutError: no end within {seconds:g} s"
        try:
            self.connection.send(seed)
            if self.connection.poll(seconds):
                found: Judged = self.connection.recv()
                return found
        except (EOFError, ConnectionError):
            self.process.join()
            reason = f"ProcessError: the process ended with {self.process.exitcode}"
        self.close()
        return Judged(seed, kind_of(seed), CRASHED, reason, 0, seconds, source_of(seed))

    @property
    def done(self) -> bool:
        """Whether a fresh process should take its place."""
        return self.judged >= MODELS or not self.process.is_alive()

    def close(self) -> None:
        """The process has ended."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def judge_all(seeds: Iterable[int], *, jobs: int, seconds: float) -> Iterator[Judged]:
    """Yields what becomes of each model, in the order in which they are done."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for seed in seeds:
        waiting.put(seed)
    results: queue.SimpleQueue[Judged | BaseException | None] = queue.SimpleQueue()
    stopped = threading.Event()
    threads = [threading.Thread(target=_drive, args=(waiting, results, seconds, stopped)) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        running = jobs
        while running:
            found = results.get()
            if found is None:
                running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _drive(
    waiting: queue.SimpleQueue[int],
    results: queue.SimpleQueue[Judged | BaseException | None],
    seconds: float,
    stopped: threading.Event,
) -> None:
    worker: _Worker | None = None
    try:
        while not stopped.is_set():
            seed = waiting.get_nowait()
            if worker is None or worker.done:
                if worker is not None:
                    worker.close()
                worker = _Worker()
            results.put(worker.judge(seed, seconds))
    except queue.Empty:
        pass
    except BaseException as error:
        results.put(error)
    finally:
        if worker is not None:
            worker.close()
        results.put(None)


def _serve(connection: Connection) -> None:
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="generated.") as folder, contextlib.suppress(EOFError):
        connection.send(None)
        while True:
            connection.send(judge(connection.recv(), Path(folder)))
