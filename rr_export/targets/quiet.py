"""onnxruntime's Python tools, used without what they print and without what they change in the process."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def quiet_tools() -> Iterator[None]:
    """While the block runs, what the tools print goes to this module's log, at level DEBUG.

    They also give the root logger a handler where it has none, and extend ``sys.path``: afterwards both are as before.
    What they log reaches the handlers that the caller has set up, if any.
    """
    root, path = logging.getLogger(), list(sys.path)
    handlers, level = list(root.handlers), root.level
    printed = io.StringIO()
    root.addHandler(logging.NullHandler())  # the tools add one that writes to stderr where there is none
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.path[:] = path
        for line in printed.getvalue().splitlines():
            logger.debug("%s", line)
