"""The random functions of torch, Python and numpy: what each draws, and how its result is made of the draws.

Every function is read once, by :func:`reading`, into :class:`Asked`: the law of each number that it draws, and how the
numbers become what the function returns. While a model is traced the numbers become decisions; while the original model
runs on a path, or on the draws of a seed, they become numbers that decide that way.
"""

from __future__ import annotations

import inspect
import itertools
import math
import random
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch.distributions import Bernoulli, Categorical, Distribution

from rr_export.capture.python.equal_outcomes import key_of, merged
from rr_export.capture.python.plain_access import look

MOST_NUMBERS = 256  # one call may draw so many numbers that choose; more is noise
MOST_OUTCOMES = 128  # so many orders may there be in which several are chosen without replacement


@dataclass(frozen=True)
class Law:
    """What one number is drawn from.

    Attributes:
        probabilities: of its outcomes; None: ``offset + scale * quantile(u)`` of a number u that is uniform in [0, 1).
        values: the outcomes.
        quantile: the name of the law of a number: see :mod:`rr_export.capture.python.quantiles`.
    """

    probabilities: tuple[float, ...] | None = None
    values: tuple[Any, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    quantile: str = "uniform"


@dataclass(frozen=True)
class Asked:
    """One call of a random function.

    Attributes:
        laws: of the numbers that it draws, in order; or None: the numbers are not used to choose.
        shape: of the result; None: one plain value.
        make: from the numbers to what the function returns.
        why: where ``laws`` is None, what the call is.
        joint: whether the one number drawn is all of the result: its outcomes are tuples.
        dtype: of a result of torch.
        outcomes: where ``laws`` is None since there are too many: how many.
    """

    laws: tuple[Law, ...] | None
    shape: tuple[int, ...] | None
    make: Callable[[list[Any]], Any]
    like: str = "python"
    why: str = ""
    joint: bool = False
    dtype: torch.dtype | None = None
    outcomes: int = 0


class GeneratorGivenError(Exception):
    """A generator was passed explicitly."""


Numbers = Callable[[torch.Tensor], NDArray[Any]]  # the numbers of a tensor; raises where there are none


def _uniform(count: int, low: float = 0.0, high: float = 1.0) -> tuple[Law, ...]:
    return (Law(scale=float(high) - float(low), offset=float(low)),) * count


def _normal(count: int, mean: float = 0.0, std: float = 1.0) -> tuple[Law, ...]:
    return (Law(scale=float(std), offset=float(mean), quantile="normal"),) * count


def _exponential(count: int, scale: float = 1.0) -> tuple[Law, ...]:
    return (Law(scale=float(scale), quantile="exponential"),) * count


def _outcomes(weights: Sequence[float] | NDArray[Any], values: Sequence[Any] | None = None) -> Law:
    numbers = np.asarray(weights, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all() or (numbers < 0).any() or numbers.sum() <= 0:
        raise ValueError(f"probabilities {numbers.tolist()} are none")
    shares = (numbers / numbers.sum()).tolist()
    return Law(*merged(shares, range(len(numbers)) if values is None else values))


def _coin(p: float) -> Law:
    return _outcomes([1 - float(p), float(p)])


def _ordered(values: Sequence[Any], count: int, like: str, weights: Any = None) -> Asked:
    """A call that chooses several, one after the other and each once; an outcome is all of them in their order."""
    if not 0 <= count <= len(values):
        raise ValueError(f"{count} of {len(values)} cannot be chosen")
    if math.perm(len(values), count) > MOST_OUTCOMES:
        return Asked(None, None, lambda numbers: None, outcomes=math.perm(len(values), count))
    given = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    shares: dict[tuple[Any, ...], float] = {}
    chosen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for order in itertools.permutations(range(len(values)), count):
        share, left = 1.0, float(given.sum())
        for i in order:
            share, left = (share * given[i] / left if left > 0 else 0.0), left - given[i]
        key = tuple(key_of(values[i]) for i in order)
        chosen.setdefault(key, tuple(values[i] for i in order))
        shares[key] = shares.get(key, 0.0) + share
    law = _outcomes(list(shares.values()), list(chosen.values()))
    make: dict[str, Callable[[Any], Any]] = {"torch": torch.tensor, "numpy": np.array, "list": list}
    dtype = torch.int64 if like == "torch" else None
    return Asked((law,), (count,), lambda numbers: make[like](numbers[0]), like, joint=True, dtype=dtype)


def _noise(why: str) -> Asked:
    return Asked(None, None, lambda numbers: None, why=why)


def _size(args: Sequence[Any]) -> tuple[int, ...]:
    flat = args[0] if len(args) == 1 and isinstance(args[0], tuple | list | torch.Size) else args
    return tuple(int(n) for n in flat)


def _tensor(shape: Sequence[int], dtype: torch.dtype | None, laws: Sequence[Law]) -> Asked:
    """A call of torch that returns a tensor of this shape."""
    if len(laws) > MOST_NUMBERS:
        return _noise(f"{len(laws)} numbers at once")
    dtype = dtype or torch.get_default_dtype()
    if dtype.is_floating_point:
        laws = [replace(law, values=tuple(map(float, law.values))) for law in laws]
    return Asked(
        tuple(laws),
        tuple(shape),
        lambda numbers: torch.tensor(numbers, dtype=dtype).reshape(tuple(shape)),
        "torch",
        dtype=dtype,
    )


def _wrapped(function: Callable[..., Any]) -> Callable[..., Asked | None]:
    """Refuses a generator, whatever the function."""

    def read(numbers: Numbers, *args: Any, generator: Any = None, **kwargs: Any) -> Asked | None:
        if generator is not None or any(isinstance(a, torch.Generator) for a in args):
            raise GeneratorGivenError
        asked: Asked | None = function(numbers, *args, **kwargs)
        return asked

    return read


def _rand(numbers: Numbers, *size: Any, dtype: torch.dtype | None = None, **_: Any) -> Asked:
    shape = _size(size if size else (_.get("size", ()),))
    return _tensor(shape, dtype, _uniform(math.prod(shape)))


def _rand_like(numbers: Numbers, like: torch.Tensor, **_: Any) -> Asked:
    return _tensor(_static(like), like.dtype, _uniform(math.prod(_static(like))))


def _randn(numbers: Numbers, *size: Any, dtype: torch.dtype | None = None, **_: Any) -> Asked:
    shape = _size(size if size else (_.get("size", ()),))
    return _tensor(shape, dtype, _normal(math.prod(shape)))


def _randn_like(numbers: Numbers, like: torch.Tensor, **_: Any) -> Asked:
    return _tensor(_static(like), like.dtype, _normal(math.prod(_static(like))))


def _torch_normal(numbers: Numbers, mean: Any = 0.0, std: Any = 1.0, size: Any = None, **_: Any) -> Asked:
    if size is None or isinstance(mean, torch.Tensor) or isinstance(std, torch.Tensor):
        return _noise("normal")
    return _tensor(_size((size,)), _.get("dtype"), _normal(math.prod(_size((size,))), mean, std))


def _randperm(numbers: Numbers, n: int, **_: Any) -> Asked:
    return _ordered(range(n), n, "torch")


def _static(like: Any) -> tuple[int, ...]:
    sizes = tuple(like.shape)
    if not all(isinstance(s, int) for s in sizes):
        return (MOST_NUMBERS + 1,)  # as many as the input has rows: noise
    return sizes


def _uniform_(numbers: Numbers, like: torch.Tensor, *bounds: Any, **named: Any) -> Asked:
    low = named.get("from", bounds[0] if bounds else 0.0)
    high = named.get("to", bounds[1] if len(bounds) > 1 else 1.0)
    return _tensor(_static(like), like.dtype, _uniform(math.prod(_static(like)), low, high))


def _bernoulli(numbers: Numbers, given: Any, p: Any = None, **_: Any) -> Asked:
    if p is not None:
        return _bernoulli_(numbers, given, p)
    weights = numbers(given) if isinstance(given, torch.Tensor) else np.asarray(given)
    if weights.size > MOST_NUMBERS:
        return _noise(f"{weights.size} numbers at once")
    dtype = given.dtype if isinstance(given, torch.Tensor) else None
    return _tensor(weights.shape, dtype, [_coin(w) for w in weights.reshape(-1)])


def _bernoulli_(numbers: Numbers, like: torch.Tensor, p: Any = 0.5, **_: Any) -> Asked:
    shape = _static(like)
    if math.prod(shape) > MOST_NUMBERS:
        return _noise(f"{math.prod(shape)} numbers at once")
    weights = numbers(p) if isinstance(p, torch.Tensor) else np.asarray(p)
    return _tensor(shape, like.dtype, [_coin(w) for w in np.broadcast_to(weights, shape).reshape(-1)])


def _randint(numbers: Numbers, *args: Any, **named: Any) -> Asked:
    given = [a for a in args if a is not None]
    size = named["size"] if named.get("size") is not None else given.pop()
    high = int(named["high"] if "high" in named else given.pop())
    low = int(named["low"] if "low" in named else given.pop() if given else 0)
    law = _outcomes([1.0] * (high - low), range(low, high))
    shape = _size((size,))
    return _tensor(shape, named.get("dtype") or torch.int64, [law] * math.prod(shape))


def _multinomial(numbers: Numbers, weights: Any, num_samples: int = 1, replacement: bool = False, **_: Any) -> Asked:
    table = numbers(weights) if isinstance(weights, torch.Tensor) else np.asarray(weights)
    rows = table.reshape(-1, table.shape[-1])
    if num_samples > 1 and not replacement:
        if len(rows) > 1 or table.ndim > 1:
            return _noise("several samples without replacement for several rows")
        return _ordered(range(len(table)), num_samples, "torch", table)
    laws = [_outcomes(row) for row in rows for _ in range(num_samples)]
    return _tensor((*table.shape[:-1], num_samples), torch.int64, laws)


TORCH: dict[Any, Callable[..., Asked | None]] = {
    torch.rand: _rand,
    torch.rand_like: _rand_like,
    torch.Tensor.uniform_: _uniform_,
    torch.bernoulli: _bernoulli,
    torch.Tensor.bernoulli: _bernoulli,
    torch.Tensor.bernoulli_: _bernoulli_,
    torch.randint: _randint,
    torch.randn: _randn,
    torch.randn_like: _randn_like,
    torch.normal: _torch_normal,
    torch.randperm: _randperm,
    torch.multinomial: _multinomial,
    torch.Tensor.multinomial: _multinomial,
}
IN_PLACE = (torch.Tensor.uniform_, torch.Tensor.bernoulli_)
SHUFFLES = (random.shuffle, np.random.shuffle)
for _noisy in (
    *(torch.randint_like, torch.poisson, torch.binomial),
    *(torch.Tensor.normal_, torch.Tensor.random_, torch.Tensor.exponential_, torch.Tensor.geometric_),
    *(torch.Tensor.cauchy_, torch.Tensor.log_normal_),
):
    TORCH[_noisy] = lambda numbers, *args, _name=_noisy.__name__, **kwargs: _noise(_name)


def sample(numbers: Numbers, distribution: Distribution, sample_shape: Any = ()) -> Asked:
    """Returns what ``distribution.sample(sample_shape)`` asks for."""
    count, shape = math.prod(sample_shape), (*sample_shape, *distribution.batch_shape)
    if type(distribution) not in (Bernoulli, Categorical):
        return _noise(f"a sample of {type(distribution).__name__}")
    table = numbers(distribution.probs)  # type: ignore[attr-defined]
    if type(distribution) is Bernoulli:
        return _tensor(shape, distribution.probs.dtype, [_coin(p) for p in table.reshape(-1)] * count)
    if count > 1 and distribution.batch_shape:
        return _noise("several samples of several distributions")
    rows = [_outcomes(row) for row in table.reshape(-1, table.shape[-1])]
    return _tensor(shape, torch.int64, rows * count)


def _regularising(name: str, training: int, default: bool, flag: str = "training") -> Callable[..., Asked | None]:
    """A function of torch that draws in training only; None: it does not draw here."""

    def read(numbers: Numbers, *args: Any, **kwargs: Any) -> Asked | None:
        on = args[training] if len(args) > training else kwargs.get(flag, default)
        p = args[1] if len(args) > 1 else kwargs.get("p", 1)
        return _noise(f"{name} in training") if on and p else None

    return read


def _attention(numbers: Numbers, *args: Any, **kwargs: Any) -> Asked | None:
    p = args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)
    return _noise("dropout in attention") if p else None


def _many_heads(numbers: Numbers, *args: Any, **kwargs: Any) -> Asked | None:
    p = args[10] if len(args) > 10 else kwargs.get("dropout_p", 0.0)
    training = args[13] if len(args) > 13 else kwargs.get("training", True)
    return _noise("dropout in attention") if p and training else None


REGULARISING: dict[Any, Callable[..., Asked | None]] = {
    **{getattr(F, n): _regularising(n, 2, True) for n in ("dropout", "dropout1d", "dropout2d", "dropout3d")},
    **{getattr(F, n): _regularising(n, 2, False) for n in ("alpha_dropout", "feature_alpha_dropout")},
    **{
        function: _regularising(function.__name__, 2, False, "train")
        for function in (torch.dropout, torch.feature_dropout, torch.alpha_dropout, torch.feature_alpha_dropout)
    },
    torch.native_dropout: _regularising("native_dropout", 2, False, "train"),
    **dict.fromkeys((F.rrelu, torch.rrelu), _regularising("rrelu", 3, False)),
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _many_heads,
}
TORCH |= {**REGULARISING, F.gumbel_softmax: lambda numbers, *args, **kwargs: _noise("gumbel_softmax")}


def _value(law: Law) -> Asked:
    return Asked((law,), None, lambda numbers: numbers[0])


def _choices(population: Any, weights: Any = None, *, cum_weights: Any = None, k: int = 1) -> Asked:
    values = list(population)
    if cum_weights is not None:
        weights = np.diff(np.asarray(cum_weights, dtype=np.float64), prepend=0)
    law = _outcomes([1.0] * len(values) if weights is None else weights, values)
    return Asked((law,) * k, (k,), lambda numbers: list(numbers), "list")


def _range(start: int, stop: int | None = None, step: int = 1) -> Asked:
    values = range(start) if stop is None else range(start, stop, step)
    return _value(_outcomes([1.0] * len(values), values))


def _shuffle(x: Any) -> Asked:
    if type(x) is not list:
        return _noise(f"a shuffle of a {type(x).__name__}; of a list it would choose")
    return _ordered(list(x), len(x), "list")


PYTHON: dict[str, Callable[..., Asked]] = {
    "shuffle": _shuffle,
    "random": lambda: _value(Law()),
    "uniform": lambda a, b: _value(Law(scale=float(b) - float(a), offset=float(a))),
    "randint": lambda a, b: _range(a, b + 1),
    "randrange": _range,
    "choice": lambda seq: _value(_outcomes([1.0] * len(seq), list(seq))),
    "choices": _choices,
    "sample": lambda population, k, *, counts=None: (
        _ordered(list(population), k, "list") if counts is None else _noise("random.sample with counts")
    ),
    **dict.fromkeys(("gauss", "normalvariate"), lambda mu=0.0, sigma=1.0: _value(_normal(1, mu, sigma)[0])),
    "expovariate": lambda lambd=1.0: _value(_exponential(1, 1 / lambd)[0]),
}
PYTHON |= {
    name: (lambda n: lambda *args, **kwargs: _noise(f"random.{n}"))(name)
    for name in (
        *("betavariate", "gammavariate", "triangular"),
        *("getrandbits", "randbytes", "lognormvariate", "vonmisesvariate", "paretovariate", "weibullvariate"),
    )
}


def _array(shape: Any, laws: Callable[[int], Sequence[Law]], dtype: Any) -> Asked:
    """A call of numpy: one plain number, or an array."""
    if shape is None or shape == ():
        return Asked(tuple(laws(1)), None, lambda numbers: numbers[0], "numpy")
    sizes = (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(n) for n in shape)
    if math.prod(sizes) > MOST_NUMBERS:
        return _noise(f"{math.prod(sizes)} numbers at once")
    return Asked(
        tuple(laws(math.prod(sizes))), sizes, lambda numbers: np.array(numbers, dtype=dtype).reshape(sizes), "numpy"
    )


def _np_uniform(low: float = 0.0, high: float = 1.0, size: Any = None) -> Asked:
    return _array(size, lambda n: _uniform(n, low, high), np.float64)


def _np_randint(low: int, high: int | None = None, size: Any = None, dtype: Any = int) -> Asked:
    values = range(low) if high is None else range(low, high)
    return _array(size, lambda n: [_outcomes([1.0] * len(values), values)] * n, np.int64)


def _np_choice(a: Any, size: Any = None, replace: bool = True, p: Any = None) -> Asked:
    values = list(range(a)) if isinstance(a, int | np.integer) else list(a)
    law = _outcomes([1.0] * len(values) if p is None else p, values)
    if size is None:
        return _value(law)
    if not replace:
        if not isinstance(size, int | np.integer):
            return _noise("a choice without replacement of several rows")
        return _ordered(values, int(size), "numpy", p)
    return _array(size, lambda n: [law] * n, None)


def _np_binomial(n: int, p: float, size: Any = None) -> Asked:
    weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    return _array(size, lambda count: [_outcomes(weights)] * count, np.int64)


def _np_permutation(a: Any) -> Asked:
    values = list(range(a)) if isinstance(a, int | np.integer) else list(a)
    return _ordered(values, len(values), "numpy")


def _np_normal(loc: float = 0.0, scale: float = 1.0, size: Any = None) -> Asked:
    return _array(size, lambda n: _normal(n, loc, scale), np.float64)


NUMPY: dict[str, Callable[..., Asked]] = {
    "rand": lambda *shape: _np_uniform(size=shape or None),
    **dict.fromkeys(("random", "random_sample", "ranf", "sample"), lambda size=None: _np_uniform(size=size)),
    "uniform": _np_uniform,
    "randint": _np_randint,
    "choice": _np_choice,
    "binomial": _np_binomial,
    "permutation": _np_permutation,
    "shuffle": _shuffle,
    "randn": lambda *shape: _np_normal(size=shape or None),
    "standard_normal": lambda size=None: _np_normal(size=size),
    "normal": _np_normal,
    "exponential": lambda scale=1.0, size=None: _array(size, lambda n: _exponential(n, scale), np.float64),
}
NUMPY |= {
    name: (lambda n: lambda *args, **kwargs: _noise(f"numpy.random.{n}"))(name)
    for name in (
        *("bytes", "beta", "gamma", "poisson"),
        *("geometric", "multinomial", "dirichlet", "laplace", "logistic", "random_integers"),
    )
    if hasattr(np.random, name)
}

_HOMES: tuple[tuple[Any, dict[str, Callable[..., Asked]]], ...] = ((random, PYTHON), (np.random, NUMPY))
_ORIGINALS = {getattr(home, name): (table, name) for home, table in _HOMES for name in table}
_CALLABLES = frozenset(map(type, (*TORCH, *_ORIGINALS)))  # all of which can be hashed
GENERATORS: tuple[Any, ...] = (random.Random, np.random.Generator, np.random.RandomState)
GLOBAL_GENERATORS = (random._inst, np.random.mtrand._rand, torch.default_generator)


def handed_over(function: Any, target: Any, result: Any) -> Any:
    """Returns what a random function returns that is called with ``target`` first; some draw into it.

    Args:
        function: the function.
        target: its first argument, of whatever kind; None where it has none.
        result: the numbers, as :attr:`Asked.make` made them.
    """
    if function in IN_PLACE:
        return target.copy_(result)
    if function in SHUFFLES:
        target[:] = result
        return None
    return result


def _of(distribution: Distribution) -> Callable[..., Asked]:
    def read(numbers: Numbers, *args: Any, **kwargs: Any) -> Asked:
        return sample(numbers, distribution, *args, **kwargs)

    return read


def _without_numbers(function: Callable[..., Asked]) -> Callable[..., Asked]:
    def read(numbers: Numbers, *args: Any, **kwargs: Any) -> Asked:
        return function(*args, **kwargs)

    return read


def reading(function: Any) -> Callable[..., Asked | None] | None:
    """Returns how to read a call of a random function, as ``(numbers of a tensor, *args, **kwargs) -> Asked``.

    What it returns is None where these arguments draw nothing.
    """
    if function == sample:
        return sample
    owner = look(function, "__self__")
    if isinstance(owner, Distribution) and look(function, "__name__") in ("sample", "rsample"):
        return _of(owner)
    if type(function) not in _CALLABLES:
        return None
    if function in TORCH:
        return _wrapped(TORCH[function])
    if function in _ORIGINALS:
        table, name = _ORIGINALS[function]
        return _without_numbers(table[name])
    return None


def regularises(function: Any) -> bool:
    """Returns whether a function of torch draws in training only; what then is training, others may have a say in."""
    return isinstance(function, types.FunctionType | types.BuiltinFunctionType) and function in REGULARISING


def own_generator(function: Any) -> bool:
    """Returns whether a function is a method of a generator other than the global ones."""
    owner = look(function, "__self__")
    return isinstance(owner, GENERATORS) and not inspect.isclass(owner) and function not in _ORIGINALS
