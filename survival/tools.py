"""The rows of the matrix: every tool, by name."""

from __future__ import annotations

from collections.abc import Mapping

from survival.precision import PRECISION
from survival.readers import READERS
from survival.rewriters import REWRITERS
from survival.tool import Tool

TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in (*REWRITERS, *PRECISION, *READERS)}
