"""How often code may go on that only decisions end."""

from __future__ import annotations

from typing import NoReturn

from rr_export.capture.python.whereabouts import Whereabouts

MOST_TURNS = 64  # a while loop that decides may turn so often, and a function that decides call itself


def refuse_unbounded(whereabouts: Whereabouts, what: str, do: str) -> NoReturn:
    """Raises: a loop or a recursion goes on as long as decisions say."""
    whereabouts.refuse(
        f"{what} with a bound of at most {MOST_TURNS} turns",
        "one whose end depends on decisions alone: it is unbounded",
        f"{do}, or use for and break",
    )
