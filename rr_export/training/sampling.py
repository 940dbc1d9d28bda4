"""Runs whose losses have a gradient in learned probabilities, though every run draws routes and computes one path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rr_export.eager.blocks import watched
from rr_export.eager.choice import Choice
from rr_export.eager.code_sites import all_sites
from rr_export.eager.directives import Record, SeenRun
from rr_export.eager.gate import Gate
from rr_export.eager.kept_streams import streams_kept
from rr_export.eager.learned import Learned
from rr_export.eager.trial import copied_arguments, state_kept
from rr_export.errors import RunError
from rr_export.training.relaxation import joined_outputs, relaxed_choice


@dataclass(frozen=True)
class ScoreFunction:
    """The gradient from the probability of the path that was drawn; only what is taken is computed.

    ``d E[L] = E[dL + (L - b) d log P(path)]`` (Williams: Simple statistical gradient-following algorithms for
    connectionist reinforcement learning, 1992). It has no bias, whatever the loss; its variance is large, and a
    baseline b makes it smaller: here the moving average of earlier losses, of all blocks on the same model. The first
    loss of all only begins it; one that is no finite number leaves it as it is, and has no such gradient.

    Sites that are not reached, and no later step of whose chain is, do not count: the loss does not depend on them.

    Attributes:
        decay: of the moving average, in [0, 1): ``b = decay * b + (1 - decay) * L``; None: no baseline, b = 0.
    """

    decay: float | None = 0.9

    def __post_init__(self) -> None:
        if self.decay is not None and not (isinstance(self.decay, int | float) and 0 <= self.decay < 1):
            raise ValueError(f"ScoreFunction: expected a decay in [0, 1) or None, got {self.decay!r}; give such a one")


@dataclass(frozen=True)
class StraightThrough:
    """The gradient of a softmax in place of the choice; every branch of a learned site is computed.

    The value of a run is that of the taken branch, bit for bit. In the gradient the choice is the Gumbel-softmax given
    the route (see :func:`relaxed_choice`). There is a bias where the loss bends in the outputs of a site, as it is
    judged by its slope at the taken output, and one of the temperature. Branches that are not taken are computed
    without a gradient, on copies of the arguments, and leave nothing behind: neither buffers nor random numbers.

    Attributes:
        temperature: above 0; a lower one has less bias and more variance.
        relaxations: over how many noises the softmax is averaged; more of them cost no run, and lower the variance.
    """

    temperature: float = 1.0
    relaxations: int = 1

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"StraightThrough: expected a temperature above 0, got {self.temperature!r}; give one")
        if self.relaxations < 1:
            raise ValueError(f"StraightThrough: expected one relaxation or more, got {self.relaxations!r}; give one")


@dataclass
class Sampling:
    """The runs in a ``sampled`` block.

    Attributes:
        record: of the runs.
    """

    record: Record = field(default_factory=Record)
    _runs: int = 0  # since the last loss
    _scores: list[Tensor] = field(default_factory=list)

    def surrogate(self, loss: Tensor) -> Tensor:
        """Returns a tensor of the value of ``loss``, whose gradient is an estimate of that of its expectation.

        Args:
            loss: float [], of the runs in the block since the last call of this function.

        Raises:
            RunError: there was no run with gradients since.
            TypeError: the loss is no tensor.
            ValueError: it is no scalar.
        """
        if not isinstance(loss, Tensor):
            raise TypeError(
                f"surrogate: expected a loss that is a tensor, got {type(loss).__name__}; pass one of the runs"
            )
        if loss.numel() != 1:
            raise ValueError(f"surrogate: expected a loss of one number, got shape {tuple(loss.shape)}; take its mean")
        if self._runs == 0:
            raise RunError(
                "surrogate: expected a run of the model since the last loss, got none; compute the loss from runs in "
                "the block, with gradients"
            )
        scores, self._scores, self._runs = self._scores, [], 0
        return self._with_scores(loss, scores)

    def _with_scores(self, loss: Tensor, scores: list[Tensor]) -> Tensor:
        return loss

    def finished(self, run: SeenRun) -> None:
        """Takes note of a finished run."""
        if torch.is_grad_enabled():
            self._runs += 1

    def __repr__(self) -> str:
        return f"Sampling({type(self).__name__.strip('_')}, {len(self.record.paths)} runs)"


@dataclass(repr=False)
class _Scored(Sampling):
    """Runs whose paths count by the logarithm of their probability."""

    decay: float | None = None
    baselines: dict[float, Tensor] = field(default_factory=dict)  # by decay: of the model, longer than a block

    def compute(self, run: SeenRun, index: int, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return site.branch(int(run.routes[index]), *args, **kwargs)

    def finished(self, run: SeenRun) -> None:
        super().finished(run)
        if torch.is_grad_enabled():
            steps = _Steps(run)
            for index in sorted(steps.counted()):
                if run.asked[index] < 0:
                    self._scores.append(steps.log_p(index)[int(run.routes[index])])

    def _with_scores(self, loss: Tensor, scores: list[Tensor]) -> Tensor:
        value = loss.detach()
        if not bool(torch.isfinite(value)):
            return loss
        before: Tensor | None = torch.zeros_like(value)
        if self.decay is not None:
            before = self.baselines.get(self.decay)
            self.baselines[self.decay] = value if before is None else self.decay * before + (1 - self.decay) * value
        if before is None or not scores:
            return loss
        before = before.to(value)
        score = torch.stack([s.to(loss.device) for s in scores]).sum()
        return loss + (value - before) * (score - score.detach())


@dataclass(repr=False)
class _Relaxed(Sampling):
    """Runs whose sites compute all branches."""

    kind: StraightThrough = StraightThrough()
    random: torch.Generator = field(default_factory=torch.Generator)

    def compute(self, run: SeenRun, index: int, site: Choice, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        route = int(run.routes[index])
        if not _is_learned(site.law) or run.asked[index] >= 0:
            return site.branch(route, *args, **kwargs)
        outputs: dict[int, Any] = {}
        reached = set(run.reached)
        for k in range(len(site.branch_names)):
            if k != route:
                with torch.no_grad(), streams_kept(), state_kept(site):
                    given, named = copied_arguments(args, kwargs)
                    outputs[k] = site.branch(k, *given, **named)
        run.reached.intersection_update(reached)
        outputs[route] = site.branch(route, *args, **kwargs)
        where = f"{type(site).__name__} ({', '.join(site.branch_names)})"
        ordered = [outputs[k] for k in range(len(outputs))]
        return joined_outputs(where, self._weights(run, index), route, ordered)

    def _weights(self, run: SeenRun, index: int) -> Tensor:
        """Float [K]: one-hot at the route of a learned site; the same tensor for all calls in a run."""
        if index not in run.notes:
            steps, route = _Steps(run), int(run.routes[index])
            table = steps.table(index)
            before = steps.before(index)
            if before is None:
                log_p = table[0]
            elif run.asked[before] >= 0:
                log_p = table[int(run.routes[before])]
            else:
                log_p = self._weights(run, before) @ table
            draws = torch.empty(self.kind.relaxations, len(log_p)).exponential_(generator=self.random)
            run.notes[index] = relaxed_choice(
                log_p, route, temperature=self.kind.temperature, exponentials=draws.to(log_p)
            )
        found: Tensor = run.notes[index]
        return found


def _is_learned(law: object) -> bool:
    """Whether a loss has a gradient in the probabilities: those of logits, or of a gate whose route is drawn."""
    return isinstance(law, Learned) or (isinstance(law, Gate) and law.decision == "sample")


class _Steps:
    """The learned sites of a run, as steps of their chains, and its gates."""

    def __init__(self, run: SeenRun) -> None:
        self._run = run
        self._learned = {i: s.law for i, s in enumerate(run.sites) if isinstance(s.law, Learned)}
        self._gates = {i for i in run.logits if _is_learned(run.sites[i].law)}
        self._places = {(id(law.chain), law.index): i for i, law in self._learned.items() if len(law.chain) > 1}

    def before(self, index: int) -> int | None:
        """Returns the position of the step before, None for a first one."""
        if index in self._gates:
            return None
        law = self._learned[index]
        return self._places[id(law.chain), law.index - 1] if law.index > 0 else None

    def table(self, index: int) -> Tensor:
        """Returns the logarithms of a site's probabilities, float [J, K]."""
        logits = self._run.logits[index][None] if index in self._gates else self._learned[index].logits
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))  # no fewer digits than float32 has
        return torch.log_softmax(wide, dim=-1)

    def log_p(self, index: int) -> Tensor:
        """Returns the logarithms of a site's probabilities in this run, float [K]."""
        before = self.before(index)
        return self.table(index)[0 if before is None else int(self._run.routes[before])]

    def counted(self) -> set[int]:
        """Returns the learned sites that a loss can depend on: those reached, and the steps before them; and gates."""
        found = self._gates & self._run.reached
        for index in self._learned.keys() & self._run.reached:
            step: int | None = index
            while step is not None and step not in found:
                found.add(step)
                step = self.before(step)
        return found


