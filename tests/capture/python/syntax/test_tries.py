"""Errors that a branch raises, and its own function catches, are ways to go on; others are refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rr_export as rr
from rr_export.capture.python.frames import Frame
from rr_export.capture.python.syntax.tries import Tries, Try, catches_nothing
from rr_export.errors import CaptureError
from tests.capture.python.setting import Setting
from tests.generated.file_law import law_of_file
from tests.generated.oracle import differences, law_of_code

X = torch.tensor([[0.5, -1.0, 2.0, 0.25], [1.5, 0.5, -0.5, 1.0]])


class StopError(Exception):
    pass


def catching(*kinds: type[Exception]) -> Callable[[Exception], int | None]:
    return lambda error: next((i for i, kind in enumerate(kinds) if isinstance(error, kind)), None)


def test_which_statement_an_error_goes_to() -> None:
    frame: Any = Setting().stack.top
    other: Frame = Setting().stack.top
    tries = Tries()
    outer, inner = Try(frame, 0, catching(StopError)), Try(frame, 1, catching(KeyError, ValueError))
    with tries.running(outer), tries.running(inner):
        assert tries.flow_of(KeyError, frame, 1) is None  # no branch in between: it is raised
        flow, again = tries.flow_of(ValueError("a"), frame, 2), tries.flow_of(StopError, frame, 2)
        assert flow is not None and again is not None and flow != again
        assert (inner.caught[flow][0], outer.caught[again][0]) == (1, 0)
        for error, where in ((OSError, frame), (StopError, other), (KeyError, other), (7, frame)):
            with pytest.raises(LookupError):
                tries.flow_of(error, where, 2)
        with tries.running(Try(frame, 2, catches_nothing)), pytest.raises(LookupError):
            tries.flow_of(ValueError, frame, 3)
    assert tries.flow_of(ValueError, frame, 0) is None
    assert tries.handled is None
    with tries.handling(error := KeyError()):
        assert tries.handled is error


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def stopped(self, x: Tensor) -> Tensor:
        if random.random() < 0.4:
            raise StopError
        return self.a(x)  # type: ignore[no-any-return]


class Several(Layers):
    """Several handlers, by a draw and by the input, with else and finally."""

    def forward(self, x: Tensor) -> Tensor:
        try:
            if random.random() < 0.2:
                raise StopError("a")
            x = self.a(x)
            if x.mean() > 0:
                raise ValueError("b")
            x = self.b(x)
        except StopError:
            x = x * 2
        except (ValueError, KeyError) as error:
            x = x * (3 + len(error.args))
        else:
            x = x * 5
        finally:
            x = x + 1
        return x


class Nested(Layers):
    def forward(self, x: Tensor) -> Tensor:
        try:
            try:
                if random.random() < 0.4:
                    raise KeyError
                if random.random() < 0.2:
                    raise StopError
            except KeyError:
                if random.random() < 0.6:
                    raise
                x = self.a(x)
            else:
                x = x * 7
                if random.random() < 0.4:
                    raise StopError
        except StopError:
            return self.b(x)  # type: ignore[no-any-return]
        except LookupError:
            x = x - 1
        return x * 2


class InLoop(Layers):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:2]:
            try:
                if random.random() < 0.2:
                    raise StopError
                elif random.random() < 0.4:
                    break
                x = layer(x)
            except StopError:
                continue
            x = x + 1
        else:
            x = x * 2
        return x


class AroundLoop(Layers):
    def forward(self, x: Tensor) -> Tensor:
        try:
            for layer in self.layers:
                if random.random() < 0.2:
                    raise StopError
                x = layer(x)
        except StopError:
            x = x * 2
        return x


class InBranch(Layers):
    """No branch lies between what raises and what catches."""

    def forward(self, x: Tensor) -> Tensor:
        if random.random() < 0.4:
            try:
                with torch.no_grad():
                    raise StopError
            except StopError:
                x = self.b(x)
        return x


CASES = (Several, *(pytest.param(case, marks=pytest.mark.slow) for case in (Nested, InLoop, AroundLoop, InBranch)))


@pytest.mark.parametrize("case", CASES)
def test_file_has_the_law_of_the_code(case: type[Layers]) -> None:
    model = case().eval()
    expected = law_of_code(model, (X,))
    assert len(expected) > 1
    assert differences(expected, law_of_file(rr.export(model, (X,)), (X,))) == []


class Uncaught(Layers):
    def forward(self, x: Tensor) -> Tensor:
        try:
            if random.random() < 0.4:
                raise StopError
        except KeyError:
            x = self.a(x)
        return x


class OutOfAFunction(Layers):
    def forward(self, x: Tensor) -> Tensor:
        try:
            x = self.stopped(x)
        except StopError:
            x = self.b(x)
        return x


class OutOfAWith(Layers):
    def forward(self, x: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                if random.random() < 0.4:
                    raise StopError
        except StopError:
            x = self.b(x)
        return x


@pytest.mark.parametrize("case", [Uncaught, OutOfAFunction, OutOfAWith])
def test_what_another_function_or_nothing_catches_is_refused(case: type[Layers]) -> None:
    with pytest.raises(CaptureError, match=r"test_tries.py:\d+: .* one that raises StopError.*in the same function"):
        rr.export(case().eval(), (X,))
