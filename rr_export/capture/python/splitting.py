"""How code is run once for every way that decisions may go, and goes on as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.aliases import Aliases
from rr_export.capture.python.decisions import Deciding, Decision, Line
from rr_export.capture.python.joining import Joiner, Parting
from rr_export.capture.python.ledger import Ledger
from rr_export.capture.python.markers import Markers
from rr_export.capture.python.memory import Memory, Moment
from rr_export.capture.python.shapes import by_shape
from rr_export.capture.python.values import at_hand, plain
from rr_export.capture.python.varied import Varied
from rr_export.capture.python.whereabouts import Whereabouts
from rr_export.capture.recorder import DenseRecorder
from rr_export.capture.refusals import described, reads_the_input
from rr_export.errors import CaptureError


class Splitter:
    """Runs code once for every way, and joins what it left behind.

    Args:
        recorder: keeps the calls, and makes the markers that join.
        ledger: the decisions.
        markers: of conditions.
        memory: what the code can change.
        aliases: which containers may be one.
        varied: learns what differs from run to run.
        whereabouts: where the code is.

    Attributes:
        deciding: what the calls that were opened here choose by, by the number of the call.
    """

    def __init__(
        self,
        recorder: DenseRecorder,
        ledger: Ledger,
        markers: Markers,
        memory: Memory,
        aliases: Aliases,
        varied: Varied,
        whereabouts: Whereabouts,
    ) -> None:
        self._recorder, self._ledger, self._markers = recorder, ledger, markers
        self._memory, self._aliases, self._varied, self._whereabouts = memory, aliases, varied, whereabouts
        self.deciding: dict[int, Deciding] = {}

    def split(
        self,
        which: dd.Diagram,
        count: int,
        arm: Callable[[int], Any],
        names: tuple[str, ...] = (),
        own: Sequence[torch.Tensor] = (),
    ) -> Any:
        """Returns the joined results of ``arm(k)``, each run in its branch, for every k that ``which`` may have.

        Args:
            which: from decisions to k.
            count: every k is below it.
            arm: what to run.
            names: what to call the branches, by k.
            own: tensors that there are in one branch alone, each.
        """
        which = self._ledger.here(which)
        feasible = dd.leaves(which)
        if len(feasible) == 1:
            return arm(feasible[0])
        computed = self._ledger.has_gates(which) or not self._ledger.is_by_one(which)
        if len(feasible) > 2 and computed:
            half = feasible[: len(feasible) // 2]
            low = dd.apply(lambda k: 0 if k in half else 1, which)
            return self.split(low, 2, lambda side: self.split(which, count, arm, names, own))
        self.settle()
        self._ledger.use(which)
        line = self._whereabouts.line()
        call = self._recorder.open_call(-1)
        position = {k: i for i, k in enumerate(feasible)}
        placed = dd.apply(lambda k: position[k], which)
        decided = self._markers.condition(dd.apply(lambda i: i == 1, placed)) if computed else None
        shown = tuple(names[k] if names else str(k) for k in feasible)
        self.deciding[call] = Deciding(placed, line, shown, computed)
        before = self._memory.now()
        results, after, gates = self._run_arms(call, arm, own, feasible, placed, before)
        self._memory.agree_on_written(after)
        self._recorder.note_fixed_axes(str(line))
        parting = Parting(call, decided, placed, line, before, after, gates)
        joined = Joiner(self._recorder, self._memory, self._aliases, self._varied, parting, self.one_of).join(results)
        self._aliases.look()
        return joined

    def settle(self) -> None:
        """What was changed is changed under all of its names."""
        self._aliases.settle(self.split)

    def one_of(self, chosen: dd.Diagram) -> Any:
        """Returns one of several tensors as one value: those of one shape are joined, so that only shapes vary.

        Args:
            chosen: from decisions to the tensor.
        """
        chosen = self._ledger.here(chosen)
        shapes, tensors = by_shape(chosen), dd.leaves(chosen)
        count = len(dd.leaves(shapes))
        if count == len(tensors):
            return plain(chosen)
        which = dd.apply(lambda tensor: next(k for k, one in enumerate(tensors) if one is tensor), chosen)
        return self.split(shapes, count, lambda _: self.split(which, len(tensors), lambda k: at_hand(tensors[k])))

    def _run_arms(
        self,
        call: int,
        arm: Callable[[int], Any],
        own: Sequence[torch.Tensor],
        feasible: Sequence[int],
        placed: dd.Diagram,
        before: Moment,
    ) -> tuple[list[Any], list[Moment], list[tuple[Decision, int]]]:
        """The result of every branch, what it left behind, and the conditions on the input that were made in it."""
        deciding, results, gates = self.deciding[call], [], []
        after: list[Moment] = []
        with self._memory.parting(before, after):
            for i, k in enumerate(feasible):
                known = len(self._ledger.decisions)
                with self._recorder.inside(call, i):
                    with self._ledger.branch(dd.apply(lambda v, i=i: v == i, placed)):
                        results.append(_computed(arm, k, deciding.line, deciding.names[i]))
                        self.settle()
                    after.append(self._memory.now())
                gates += [(d, i) for d in self._ledger.decisions[known:] if d.kind == "gate"]
                self._memory.check_untracked(before, deciding.line, own)
                self._memory.go_back(before)
                self._aliases.look()
        return results, after, gates


def _computed(arm: Callable[[int], Any], k: int, line: Line, name: str) -> Any:
    try:
        return arm(k)
    except CaptureError:
        raise
    except Exception as error:
        if reads_the_input(error):
            raise  # said in our words further out
        raise CaptureError(
            f"{line}: expected every branch to compute, got {described(error)} where "
            f"branch {name!r} is taken; a branch cannot raise in a graph: remove it"
        ) from error
