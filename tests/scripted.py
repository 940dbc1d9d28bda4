"""An oracle: the law of what a model returns, found by running its own code with scripted random functions.

It shares nothing with the interpreter. The code runs as it was written; every random function asks the script which
outcome comes next, and the script goes through all of them, depth first, with their exact probabilities. A uniform
number is the middle of one of ``GRID`` equal parts of [0, 1), which is exact where the code compares it with multiples
of 1 / GRID only.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from torch import nn

from rr_export.bundle.bundle import Bundle

GRID = 10
Law = dict[tuple[float, ...], float]  # of outputs, rounded


class Script:
    """The outcomes of one run; those that it does not have yet are the first ones."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.weights: list[list[Fraction]] = []
        self.position = 0

    def choose(self, weights: Sequence[float]) -> int:
        """Returns which outcome comes next."""
        exact = [Fraction(float(w)) for w in weights]
        if self.position == len(self.taken):
            self.taken.append(next(i for i, w in enumerate(exact) if w))
            self.weights.append([w / sum(exact) for w in exact])
        self.position += 1
        return self.taken[self.position - 1]

    def probability(self) -> Fraction:
        """Returns how probable this run is."""
        return math.prod((w[i] for w, i in zip(self.weights, self.taken, strict=True)), start=Fraction(1))

    def advance(self) -> bool:
        """The next run takes other outcomes; returns whether there is one."""
        self.position = 0
        while self.taken:
            last, weights = self.taken.pop(), self.weights.pop()
            later = [i for i in range(last + 1, len(weights)) if weights[i]]
            if later:
                self.taken.append(later[0])
                self.weights.append(weights)
                return True
        return False


