"""``python -m rr_export``, and the command ``rr-export``: the command line as a process of its own."""

from __future__ import annotations

import gc
from typing import NoReturn

from rr_export.cli import main
from rr_export.late_sympy import import_sympy_late


def start() -> NoReturn:
    """Runs the command; the process ends with its exit code.

    Imports make many objects and no garbage: the collector looks at them seldom, and not once more at the end, which
    saves a third of the time that a short command takes.
    """
    import_sympy_late()
    gc.set_threshold(10_000, 20, 50)
    try:
        main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    start()
