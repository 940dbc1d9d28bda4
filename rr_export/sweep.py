"""Work on many things, by any number of workers: results are kept as they come, and none is made twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rr_export.content_digest import content_digest
from rr_export.errors import SweepError
from rr_runtime.one_line import cut_to_line

FORMAT = "rr.sweep"
BEGIN = json.dumps({"format": FORMAT})[:-1].encode()  # of its first line
AT_ONCE = 8  # tasks of each worker, where a backend gives results together only

Work = Callable[[Any], Any]
Done = tuple[str, Any]


@dataclass(frozen=True)
class Task:
    """One thing to work on.

    Attributes:
        key: what it is known again by; no two tasks of a sweep have the same.
        payload: what the work is given; picklable where other processes work.
    """

    key: str
    payload: Any

    def __repr__(self) -> str:
        """Shows the key: the payload may be anything."""
        return cut_to_line(f"Task({self.key!r})")


def sweep(
    work: Work,
    tasks: Iterable[Task],
    *,
    jobs: int | None = None,
    results: str | os.PathLike[str] | None = None,
    of: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Done]:
    """Yields the key and the result of every task, as they come.

    The work is done by joblib: on this machine, or by whatever backend is active around the call, such as
    ``with joblib.parallel_config(backend="dask")``, or ``"ray"`` after ``ray.util.joblib.register_ray()``.

    Args:
        work: from the payload of a task to a JSON-ready result; picklable where other processes work.
        tasks: they are taken from the iterable as workers get free, so that it may be long.
        jobs: how many workers; -1: one for each core; None: what joblib's active configuration says, one where there is
            none.
        results: a file to which every result is added as soon as it is there, a line of JSON each. Where it is there
            already, what it holds is yielded and not made again: a sweep goes on where it was interrupted.
        of: what the sweep is of; a file of another one's results is refused. None: the name of ``work``, and a digest
            of its code and of what it holds; what else it reads, such as files, only you can name.
        progress: called with how many results there are.

    Raises:
        SweepError: the file holds results of another sweep, is no such file, or is another sweep's just now; or two
            tasks have one key.
        ValueError: ``jobs`` is 0.
    """
    of = (_described(work) if results is not None else "") if of is None else of
    at_once = workers(jobs)
    known = {} if results is None else _known(Path(results), of)
    again: list[Done] = []
    seen: set[str] = set()

    def to_do() -> Iterator[Task]:
        for task in tasks:
            if task.key in seen:
                raise SweepError(f"sweep: expected tasks of different keys, got {task.key!r} twice; make them differ")
            seen.add(task.key)
            if task.key in known:
                again.append((task.key, known[task.key]))
            else:
                yield task

    count = 0
    with _kept(None if results is None else Path(results), of) as keep:
        for key, result in _worked(work, to_do(), jobs, at_once):
            keep(key, result)
            for done in (*again, (key, result)):
                count += 1
                if progress is not None:
                    progress(count)
                yield done
            again.clear()
    yield from again


def _described(work: Work) -> str:
    """What is known of the work: its name, its code, what it holds."""
    named = work if hasattr(work, "__qualname__") else type(work)
    return f"{named.__module__}.{named.__qualname__} {content_digest(work)}"


def workers(jobs: int | None) -> int:
    """Returns how many workers a sweep has; 1: it works in this process.

    Raises:
        TypeError: ``jobs`` is no whole number.
        ValueError: it is 0.
    """
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int)):
        raise TypeError(f"jobs: expected a number of workers, got {type(jobs).__name__} {jobs!r}; pass an int")
    if jobs == 0:
        raise ValueError("jobs: expected a number of workers, or -1 for one for each core, got 0; pass 1")
    import joblib

    return int(joblib.effective_n_jobs(jobs))


def _worked(work: Work, tasks: Iterator[Task], jobs: int | None, at_once: int) -> Iterator[Done]:
    """The results of the tasks, in any order."""
    if at_once == 1:
        for task in tasks:
            yield task.key, work(task.payload)
        return
    from joblib import Parallel, delayed
    from joblib.parallel import get_active_backend

    backend, _ = get_active_backend()
    if getattr(backend, "supports_return_generator", False):
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(_one)(work, task) for task in tasks)
        return
    with Parallel(n_jobs=jobs) as parallel:
        while some := list(islice(tasks, AT_ONCE * at_once)):
            yield from parallel(delayed(_one)(work, task) for task in some)


def _one(work: Work, task: Task) -> Done:
    return task.key, work(task.payload)


def _known(file: Path, of: str) -> dict[str, Any]:
    """The results that a file holds; its last line may have been cut off."""
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1].splitlines()
    if not whole and (content[: len(BEGIN)] == BEGIN[: len(content)] or not content.strip(b"\0")):
        return {}  # it was interrupted in its first line
    found, kept = _read(file, whole)
    if found != of:
        raise SweepError(
            f"{file}: expected results of this sweep ({of}), got those of another one ({found}); name a new file"
        )
    return kept


def read_sweep(file: Path) -> tuple[str, dict[str, Any]]:
    """Returns what the results in a file are of, and every result by its key; the last line may have been cut off.

    Raises:
        SweepError: it is no such file.
    """
    content = file.read_bytes()
    return _read(file, content[: content.rfind(b"\n") + 1].splitlines())


def _read(file: Path, whole: list[bytes]) -> tuple[str, dict[str, Any]]:
    try:
        head, *rows = [json.loads(line.decode()) for line in whole]
        kept = {row["key"]: row["result"] for row in rows}
        if head["format"] != FORMAT:
            raise ValueError(head["format"])
        return str(head["of"]), kept
    except (ValueError, KeyError, TypeError) as error:
        raise SweepError(f"{file}: expected results of a sweep, got another file; name a new one") from error


@contextmanager
def _kept(file: Path | None, of: str) -> Iterator[Callable[[str, Any], None]]:
    """Yields what a result is told to: it is in the file when that returns."""
    if file is None:
        yield lambda key, result: None
        return
    with file.open("a+b") as stream:
        _lock(stream, file)
        _cut_to_whole_lines(stream)
        new = stream.tell() == 0

        def write(row: dict[str, Any]) -> None:
            stream.write(json.dumps(row).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

        if new:
            write({"format": FORMAT, "version": 1, "of": of})
        yield lambda key, result: write({"key": key, "result": result})


def _lock(stream: Any, file: Path) -> None:
    """The file is this sweep's until it is closed, also by an end of the process; Windows has no such lock."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SweepError(
            f"{file}: expected a file that no other sweep writes to, got one that is written to; wait, or name another"
        ) from error


def _cut_to_whole_lines(stream: Any) -> None:
    """What an interruption left of a last line is gone."""
    stream.seek(0)
    stream.truncate(stream.read().rfind(b"\n") + 1)
    stream.seek(0, os.SEEK_END)
