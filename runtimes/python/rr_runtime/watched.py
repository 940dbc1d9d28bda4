"""Files that are read now and opened by an engine later: whether they are still what was read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from rr_runtime.errors import BundleError

READ_AT_ONCE = 1 << 20  # bytes of a file that is hashed
_Stamp = tuple[int, int, int, int, int]


class Watched:
    """The files that were hashed, and the system's record of each: device, number, size and times of the last change.

    A file that is written to, or that another one takes the place of, has another record, also where it is put back.
    """

    def __init__(self) -> None:
        self._stamps: dict[Path, _Stamp] = {}
        self._digests: dict[tuple[Path, str], str] = {}

    def digest(self, place: Path, algorithm: str) -> str:
        """Returns the hash of a file, in hexadecimal digits; from now on it is watched.

        Raises:
            BundleError: it cannot be read.
        """
        try:
            with place.open("rb") as stream:
                self._stamps[place] = _stamp(os.fstat(stream.fileno()))
                digest = hashlib.new(algorithm, usedforsecurity=False)
                while part := stream.read(READ_AT_ONCE):
                    digest.update(part)
                found = self._digests[place, algorithm] = digest.hexdigest()
                return found
        except OSError as error:
            raise BundleError(f"{place}: expected a readable file, got {error}; check its permissions") from error

    def renew(self) -> None:
        """Every file has the content that it had when it was hashed: those with another record are hashed again.

        For what is opened long after: backups and moves change the record of a file, and not its content.

        Raises:
            BundleError: one has another content.
        """
        for (place, algorithm), told in list(self._digests.items()):
            if self._now(place) != self._stamps[place] and self.digest(place, algorithm) != told:
                raise BundleError(
                    f"{place}: expected the file that was checked when the bundle was opened, got another; open the "
                    "bundle again"
                )

    def check(self) -> None:
        """No file was changed since it was hashed.

        Raises:
            BundleError: one is not; what an engine opened meanwhile may be anything.
        """
        for place, stamp in self._stamps.items():
            if self._now(place) != stamp:
                raise BundleError(
                    f"{place}: expected the file that was checked, got one that was changed while it was opened; open "
                    "the bundle again when nothing writes to it"
                )

    def _now(self, place: Path) -> _Stamp | None:
        try:
            return _stamp(place.stat())
        except OSError:
            return None


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