def _stand_ins(script: Script) -> dict[tuple[Any, str], Callable[..., Any]]:
    def uniform() -> float:
        return (script.choose([1] * GRID) + 0.5) / GRID

    def one_of(values: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
        return values[script.choose(weights or [1] * len(values))]

    def without(values: Sequence[Any], count: int, weights: Sequence[float] | None = None) -> list[Any]:
        left, of, found = list(values), list(weights or [1.0] * len(values)), []
        for _ in range(count):
            i = script.choose(of)
            found.append(left.pop(i))
            del of[i]
        return found

    def tensor(size: Any, draw: Callable[[], Any], dtype: Any = None) -> torch.Tensor:
        shape = size[0] if len(size) == 1 and not isinstance(size[0], int) else size
        return torch.tensor([draw() for _ in range(math.prod(shape))], dtype=dtype).reshape(tuple(shape))

    def array(size: Any, draw: Callable[[], Any]) -> Any:
        if size is None:
            return draw()
        shape = (size,) if isinstance(size, int) else size
        return np.array([draw() for _ in range(math.prod(shape))]).reshape(shape)

    def bernoulli(p: torch.Tensor) -> torch.Tensor:
        return torch.tensor([float(script.choose([1 - w, w])) for w in p.reshape(-1).tolist()]).reshape(p.shape)

    def randint(*given: Any) -> torch.Tensor:
        *bounds, size = given
        return tensor((size,), lambda: one_of(range(*bounds)), torch.int64)

    def multinomial(p: torch.Tensor, count: int, replacement: bool = False) -> torch.Tensor:
        weights = p.tolist()
        if replacement:
            return torch.tensor([script.choose(weights) for _ in range(count)])
        return torch.tensor(without(range(len(weights)), count, weights))

    def normal() -> float:
        return NormalDist().inv_cdf(uniform())

    def choice(a: Any, size: Any = None, replace: bool = True, p: Any = None) -> Any:
        values = list(range(a)) if isinstance(a, int) else list(a)
        if size is None or replace:
            return array(size, lambda: one_of(values, p))
        return np.array(without(values, size, p))

    return {
        (random, "random"): uniform,
        (random, "uniform"): lambda a, b: a + (b - a) * uniform(),
        (random, "randint"): lambda a, b: one_of(range(a, b + 1)),
        (random, "randrange"): lambda *bounds: one_of(range(*bounds)),
        (random, "choice"): one_of,
        (random, "choices"): lambda values, weights=None, k=1: [one_of(values, weights) for _ in range(k)],
        (random, "sample"): lambda values, k: without(values, k),
        (random, "gauss"): lambda mu=0.0, sigma=1.0: mu + sigma * normal(),
        (random, "normalvariate"): lambda mu=0.0, sigma=1.0: mu + sigma * normal(),
        (random, "expovariate"): lambda rate=1.0: -math.log(1 - uniform()) / rate,
        (torch, "rand"): lambda *size, **_: tensor(size, uniform),
        (torch, "randn"): lambda *size, **_: tensor(size, normal),
        (torch, "bernoulli"): bernoulli,
        (torch, "randint"): randint,
        (torch, "randperm"): lambda n: torch.tensor(without(range(n), n), dtype=torch.int64),
        (torch, "multinomial"): multinomial,
        (np.random, "rand"): lambda *size: array(size or None, uniform),
        (np.random, "random"): lambda size=None: array(size, uniform),
        (np.random, "uniform"): lambda low=0.0, high=1.0, size=None: array(
            size, lambda: low + (high - low) * uniform()
        ),
        (np.random, "randint"): lambda low, high=None, size=None: array(
            size, lambda: one_of(range(low) if high is None else range(low, high))
        ),
        (np.random, "randn"): lambda *size: array(size or None, normal),
        (np.random, "normal"): lambda loc=0.0, scale=1.0, size=None: array(size, lambda: loc + scale * normal()),
        (np.random, "choice"): choice,
        (np.random, "permutation"): lambda n: np.array(without(range(n) if isinstance(n, int) else n, len(range(n)))),
    }


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[None]:
    """Inside, the random functions do as the script says."""
    stand_ins = _stand_ins(script)
    originals = {(home, name): getattr(home, name) for home, name in stand_ins}
    try:
        for (home, name), function in stand_ins.items():
            setattr(home, name, function)
        yield
    finally:
        for (home, name), function in originals.items():
            setattr(home, name, function)


def law_of_code(model: nn.Module, args: tuple[Any, ...]) -> Law:
    """Returns the law of what the model's own code returns; a model that was exported opens runs, which draw too."""
    script, law = Script(), dict[tuple[float, ...], Fraction]()
    with torch.no_grad(), scripted(script):
        while True:
            key = _key([model(*args)])
            law[key] = law.get(key, Fraction(0)) + script.probability()
            if not script.advance():
                return {k: float(p) for k, p in law.items()}


def law_of_file(bundle: Bundle, args: tuple[Any, ...]) -> Law:
    """Returns the law of what a file with one output returns: every path of its plan is forced in ONNX Runtime."""
    content = ir.serde.serialize_model(bundle.model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs() if not i.name.startswith("rr_")]
    feeds = {n: a.numpy() for n, a in zip(names, args, strict=True)}
    law: Law = {}
    if not bundle.plan.sites:
        return {_key([session.run(None, feeds)[0]]): 1.0}
    for path in bundle.plan.paths():
        forced = {"rr_seed": np.array(-1, np.int64), "rr_path": np.array(path, np.int64)}
        output, taken = session.run(None, feeds | forced)
        assert taken.tolist() == list(path)
        key = _key([output])
        law[key] = law.get(key, 0.0) + bundle.plan.probability(path)
    return law


def _key(outputs: Sequence[Any]) -> tuple[float, ...]:
    values = itertools.chain.from_iterable(np.asarray(o, dtype=np.float64).reshape(-1) for o in outputs)
    return tuple(round(float(v), 3) + 0.0 for v in values)


def differences(expected: Law, got: Law) -> list[str]:
    """Returns where two laws differ; outputs that differ by rounding are one."""
    left, found = dict(got), []
    for key, probability in expected.items():
        near = [k for k in left if len(k) == len(key) and np.allclose(k, key, atol=3e-3)]
        total = sum(left.pop(k) for k in near)
        if abs(total - probability) > 1e-5:
            found.append(f"{key[:4]}: expected {probability}, got {total}")
    return found + [f"{key[:4]}: got {p}, which the code never returns" for key, p in left.items() if p > 1e-6]
