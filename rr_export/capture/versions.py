"""The versions that capture was tested with, and the warning where another one is installed.

Capture relies on torch's exporter, which changes from version to version. Another version may work as well, so it is
never refused; but only :func:`rr_export.verify` can tell.
"""

from __future__ import annotations

import functools
import sys
import warnings

import torch

# docs/versions.md says what was run with each.
TESTED_TORCH = ("2.13", "2.14")
_BETWEEN = (__name__.partition(".")[0], "functools")  # whose frames stand between the warning and who asked for it


def warn_of_untested_torch() -> None:
    """The user has been told, once in this process, if the torch that is installed was not tested."""
    _warn_unless_tested(torch.__version__)


@functools.cache
def _warn_unless_tested(installed: str) -> None:
    if installed.split(".")[:2] not in [tested.split(".") for tested in TESTED_TORCH]:
        warnings.warn(
            f"capture: expected torch {' or '.join(TESTED_TORCH)}, which are tested, got {installed}; prove what you "
            f"export with rr_export.verify, or run: pip install 'torch=={TESTED_TORCH[-1]}.*'",
            stacklevel=_levels_to_the_user(),
        )


def _levels_to_the_user() -> int:
    """How many frames the innermost one that is not of this package stands above the caller."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN:
        frame, levels = frame.f_back, levels + 1
    return levels