_BASELINES: WeakKeyDictionary[nn.Module, dict[float, Tensor]] = WeakKeyDictionary()  # of every model, while it lives


@contextmanager
def sampled(
    model: nn.Module,
    estimator: ScoreFunction | StraightThrough = ScoreFunction(),
) -> Iterator[Sampling]:
    """Inside the block losses of runs have a gradient in the logits of learned policies, and of gates.

    The runs are those of the model: routes come by the same law from the same draws, and the outputs are the same. The
    block may be around one step or the whole training: a baseline goes on in the next block on the same model.

    Args:
        model: the root of the runs.
        estimator: how the gradient is estimated: :class:`ScoreFunction` or :class:`StraightThrough`.

    Yields:
        A :class:`Sampling`; ``sampling.surrogate(loss).backward()`` takes the place of ``loss.backward()``.

    Raises:
        TypeError: the estimator is none.
        ValueError: no site of the model has a learned policy, or a gate that draws.
    """
    if isinstance(estimator, ScoreFunction):
        sampling: _Scored | _Relaxed = _Scored(decay=estimator.decay, baselines=_BASELINES.setdefault(model, {}))
    elif isinstance(estimator, StraightThrough):
        random = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        sampling = _Relaxed(kind=estimator, random=random)
    else:
        raise TypeError(f"sampled: expected ScoreFunction() or StraightThrough(), got {estimator!r}; pass one of them")
    if not any(_is_learned(site.law) for site in all_sites(model).values()):
        raise ValueError(
            "sampled: expected a model with a learned policy or a gate that draws, got none; give a site rr.Learned(k)"
        )
    with watched(model, sampling) as record:
        sampling.record = record
        yield sampling
