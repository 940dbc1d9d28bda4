"""Files and folders that are there whole or not at all: written beside their place, then moved there in one step.

What is being written has a hidden name beside its place, and its writer holds a lock on it, which the system takes
back when the writer ends, however it ends: what nobody holds any more is cleared away by the next writer. Whoever looks
whether a place is free, and then takes it, is alone in its folder meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rr_export.errors import BundleError
from rr_runtime.swap import OLD, move_back, old_beside

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

NEW = ".rr-new"  # ends the hidden names of what is being written
PATIENCE = 60.0  # seconds to wait for another writer
TRIES = 100  # of a swap that readers undo meanwhile


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``place``, for what is to be moved there; it is gone after the block."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with alone_in(place.parent):
        clear_leftovers(place)
        scratch = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=NEW, dir=place.parent))
        held = _lock(scratch)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _release(held)


@contextmanager
def writable(place: Path) -> Iterator[None]:
    """What the system raises while something is written to ``place`` is said of that place.

    Raises:
        BundleError: the system does not let it be written; what is there stays.
    """
    try:
        if "\0" in str(place):
            raise OSError(errno.EINVAL, "a name with a zero byte")
        yield
    except OSError as error:
        in_the_way = next((p for p in place.parents if os.path.lexists(p) and not p.is_dir()), None)
        if in_the_way is not None:
            reason = f"{str(in_the_way)!r}, which is no folder, on the way there"
        else:
            reason = repr(error.strerror or str(error))
        do = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another place"
        raise BundleError(f"{place}: expected a place that can be written to, got {reason}; {do}") from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other writer looks for a free place in the folder, or takes one, until the block ends.

    Raises:
        BundleError: another one has done so for a minute.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            held = _lock(folder)
            break
        except BlockingIOError:
            if time.monotonic() > end:
                raise BundleError(
                    f"{folder}: expected to be the only one that saves there, got another for {PATIENCE:.0f} seconds; "
                    "save again when it has ended, or save into another folder"
                ) from None
            time.sleep(0.01)
    try:
        yield
    finally:
        _release(held)


def move_into_place(scratch: Path, place: Path) -> None:
    """The folder is at ``place``; what was there is at ``scratch``, or gone.

    Where the system cannot let two folders change places, the earlier one stands beside its place for a moment; who
    opens or saves a bundle moves it back if the writer ended in that moment.

    Raises:
        BundleError: the system does not let it be moved; what was there is there.
    """
    scratch.chmod(0o755)
    try:
        if not os.path.lexists(place):
            scratch.rename(place)
        elif not exchange(scratch, place):
            _swap(scratch, place)
    except OSError as error:
        move_back(place)
        raise BundleError(
            f"{place}: expected to move the bundle there, got {error}; save again, or to another place (another "
            "process may be saving there)"
        ) from error


def exchange(one: Path, other: Path) -> bool:
    """Returns whether two files or folders have changed places, in one step; not every system can."""
    if sys.platform not in ("linux", "darwin"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
        return int(library.renameat2(here, names[0], here, names[1], swap)) == 0
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return int(library.renamex_np(*names, 2)) == 0  # RENAME_SWAP
    return False


def write_atomically(place: Path, content: bytes) -> None:
    """The file holds ``content``; whoever reads meanwhile sees the old content or the new one.

    A link is followed, and what is no regular file (a pipe, a device) is written to and stays what it is.

    Raises:
        BundleError: the system does not let it be written.
    """
    place = place.resolve() if place.is_symlink() else place
    with writable(place):
        if place.exists() and not place.is_file():
            with place.open("wb") as out:
                out.write(content)
            return
        with alone_in(place.parent):
            put_file(place, content)


def put_file(place: Path, content: bytes) -> None:
    """The file at a place where the caller is alone holds ``content``, from one moment to the next."""
    clear_leftovers(place)
    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=NEW, dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(name, 0o644)
        os.replace(name, place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def is_leftover(name: str) -> bool:
    """Tells whether a file or folder of this name is what a writer left that ended too early."""
    return name.startswith(".") and name.endswith((NEW, OLD))


def clear_leftovers(place: Path) -> None:
    """What writers that have ended left beside a place is gone; the caller is alone there."""
    move_back(place)
    mine = re.compile(rf"\.{re.escape(place.name)}\.[a-z0-9_]{{8}}{re.escape(NEW)}")
    found = [entry for entry in place.parent.iterdir() if mine.fullmatch(entry.name)]
    for left in [*found, *([old_beside(place)] if os.path.lexists(old_beside(place)) else [])]:
        with contextlib.suppress(BlockingIOError):  # its writer is at work
            held = _lock(left)
            if held is not None:
                _remove(left)
            _release(held)


def _swap(scratch: Path, place: Path) -> None:
    """The folder is at ``place``, the one that was there is gone; for a moment there is none."""
    old = old_beside(place)
    for _ in range(TRIES):
        with contextlib.suppress(FileNotFoundError):
            place.rename(old)
        try:
            scratch.rename(place)
            break
        except OSError as error:  # a reader has moved the old one back
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    else:
        raise OSError(errno.EBUSY, "a place that others fill")
    _remove(old)


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _lock(place: Path) -> int | None:
    """Returns what holds a lock on a file or folder until it is released; None where the system has no such locks.

    Raises:
        BlockingIOError: another holds it.
    """
    if fcntl is None:
        return None
    try:
        held = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return held


def _release(held: int | None) -> None:
    if held is not None:
        os.close(held)
