"""Which modules draw because they are in training mode: found by running the model, whatever its code looks like.

The model runs with the flag of every module set, and with some of them set, while all random functions are watched.
They give numbers that depend only on where they are called, so that two runs differ by what the flags do, and by
nothing else. The modules whose flags it takes to see every draw, and every draw have an effect, are those whose
training routes are kept.
"""

from __future__ import annotations

import contextlib
import random
import re
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from rr_export.capture.python import heap
from rr_export.capture.python.decisions import Line, is_between
from rr_export.capture.python.detect import modules_of
from rr_export.capture.python.frames import Stack
from rr_export.capture.python.intercepting import COND, LOOP, called_in_place, intercepted, reseeds
from rr_export.capture.python.notes import Notes
from rr_export.capture.python.random_functions import GeneratorGivenError, Law, handed_over, reading
from rr_export.capture.python.training_mode_routes import routed_in_training
from rr_export.capture.python.whereabouts import Whereabouts
from rr_export.capture.recorder import DenseRecorder
from rr_export.capture.request import Request
from rr_export.eager.choice import Choice
from rr_export.eager.kept_streams import streams_kept
from rr_export.eager.tracers import recording_with
from rr_export.errors import CaptureError, RunError

Draw = tuple[Line, str, str]  # where, by which function, from what
Place = tuple[str, int, int]  # of draws: file, line, and the group of the module whose code it is
Script = Callable[[str, Line], float]  # the position in [0, 1) of a number among those that could be drawn
Group = tuple[str, ...]  # paths of modules of one class at places that differ in their numbers only

LEAST, LARGEST = 0.0, 1 - 2**-24
# What the random functions give in a trial: the least numbers, the largest ones, and some that are told by a seed.
SCRIPTS: tuple[Callable[[str], float], ...] = (
    lambda key: LEAST,
    lambda key: LARGEST,
    *((lambda key, seed=seed: random.Random(f"{seed} {key}").random()) for seed in range(4)),
)


class TrainingTrials:
    """Runs of the model with some modules in training mode.

    Args:
        request: the model and its arguments.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._groups = _groups(request.model)
        self._number = {name: i for i, names in enumerate(self._groups) for name in names}
        self._needed: list[Group] = []
        self._effects: list[tuple[Place, int]] = []  # that training mode gives to draws, with a script that shows it
        self._seen: dict[tuple[int, frozenset[Group]], Counter[Draw]] = {}

    def routers(self) -> tuple[str, ...]:
        """Returns the paths of the modules that must be in training mode for the model to draw all that it draws there.

        Raises:
            CaptureError: the model fails in training mode.
        """
        for script in range(len(SCRIPTS)):
            self._draws(script, self._groups)  # an exception is told of where all is as in training
        self._check_flags_are_all()
        for place in self._always_drawn():
            shows = (s for s in range(len(SCRIPTS)) if self._has_effect(place, s, self._groups))
            script = next(shows, -1)
            if script >= 0 and not self._has_effect(place, script, []):
                self._effects.append((place, script))
        self._needed = self._least([], self._groups)
        return _in_order(self._request.model, self._needed)

    def with_effect(self, names: Collection[str]) -> tuple[str, ...]:
        """Returns those of the modules whose training mode changes what some module returns, whatever is drawn."""
        groups = [group for group in self._groups if not set(group).isdisjoint(names)]
        scripts = range(len(SCRIPTS))
        before = [self._run(_scripted(s), []).results for s in scripts]
        changing = [g for g in groups if any(self._run(_scripted(s), [g]).results != before[s] for s in scripts)]
        return tuple(name for name in _in_order(self._request.model, changing) if name in set(names))

    def leave_out(self, file: str, line: int, module: str) -> tuple[str, ...]:
        """Returns the paths of the routers without which nothing is drawn at a line, and counts them as none.

        Args:
            file: of the line.
            line: its number.
            module: path of the module whose code it is.
        """
        left = [group for group in self._needed if module in group]
        left = left or [group for group in self._needed if self._has_draw_of(group, file, line)]
        self._needed = [group for group in self._needed if group not in left]
        return _in_order(self._request.model, left)

    def _check_flags_are_all(self) -> None:
        """Raises where a ``train`` of the author's own switches on draws that no flag of a module does."""
        if all(type(m).train is nn.Module.train for m in self._request.model.modules()):
            return
        for script in range(len(SCRIPTS)):
            trained = _run(self._request, _scripted(script), [n for g in self._groups for n in g], trained=True)
            for line, function, _ in trained.draws - self._draws(script, self._groups):
                raise CaptureError(
                    f"{line}: expected draws that depend on the training mode of modules, got one by {function} that "
                    "only the model's own train() switches on; ask self.training of the module around it"
                )

    def _has_draw_of(self, group: Group, file: str, line: int) -> bool:
        rest = [g for g in self._needed if g is not group]
        return any(
            (where.file, where.number) == (file, line)
            for script in range(len(SCRIPTS))
            for where, _, _ in self._draws(script, self._needed) - self._draws(script, rest)
        )

    def _least(self, fixed: Sequence[Group], groups: Sequence[Group]) -> list[Group]:
        """Some of the groups, as few as possible, that draw everything together with the fixed ones."""
        if self._suffice(fixed):
            return []
        if len(groups) == 1:
            return list(groups)
        half = len(groups) // 2
        second = self._least([*fixed, *groups[:half]], groups[half:])
        return self._least([*fixed, *second], groups[:half]) + second

    def _suffice(self, groups: Sequence[Group]) -> bool:
        """Whether all that is drawn in training mode, and has an effect, does so with these groups in training mode."""
        return all(self._draws(s, self._groups) <= self._draws(s, groups) for s in range(len(SCRIPTS))) and all(
            self._has_effect(place, script, groups) for place, script in self._effects
        )

    def _always_drawn(self) -> list[Place]:
        """The places that draw in evaluation mode too."""
        draws = [line for script in range(len(SCRIPTS)) for line, _, _ in self._draws(script, [])]
        return list(dict.fromkeys(map(self._place, draws)))

    def _place(self, line: Line) -> Place:
        return line.file, line.number, self._number.get(line.module, -1)

    def _has_effect(self, place: Place, script: int, groups: Sequence[Group]) -> bool:
        """Whether what modules return depends on what is drawn at a place."""
        found = []
        for position in (LEAST, LARGEST):

            def script_there(key: str, line: Line, position: float = position) -> float:
                return position if self._place(line) == place else SCRIPTS[script](key)

            watch = self._run(script_there, groups)
            found.append(watch.results)
        return found[0] != found[1]

    def _draws(self, script: int, groups: Sequence[Group]) -> Counter[Draw]:
        key = script, frozenset(groups)
        if key not in self._seen:
            self._seen[key] = self._run(_scripted(script), groups).draws
        return self._seen[key]

    def _run(self, script: Script, groups: Sequence[Group]) -> _Watch:
        return _run(self._request, script, [name for group in groups for name in group])


