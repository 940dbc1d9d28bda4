from __future__ import annotations

import pytest
import torch

from rr_export.capture.python.ancestry import Ancestry
from rr_export.capture.python.known_numbers import KnownNumbers
from rr_export.capture.python.notes import CONDITION, NUMBER, Notes
from rr_export.capture.python.varied import Varied
from rr_export.errors import CaptureError
from tests.capture.python.setting import Setting


class Knowing(Ancestry):
    """A graph of which it is known what it was computed from."""

    def __init__(self, *known: torch.Tensor) -> None:
        self.known = known

    def of(self, tensor: torch.Tensor) -> str | None:
        return "the input" if any(tensor is one for one in self.known) else None


def numbers_of(notes: Notes, *inputs: torch.Tensor, graph: Ancestry | None = None) -> KnownNumbers:
    return KnownNumbers(notes, Varied(inputs), graph or Knowing(), Setting().whereabouts)


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
    numbers.called(x.new_ones, ((2,),), {}, like)
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


def test_second_run_finds_what_the_first_took_for_the_same_in_every_run() -> None:
    number, fixed, notes = torch.ones(()), torch.ones(()), Notes()
    first = numbers_of(notes)
    assert [first.constant(t, CONDITION) for t in (number, fixed)] == [1, 1]
    again = notes.again()
    second = numbers_of(again, graph=Knowing(number))
    assert [second.constant(t, CONDITION) for t in (number, fixed)] == [1, 1]
    assert notes.mistaken == again.mistaken == {("model.py:1", CONDITION)}
    informed = numbers_of(Notes(notes.mistaken))
    assert informed.constant(number, CONDITION) is None
    assert informed.constant(number, NUMBER) == 1
    assert (notes.decides(CONDITION), notes.decides(NUMBER)) == (True, False)


def test_bug_what_a_tensor_is_filled_with_counts() -> None:
    x = torch.ones(2)
    numbers = numbers_of(Notes(), x)
    full, other, method, sparse = torch.ones(3), torch.ones(3), torch.ones(3), x.to_sparse()
    numbers.told(torch.full_like, (torch.ones(3), x[0]), {}, full)
    numbers.told(torch.full_like, (), {"input": x, "fill_value": 2}, other)
    numbers.called(x.new_full, ((3,), x[0]), {}, method)
    numbers.told(torch.Tensor.to_sparse, (x,), {}, sparse)
    assert [numbers.is_constant(t) for t in (full, other, method, sparse)] == [False, True, False, False]
    assert numbers.is_constant(torch.ones(2).to_sparse())


def test_law_of_the_input_is_refused() -> None:
    x = torch.ones(1)
    numbers = numbers_of(Notes(), x)
    assert numbers.of_law(torch.tensor([0.5])).tolist() == [0.5]
    with pytest.raises(CaptureError, match=r"model.py:1: expected a probability that is the same .* on the input, or"):
        numbers.of_law(x)


def test_answer_of_torch_about_the_input_is_refused() -> None:
    x, fixed = torch.ones(1), torch.ones(1)
    numbers = numbers_of(Notes(), x)
    assert numbers.told(torch.equal, (fixed, fixed), {}, True) is True
    with pytest.raises(CaptureError, match=r"got torch\.equal\(\) of a tensor that depends on the input; write a comp"):
        numbers.told(torch.equal, (fixed, x), {}, True)
