"""What is only installed with an extra of the package, told in words where it is missing."""

from __future__ import annotations

PACKAGES = ("torch",)
OF_COMMANDS = {"demo": "demo"}  # which want more than the extra of the package's name


def told_extra(error: ModuleNotFoundError, where: str) -> str | None:
    """Returns what to install where an import failed for the lack of an extra; None: for something else.

    Args:
        error: what the import raised.
        where: the command, or the public name, that needed it.
    """
    package = (error.name or "").partition(".")[0]
    if package not in PACKAGES:
        return None
    return f"{where}: expected {package}, got none; pip install 'rr-export[{OF_COMMANDS.get(where, package)}]'"
