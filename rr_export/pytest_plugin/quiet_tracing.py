"""Torch's trace of its own work, kept out of what pytest shows of a failed test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_tracing() -> Iterator[None]:
    """Records of ``torch.__trace`` reach torch's own handlers only: in pytest's, each is an empty line."""
    trace, root = logging.getLogger("torch.__trace"), logging.getLogger()
    added = [handler for handler in trace.handlers if handler in root.handlers]
    before, trace.propagate = trace.propagate, False
    for handler in added:
        trace.removeHandler(handler)
    try:
        yield
    finally:
        trace.propagate = before
        for handler in added:
            trace.addHandler(handler)
