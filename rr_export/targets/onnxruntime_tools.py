"""onnxruntime's Python tools, used without what they print and without the handlers that they give the root logger."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def quiet_tools() -> Iterator[None]:
    """While the block runs, what the tools print goes to this module's log, at level DEBUG.

    What they log reaches the handlers that the caller has set up, if any. Importing them extends ``sys.path``, which
    stays so: they find each other by it.
    """
    _import_tools()
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


def _import_tools() -> None:
    """``onnxruntime.tools`` is imported. It would import torch as well, for a function that nothing here uses."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import onnxruntime.tools  # noqa: F401
    finally:
        if hidden:
            del sys.modules["torch"]
