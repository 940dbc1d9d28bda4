"""HTML in which every text is escaped: elements are made by calls, and only what they return is taken as markup."""

from __future__ import annotations

import re
from html import escape
from typing import Any

_VOID = frozenset({"meta", "link", "br", "col"})
_UNWRITABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in HTML and XML


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def clean(text: object) -> str:
    """Returns a text without characters that neither HTML nor XML can have; each is U+FFFD now."""
    return _UNWRITABLE.sub("\ufffd", str(text))


def written(*parts: object) -> Markup:
    """Returns parts one after the other: markup as it is, every other thing as escaped text; None is left away."""
    return Markup("".join(p if isinstance(p, Markup) else escape(clean(p)) for p in parts if p is not None))


def element(name: str, /, *parts: object, **attributes: Any) -> Markup:
    """Returns an element.

    Args:
        name: of the element.
        parts: what is in it, as for ``written``.
        attributes: its attributes; ``_`` in a name is ``-``, one at its end is left away (``class_``). Those that are
            None or False are left away, True has no value.
    """
    told = [_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()]
    opened = f"<{name}{''.join(told)}>"
    if name in _VOID:
        return Markup(opened)
    return Markup(f"{opened}{written(*parts)}</{name}>")


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{escape(clean(value), quote=True)}"'
