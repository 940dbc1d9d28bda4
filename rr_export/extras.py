"""What is only installed with an extra of the package, told in words where it is missing."""

from __future__ import annotations

EXTRAS = {"torch": "torch"}  # from packages to the extras that bring them


def told_extra(error: ModuleNotFoundError, where: str) -> ModuleNotFoundError:
    """Returns the error that says which extra brings what is missing; any other error comes back as it is.

    Args:
        error: what an import raised.
        where: what needed it.
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return error
    text = f"{where}: expected {package}, got none; pip install 'rr-export[{EXTRAS[package]}]'"
    return ModuleNotFoundError(text, name=error.name)
