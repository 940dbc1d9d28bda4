"""Lets ``pip install .`` in a checkout install rr-runtime from the checkout too.

The project depends on ``rr-runtime`` as an index has it. Where pip builds the project in a checkout, the wheel depends
on the rr-runtime in ``runtimes/python`` instead. Such a wheel names a path of its machine, so no index takes it: they
refuse direct references. What is built to be published names none: ``python -m build`` is not pip, and a source
distribution has no ``runtimes/python``.

The pages of errors stand in ``docs/errors``; a wheel carries them in the package, for ``rr-export explain``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGES = "docs/errors", "rr_export/error_pages"  # where they stand, and where a wheel has them


class CheckoutHook(BuildHookInterface):
    """Gives wheels the pages of errors, and points the dependency on rr-runtime at the checkout that pip builds in.

    Not in an editable install: pip takes ``-e runtimes/python`` beside it for another rr-runtime than this one.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """The wheel has the pages, and its metadata name the rr-runtime that it is to be installed with."""
        if version != "editable":
            build_data["force_include"][str(Path(self.root, PAGES[0]))] = PAGES[1]
        runtime = Path(self.root, "runtimes", "python")
        built_by_pip = "PIP_BUILD_TRACKER" in os.environ  # by which hatchling, too, tells pip from others
        if built_by_pip and version != "editable" and runtime.is_dir():
            dependencies = self.metadata.core.dependencies
            (plain,) = (name for name in dependencies if name.startswith("rr-runtime"))
            dependencies[dependencies.index(plain)] = f"rr-runtime @ {runtime.as_uri()}"
