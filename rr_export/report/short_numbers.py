"""Numbers as tables and pages say them: none longer than it is worth."""

from __future__ import annotations


def short_number(number: float, *, signed: bool = False) -> str:
    """Returns a number to four digits; from 10,000 on without decimals, from 10^15 on as a power of ten.

    Args:
        number: the number, which may be a whole number of any size.
        signed: whether a plus is written before what is above 0, and before 0.
    """
    plus = "+" if signed else ""
    if abs(number) >= 10**15:
        if isinstance(number, int):
            return f"{'-' if number < 0 else plus}10^{len(str(abs(number))) - 1}"
        return f"{number:{plus}.2g}"
    return f"{number:{plus},.0f}" if abs(number) >= 10**4 or isinstance(number, int) else f"{number:{plus}.4g}"
