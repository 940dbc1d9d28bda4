"""Which tensors are the same in every run, and their numbers."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from numpy.typing import NDArray

from rr_export.capture.python.ancestry import Ancestry
from rr_export.capture.python.notes import LAW, Notes
from rr_export.capture.python.plain_access import look
from rr_export.capture.python.varied import SIZE_ONLY, Varied, tensors_in
from rr_export.capture.python.whereabouts import Whereabouts

# functions of torch that answer with a bool of Python
_ANSWERS = (torch.equal, torch.allclose, torch.is_nonzero, torch.Tensor.equal, torch.Tensor.allclose)


class KnownNumbers:
    """The numbers that are the same in every run.

    The first run finds out which they are, by following what is made of the input; the second one reads its notes, and
    checks them against the graph that it makes: the questions that the first run answered wrongly are its
    ``mistaken`` ones. A run over all ways that knows of them follows.

    Args:
        notes: of the first run.
        varied: what depends on the input, as the first run sees it.
        ancestry: what the graph of the second run says.
        whereabouts: where the code is.
    """

    def __init__(self, notes: Notes, varied: Varied, ancestry: Ancestry, whereabouts: Whereabouts) -> None:
        self._notes, self._varied, self._ancestry, self._whereabouts = notes, varied, ancestry, whereabouts

    @property
    def replaying(self) -> bool:
        """Whether this is the second run, in which tensors have no numbers."""
        return self._notes.replaying

    def is_constant(self, tensor: torch.Tensor) -> bool:
        """Returns whether a tensor is the same in every run."""
        found: bool = self._notes.ask(str(self._whereabouts.line()), lambda: tensor not in self._varied)
        return found

    def is_mistaken(self, purpose: str) -> bool:
        """Returns whether this line wants the numbers of a tensor of which the graph showed that they vary.

        Args:
            purpose: what they are wanted for.
        """
        return (str(self._whereabouts.line()), purpose) in self._notes.varying

    def constant(self, tensor: torch.Tensor, purpose: str = "operand") -> NDArray[Any] | None:
        """Returns the numbers of a tensor that is the same in every run, None where it is not.

        Args:
            tensor: the tensor.
            purpose: what its numbers are wanted for.
        """
        question = str(self._whereabouts.line()), purpose

        def find() -> NDArray[Any] | None:
            if tensor in self._varied or question in self._notes.varying:
                return None
            self._notes.answered.add(question)
            return tensor.detach().cpu().numpy().copy()

        found: NDArray[Any] | None = self._notes.ask(question[0], find)
        if self.replaying and found is not None and self._ancestry.of(tensor) is not None:
            self._notes.mistaken.add(question)
        return found

    def of_law(self, tensor: torch.Tensor) -> NDArray[Any]:
        """Returns the numbers of a tensor that says how to draw.

        Raises:
            CaptureError: it depends on the input.
        """
        found = self.constant(tensor, LAW)
        if found is None:
            self._whereabouts.refuse(
                "a probability that is the same in every run",
                "one that depends on the input, or on the size of a dynamic axis",
                "compute it from parameters only, or decide by the input alone (a condition without a draw)",
            )
        return found

    def told(self, function: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """After a function of torch: what is made of something that varies, varies."""
        if not self.replaying:
            self._varied.told(function, args, kwargs, result)
            if function in _ANSWERS and self._varies((args, kwargs)):
                self.refuse_number(f"torch.{function.__name__}()", "write a comparison and .all()")
        return result

    def called(self, function: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """After any other function: also what it makes of the input without torch telling of it varies."""
        if look(function, "__name__", "") in SIZE_ONLY:  # a method, whose tensor is not among its arguments, or not
            args = args if isinstance(look(function, "__self__"), torch.Tensor) else args[1:]
        if not self.replaying and self._varies((args, kwargs)):
            self._varied.add(result)
        return result

    def _varies(self, values: Any) -> bool:
        return any(t in self._varied for t in tensors_in(values))

    def refuse_number(self, what: str, do: str) -> NoReturn:
        """Raises: code reads a number out of the input in a way that cannot become a condition."""
        self._whereabouts.refuse(
            "a number that is the same in every run", f"{what} of a tensor that depends on the input", do
        )
