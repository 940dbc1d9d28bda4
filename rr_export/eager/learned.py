"""Policies whose probabilities are learned: their logits are parameters of the sites that they are given to."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from rr_export.errors import RunError
from rr_export.laws.policies import Categorical, Markov, Policy, Uniform, checked_count, drawable_rows
from rr_runtime.one_line import cut_to_line, list_few

Row = tuple[float, ...]
# what the logits of a chain were when its policies were last made, by its first step
_made: weakref.WeakKeyDictionary[Learned, tuple[Row, tuple[Policy, ...]]] = weakref.WeakKeyDictionary()


class Learned(nn.Module):
    """The route is k with probability softmax(logits)[k]; the logits are a parameter of the site.

    They are in ``model.parameters()`` and in the state dict (``SITE.law.logits``), and move with the model. Whenever
    a run opens, a plan is read or a file is made, the law is that of the logits as they are then: the softmax in
    float64, where what no draw could take (below 2^-24) is 0 and the rest is divided by its sum. An exported file holds
    the probabilities of its making, and an ordinary categorical policy.

    Runs draw a route and compute one branch, so a loss has no gradient in the logits by itself: see
    :mod:`rr_export.training`. One object at several sites is one set of logits for all of them.

    Args:
        k: K, the number of branches.
        init: float [K], the probabilities to begin with, all above 0; None: all alike.

    Attributes:
        logits: float [1, K]; for a later step of a :class:`LearnedMarkov` float [J, K], a row per branch of the step
            before.

    Raises:
        ValueError: ``k`` is no positive integer, or ``init`` is no law over K branches without zeros.
    """

    logits: nn.Parameter

    def __init__(self, k: int, init: ArrayLike | None = None) -> None:
        super().__init__()
        alike = Uniform(checked_count("Learned", k))
        start = alike if init is None else Categorical(init)
        self._begin(_checked_table("Learned", start.table, (1, alike.branches)), [self], 0)

    def _begin(self, table: NDArray[np.float64], chain: list[Learned], index: int) -> None:
        self.logits = nn.Parameter(torch.tensor(np.log(table), dtype=torch.get_default_dtype()))
        self.chain, self.index = chain, index  # all steps, of which this is one; a plain list registers nothing

    @property
    def branches(self) -> int:
        """K, the number of branches."""
        return int(self.logits.shape[1])

    def extra_repr(self) -> str:
        """Returns what torch shows between the brackets."""
        step = f", step {self.index} of {len(self.chain)}" if len(self.chain) > 1 else ""
        return f"{self.branches}{step}"

    def __repr__(self) -> str:
        return f"Learned({self.extra_repr()})"


class LearnedMarkov:
    """A Markov chain over routes, as :class:`Markov`, whose probabilities are learned.

    Site t gets ``chain.step(t)``, and has the logits of its step: float [1, K_0] for the first, float [K_{t-1}, K_t]
    for a later one.

    Args:
        branches: K_t for every step t.
        init: the chain to begin with, all of its probabilities above 0; None: all alike.

    Raises:
        ValueError: there is no step, or ``init`` has other branches or zeros.
    """

    def __init__(self, branches: Sequence[int], init: Markov | None = None) -> None:
        widths = [checked_count("LearnedMarkov", k) for k in branches]
        if not widths:
            raise ValueError("LearnedMarkov: expected the branches of one step or more, got none; give K of every step")
        self._steps: list[Learned] = []
        for t, (rows, k) in enumerate(pairwise([1, *widths])):
            start = Uniform(k).table.repeat(rows, axis=0) if init is None else init.step(t).table
            step = Learned(k)
            step._begin(_checked_table(f"LearnedMarkov: step {t}", start, (rows, k)), self._steps, t)
            self._steps.append(step)

    def step(self, t: int) -> Learned:
        """Returns the policy of the chain's t-th site.

        Raises:
            ValueError: the chain has no such step.
        """
        if isinstance(t, bool) or not isinstance(t, int | np.integer) or not 0 <= t < len(self._steps):
            raise ValueError(
                f"LearnedMarkov: expected a step of 0..{len(self._steps) - 1}, got {t!r}; give the branches of more "
                "steps"
            )
        return self._steps[int(t)]

    def __repr__(self) -> str:
        return cut_to_line(f"LearnedMarkov([{list_few(step.branches for step in self._steps)}])")


def policies_now(laws: Sequence[Policy | Learned]) -> list[Policy]:
    """Returns the policies with the probabilities of now, the same objects as long as no number changes.

    All logits are read at once, so that those on a device are waited for once. While a tracer watches, numbers cannot
    be read and no route is drawn: then they are those that were last read.

    Raises:
        RunError: logits are not finite.
    """
    chains = {id(law.chain): law.chain for law in laws if isinstance(law, Learned)}
    if not chains:
        return [law for law in laws if isinstance(law, Policy)]
    found: dict[int, Policy] = {}
    rows = _rows([step.logits for chain in chains.values() for step in chain])
    for chain in chains.values():
        numbers: Row | None = None
        if rows is not None:
            numbers = tuple(number for _ in chain for number in next(rows))
        found.update(zip(map(id, chain), _policies(chain, numbers), strict=True))
    return [law if isinstance(law, Policy) else found[id(law)] for law in laws]


def _policies(chain: Sequence[Learned], numbers: Row | None) -> tuple[Policy, ...]:
    """The policies of a chain's steps for these logits (None: for those that were last read)."""
    known = _made.get(chain[0])
    if known is not None and numbers in (None, known[0]):
        return known[1]
    if numbers is None:
        tables = [np.full(tuple(step.logits.shape), 1 / step.branches) for step in chain]
    else:
        tables = [*_tables(chain, numbers)]
    if len(chain) == 1:
        made: tuple[Policy, ...] = (Categorical(tables[0][0]),)
    else:
        markov = Markov(tables[0][0], tables[1:])
        made = tuple(markov.step(t) for t in range(len(chain)))
    if numbers is not None:
        _made[chain[0]] = numbers, made
    return made


