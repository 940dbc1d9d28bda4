"""onnxruntime's Python tools, used without what they print and without the handlers that they give the root logger."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def quiet_tools() -> Iterator[None]:
    """While the block runs, what the tools print goes to this module's log, at level DEBUG.

    What they log reaches the handlers that the caller has set up, if any. Importing them extends ``sys.path``, which
    stays so: they find each other by it.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    printed = io.StringIO()
    root.addHandler(logging.NullHandler())  # the tools add one that writes to stderr where there is none
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # onnxruntime 1.32 leaves the files that it reads open
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for line in printed.getvalue().splitlines():
            logger.debug("%s", line)
