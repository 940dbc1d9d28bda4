"""The versions that capture was tested with, and the warning where another one is installed.

Capture relies on torch's exporter, which changes from version to version. Another version may work as well, so it is
never refused; but only :func:`rr_export.verify` can tell.
"""

from __future__ import annotations

import functools
import warnings

import torch

# docs/versions.md says what was run with each.
TESTED_TORCH = ("2.13", "2.14")


def warn_of_untested_torch() -> None:
    """The user has been told, once in this process, if the torch that is installed was not tested."""
    _warn_unless_tested(torch.__version__)


@functools.cache
def _warn_unless_tested(installed: str) -> None:
    if installed.split(".")[:2] not in [tested.split(".") for tested in TESTED_TORCH]:
        warnings.warn(
            f"capture: expected torch {' or '.join(TESTED_TORCH)}, which are tested, got {installed}; prove what you "
            f"export with rr_export.verify, or run: pip install 'torch=={TESTED_TORCH[-1]}.*'",
            stacklevel=4,  # who captures
        )
