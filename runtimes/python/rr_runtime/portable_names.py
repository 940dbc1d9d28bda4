"""Names of files that a bundle may have: on every system they name a file of their own, inside the bundle's folder."""

from __future__ import annotations

from collections.abc import Iterable

# What Windows takes for a device, with whatever extension: learn.microsoft.com/windows/win32/fileio/naming-a-file.
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789\xb9\xb2\xb3"))
)
_NOWHERE = frozenset('\\:*?"<>|')  # characters of no file name on Windows; the first two lead elsewhere


def is_portable(name: str) -> bool:
    """Tells whether a relative name, parts apart by ``/``, names a file below the folder it is joined to everywhere."""
    return all(map(_is_part, name.split("/")))


def colliding(names: Iterable[str]) -> tuple[str, str] | None:
    """Returns two names that are one file on some system, or of which one is a folder of the other, if there are any.

    Systems may take letters of either case for one; looked at are those of ASCII, for which every language agrees.
    """
    seen: dict[str, str] = {}
    for name in sorted(names, key=lambda name: name.count("/")):
        alike = name.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
        parts = alike.split("/")
        for end in range(1, len(parts) + 1):
            other = seen.get("/".join(parts[:end]))
            if other is not None:
                return other, name
        seen[alike] = name
    return None


def _is_part(part: str) -> bool:
    """Tells whether a text is the name of a file or folder on POSIX and on Windows, which cuts off dots and spaces."""
    strange = any(letter in _NOWHERE or letter < " " or letter == "\x7f" for letter in part)
    device = part.split(".")[0].rstrip(" ").lower() in _DEVICES
    return bool(part) and not strange and not device and part[-1] not in ". "
