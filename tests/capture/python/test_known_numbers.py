from __future__ import annotations

import pytest
import torch

from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.notes import Notes
from rr_export.capture.python.varied import Varied
from rr_export.errors import CaptureError
from tests.capture.python.setting import Setting


def numbers_of(notes: Notes, *inputs: torch.Tensor) -> KnownNumbers:
    return KnownNumbers(notes, Varied(inputs), Setting().whereabouts)


def test_numbers_are_those_of_the_moment() -> None:
    tensor = torch.ones(2, requires_grad=True)
    found = numbers_of(Notes()).constant(tensor)
    with torch.no_grad():
        tensor.add_(1)
    assert found is not None
    assert found.tolist() == [1, 1]


def test_what_is_made_of_the_input_is_not_known_and_of_its_size_is() -> None:
    x = torch.ones(2)
    numbers = numbers_of(Notes(), x)
    twice, like, other = x * 2, torch.zeros_like(x), torch.ones(2) * 2
    assert numbers.told(torch.mul, (x, 2), {}, twice) is twice
    numbers.told(torch.zeros_like, (x,), {}, like)
    numbers.told(torch.mul, (torch.ones(2), 2), {}, other)
    assert [numbers.is_constant(t) for t in (x, twice, like, other)] == [False, False, True, True]
    assert numbers.constant(twice) is None


def test_what_another_function_makes_of_the_input_is_not_known() -> None:
    x, fresh, like = torch.ones(2), torch.ones(2), torch.ones(2)
    numbers = numbers_of(Notes(), x)
    numbers.called(abs, ([x],), {}, fresh)
    numbers.called(x.new_ones, (x,), {}, like)
    assert [numbers.is_constant(t) for t in (fresh, like)] == [False, True]


def test_second_run_knows_what_the_first_found() -> None:
    x, notes = torch.ones(1), Notes()
    first = numbers_of(notes, x)
    assert (first.is_constant(x), first.constant(torch.full((1,), 3.0)), first.replaying) == (False, [3.0], False)
    second = numbers_of(notes.again())
    anything = torch.empty(1, device="meta")
    assert (second.is_constant(anything), second.constant(anything), second.replaying) == (False, [3.0], True)
    with pytest.raises(CaptureError, match=r"^model.py:1: expected the same code to run again, got other calls"):
        second.constant(anything)


def test_law_of_the_input_is_refused() -> None:
    x = torch.ones(1)
    numbers = numbers_of(Notes(), x)
    assert numbers.of_law(torch.tensor([0.5])).tolist() == [0.5]
    with pytest.raises(CaptureError, match=r"model.py:1: expected a probability that is the same .* on the input;"):
        numbers.of_law(x)


def test_answer_of_torch_about_the_input_is_refused() -> None:
    x, fixed = torch.ones(1), torch.ones(1)
    numbers = numbers_of(Notes(), x)
    assert numbers.told(torch.equal, (fixed, fixed), {}, True) is True
    with pytest.raises(CaptureError, match=r"got torch\.equal\(\) of a tensor that depends on the input; write a comp"):
        numbers.told(torch.equal, (fixed, x), {}, True)