def _scripted(script: int) -> Script:
    return lambda key, line: SCRIPTS[script](key)


def _groups(model: nn.Module) -> list[Group]:
    """The modules whose flags belong together."""
    found: dict[tuple[type, str], list[str]] = {}
    for name, module in model.named_modules():
        if not isinstance(module, Choice | torch.jit.ScriptModule):
            found.setdefault((type(module), re.sub(r"\d+", "*", name)), []).append(name)
    return [tuple(names) for names in found.values()]


def _in_order(model: nn.Module, groups: Collection[Group]) -> tuple[str, ...]:
    wanted = {name for group in groups for name in group}
    return tuple(name for name, _ in model.named_modules() if name in wanted)


def _run(request: Request, script: Script, names: Sequence[str], trained: bool = False) -> _Watch:
    """Returns what a run shows with these modules in training mode, and their ``train`` called before if so wanted.

    Raises:
        CaptureError: the model fails.
    """
    model = request.model
    watch = _Watch(script, Whereabouts(model, Stack(), Notes()))
    with (
        watch.results_of(model),
        heap.restored(model),
        streams_kept(),
        recording_with(DenseRecorder(request, markers=False)),
        intercepted(watch.call, modules_of(model)),
        routed_in_training(model, names),
        torch.no_grad(),
    ):
        try:
            if trained:
                model.train()
            request.call()
        except (CaptureError, RunError):
            raise
        except Exception as error:
            raise CaptureError(
                f"{_line_of(error)}: expected a model that runs in training mode, whose routes are to be kept, got "
                f"{type(error).__name__}: {error}; mend it, or give arguments that it takes there"
            ) from error
    return watch


def _line_of(error: Exception) -> str:
    """The innermost line of the author's code that raised."""
    frames: list[tuple[FrameType, int]] = list(traceback.walk_tb(error.__traceback__))
    author = [(frame, number) for frame, number in frames if not is_between(frame)]
    return str(Line(author[-1][0].f_code.co_filename, author[-1][1])) if author else "model"


class _Watch:
    """Notes what is drawn in one run, and answers by a script.

    Attributes:
        draws: all draws.
        results: what the modules returned.
    """

    def __init__(self, script: Script, whereabouts: Whereabouts) -> None:
        self._script, self._whereabouts = script, whereabouts
        self.draws: Counter[Draw] = Counter()
        self.results: list[int] = []

    @contextlib.contextmanager
    def results_of(self, model: nn.Module) -> Iterator[None]:
        """Inside the block what modules return is noted."""

        def note(module: nn.Module, args: Any, result: Any) -> None:
            tensors = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            self.results.append(hash((id(module), *map(_bytes, tensors))))

        hooks = [m.register_forward_hook(note) for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A random function is called."""
        read = None if function in (COND, LOOP) or reseeds(function) else reading(function)
        if read is None:
            return called_in_place(function, args, kwargs)
        try:
            asked = read(lambda tensor: tensor.detach().cpu().numpy(), *args, **kwargs)
        except (GeneratorGivenError, ValueError, TypeError, IndexError):  # the survey says so, or the call itself
            return function(*args, **kwargs)
        if asked is None:
            return function(*args, **kwargs)
        line = self._whereabouts.line()
        laws = [(law.probabilities, law.scale, law.offset) for law in asked.laws or ()]
        draw = line, getattr(function, "__name__", ""), asked.why or str(laws)
        self.draws[draw] += 1
        key = f"{line.file} {line.number} {line.module} {self.draws[draw]}"
        if asked.laws is None:
            with streams_kept():
                _seed(key)
                return function(*args, **kwargs)
        result = asked.make([_number(law, self._script(f"{key} {i}", line)) for i, law in enumerate(asked.laws)])
        return handed_over(function, args[0] if args else None, result)


def _bytes(tensor: torch.Tensor) -> bytes:
    with torch.utils._python_dispatch._disable_current_modes(), torch._C.DisableTorchFunction():
        return tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def _seed(key: str) -> None:
    number = random.Random(key).getrandbits(32)
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def _number(law: Law, position: float) -> Any:
    """The number of a law at a position in [0, 1)."""
    if law.probabilities is None:
        return law.offset + law.scale * position
    possible = [k for k, p in enumerate(law.probabilities) if p > 0]
    sums = np.cumsum([law.probabilities[k] for k in possible])[:-1]
    return law.values[possible[int(np.searchsorted(sums, position, "right"))]]