def _tables(chain: Sequence[Learned], numbers: Row) -> Iterator[NDArray[np.float64]]:
    """The probabilities of every step, float64 [J, K]: softmax(logits), without what no draw takes."""
    start = 0
    for step in chain:
        count = step.logits.numel()
        logits = np.array(numbers[start : start + count]).reshape(tuple(step.logits.shape))
        start += count
        if not np.isfinite(logits).all():
            raise RunError(
                f"{step!r}: expected finite logits, got {logits.tolist()}; load an earlier checkpoint, and lower the "
                "learning rate"
            )
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        yield drawable_rows(powers / powers.sum(axis=1, keepdims=True))


def _rows(tensors: Sequence[Tensor]) -> Iterator[Row] | None:
    """The numbers of every tensor; None where a tracer hides them."""
    if torch._C._get_tracing_state() is not None or any(isinstance(t, FakeTensor) for t in tensors):
        return None
    if len({(t.device, t.dtype) for t in tensors}) > 1:
        return iter([tuple(t.detach().flatten().tolist()) for t in tensors])
    flat = iter(torch.cat([t.detach().flatten() for t in tensors]).tolist())
    return iter([tuple(islice(flat, t.numel())) for t in tensors])


def named_weights_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yields the parameters and buffers that a model computes with, by name: all but the logits of its policies."""
    logits = {id(m.logits) for m in model.modules() if isinstance(m, Learned)}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if id(tensor) not in logits:
            yield name, tensor


def _checked_table(where: str, table: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """The table to begin with.

    Raises:
        ValueError: it is over other branches, or has a 0, whose logit would be infinite.
    """
    if table.shape != shape:
        raise ValueError(f"{where}: expected probabilities of shape {shape}, got {table.shape}; make the counts agree")
    if not table.all():
        raise ValueError(
            f"{where}: expected probabilities above 0 to begin with, got {table.tolist()}; no gradient leads away from "
            "0, so give a small one"
        )
    return table
