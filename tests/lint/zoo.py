"""All broken files, by name."""

from __future__ import annotations

from tests.lint.handmade import HANDMADE
from tests.lint.rewritten import REWRITTEN
from tests.lint.sabotaged import SABOTAGED
from tests.lint.specimen import Specimen
from tests.lint.stock import STOCK

ZOO: dict[str, Specimen] = {**STOCK, **REWRITTEN, **SABOTAGED, **HANDMADE}
assert len(ZOO) == len(STOCK) + len(REWRITTEN) + len(SABOTAGED) + len(HANDMADE)
