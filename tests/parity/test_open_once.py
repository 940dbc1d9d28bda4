import gc
import weakref
from typing import Any

from rr_export.parity.open_once import open_once


class Model:
    """Refers to itself, as modules do."""

    def __init__(self, name: str) -> None:
        self.name, self.itself = name, self


def test_what_was_opened_is_opened_once_and_let_go_before_the_next() -> None:
    alive: list[Any] = []

    @open_once
    def opened(name: str) -> Model:
        assert all(ref() is None for ref in alive), "two are held at the same time"
        model = Model(name)
        alive.append(weakref.ref(model))
        return model

    gc.disable()
    try:
        assert opened("a") is opened("a") and len(alive) == 1
        assert opened("b").name == "b"
        assert opened("a").name == "a" and len(alive) == 3
    finally:
        gc.enable()
