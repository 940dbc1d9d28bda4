"""Every source of randomness, as a condition or as an index."""

from __future__ import annotations

import random
from random import random as uniform

import numpy as np
import torch
from numpy.random import rand as np_rand
from torch import Tensor, distributions, nn
from torch.distributions import Categorical

from tests.zoo.parts import WIDTH, case, linears


class Skips(nn.Module):
    def __init__(self, p: float = 0.7) -> None:
        super().__init__()
        self.p = p
        self.layer = nn.Linear(WIDTH, WIDTH)


class Picks(nn.Module):
    def __init__(self, experts: int = 3) -> None:
        super().__init__()
        self.experts = linears(experts)
        self.register_buffer("probs", torch.tensor([0.5, 0.2, 0.3]))


class Stack(nn.Module):
    def __init__(self, depth: int = 3, keep: float = 0.8) -> None:
        super().__init__()
        self.layers = linears(depth)
        self.keep = keep


class TorchRand(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(()) < self.p:
            x = self.layer(x)
        return x


class TorchRandItem(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.rand(1).item() < self.p:
            return self.layer(x)
        return x


class TorchRandList(Skips):
    def forward(self, x: Tensor) -> Tensor:
        p_drop = 0.3
        if torch.rand([]) > p_drop:
            x = x + self.layer(x)
        return x


class TorchRandReflected(Skips):
    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x).relu() if self.p >= torch.rand(1) else -x
        return y + 1


class TorchRandLikeInput(Skips):
    def forward(self, x: Tensor) -> Tensor:
        coin = torch.rand((), device=x.device, dtype=x.dtype)
        if coin.ge(self.p):
            return x
        return self.layer(x)


class FloatRand(Skips):
    def forward(self, x: Tensor) -> Tensor:
        u = float(torch.rand(1))
        if u > 0.25:
            x = self.layer(x)
        return x


class BernoulliTensor(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.bernoulli(torch.tensor(self.p)):
            x = self.layer(x)
        return x


class BernoulliBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor([0.35]))
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.bernoulli(self.p)
        if keep.item() == 1:
            return self.layer(x)
        return 2 * x


class BernoulliInPlace(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.empty(1).bernoulli_(self.p) > 0:
            x = self.layer(x)
        return x


class BernoulliNew(Skips):
    def forward(self, x: Tensor) -> Tensor:
        mask = x.new_empty(1).bernoulli_(self.p).bool()
        if not mask:
            return x
        return x - self.layer(x)


class BernoulliVector(Stack):
    def forward(self, x: Tensor) -> Tensor:
        keep = torch.bernoulli(torch.full((len(self.layers),), self.keep)).bool()
        for i, layer in enumerate(self.layers):
            if keep[i]:
                x = layer(x)
        return x


class UniformInPlace(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.empty(()).uniform_() < self.p:
            x = self.layer(x)
        return x


class UniformInPlaceBounds(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.empty(1).uniform_(-1, 1).item() < 0.5:
            x = self.layer(x)
        return x


class RandintIndex(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[torch.randint(len(self.experts), ())](x)


class RandintItem(Picks):
    def forward(self, x: Tensor) -> Tensor:
        k = torch.randint(1, 4, (1,)).item()
        return self.experts[k - 1](x)


# Four outcomes, of which only two kinds are told apart.
class RandintPartly(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.randint(4, ()) < 2:
            x = self.layer(x)
        return x


class RandintFlags(Stack):
    def forward(self, x: Tensor) -> Tensor:
        flags = torch.randint(0, 2, (len(self.layers),)).tolist()
        for flag, layer in zip(flags, self.layers, strict=True):
            if flag:
                x = layer(x)
        return x


class Multinomial(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[torch.multinomial(self.probs, 1).item()](x)


# The weights do not sum to 1, and the index stays a tensor.
class MultinomialWeights(Picks):
    def forward(self, x: Tensor) -> Tensor:
        weights = torch.tensor([4.0, 1.0, 3.0])
        return self.experts[torch.multinomial(weights, num_samples=1)](x).tanh()


# One expert for each of two places, drawn by one call.
class MultinomialTwice(Picks):
    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.multinomial(self.probs, 2, replacement=True).tolist()
        return self.experts[second](self.experts[first](x).tanh())


class MultinomialIf(Picks):
    def forward(self, x: Tensor) -> Tensor:
        choice = self.probs.multinomial(1)
        if choice == 0:
            return self.experts[0](x)
        elif choice == 1:
            return self.experts[1](x)
        else:
            return x


class DistributionBernoulli(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if torch.distributions.Bernoulli(self.p).sample():
            x = self.layer(x)
        return x


class DistributionHeld(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.coin = distributions.Bernoulli(probs=torch.tensor([0.25]))
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if self.coin.sample().item() else x.sin()


class DistributionCategorical(Picks):
    def forward(self, x: Tensor) -> Tensor:
        index = Categorical(self.probs).sample()
        return self.experts[index](x)


class DistributionLogits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor([0.5, -1.0, 0.0]))
        self.ops = nn.ModuleList([nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Identity()])

    def forward(self, x: Tensor) -> Tensor:
        op = Categorical(logits=self.alpha).sample().item()
        return self.ops[op](x)


class PythonRandom(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if random.random() < self.p:
            x = self.layer(x)
        return x


class PythonRandomImported(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if uniform() >= self.p:
            return x
        return self.layer(x)


class PythonChoiceOfModules(Picks):
    def forward(self, x: Tensor) -> Tensor:
        expert = random.choice(self.experts)
        return expert(x)


class PythonChoiceOfNumbers(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[random.choice([0, 1, 2])](x)


class PythonChoiceOfNames(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ops = nn.ModuleDict({"linear": nn.Linear(WIDTH, WIDTH), "tanh": nn.Tanh(), "silu": nn.SiLU()})

    def forward(self, x: Tensor) -> Tensor:
        name = random.choice(("linear", "tanh", "silu"))
        return self.ops[name](x)


class PythonChoices(Picks):
    def forward(self, x: Tensor) -> Tensor:
        (k,) = random.choices(range(3), weights=[6, 3, 1])
        return self.experts[k](x)


class PythonChoicesSeveral(Stack):
    def forward(self, x: Tensor) -> Tensor:
        for layer in random.choices(self.layers, k=2):
            x = layer(x).tanh()
        return x


class PythonRandint(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[random.randint(0, 2)](x)


class PythonRandrange(Picks):
    def forward(self, x: Tensor) -> Tensor:
        if random.randrange(0, 10, 5):
            return self.experts[0](x)
        return self.experts[1](x)


class PythonUniform(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if random.uniform(2, 5) < 3:
            x = self.layer(x)
        return x


class NumpyRand(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if np.random.rand() < self.p:
            x = self.layer(x)
        return x


class NumpyRandImported(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if np_rand() < self.p:
            x = self.layer(x)
        return x


class NumpyRandom(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if not np.random.random() > self.p:
            x = self.layer(x)
        return x


class NumpyUniform(Skips):
    def forward(self, x: Tensor) -> Tensor:
        dropout_probability = np.random.uniform(0, 1)
        skip_the_layer = dropout_probability < 0.4
        if not skip_the_layer:
            x = self.layer(x)
        return x


class NumpyRandint(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[np.random.randint(3)](x)


class NumpyChoice(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[np.random.choice(3, p=[0.2, 0.2, 0.6])](x)


class NumpyBinomial(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if np.random.binomial(1, self.p):
            x = self.layer(x)
        return x


# The number of successes counts: 0, 1 or 2.
class NumpyBinomialTwo(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[np.random.binomial(n=2, p=0.5)](x)


class NumpyVector(Stack):
    def forward(self, x: Tensor) -> Tensor:
        keep = np.random.rand(len(self.layers)) < self.keep
        for layer, k in zip(self.layers, keep, strict=True):
            x = layer(x) if k else x
        return x


class TorchVector(Stack):
    def forward(self, x: Tensor) -> Tensor:
        keep = torch.rand(len(self.layers)) < self.keep
        for layer, kept in zip(self.layers, keep, strict=True):
            if kept:
                x = x + layer(x)
        return x


# Each layer its own probability, as in stochastic depth.
class TorchVectorOfRates(Stack):
    def forward(self, x: Tensor) -> Tensor:
        rates = torch.linspace(0.1, 0.5, len(self.layers))
        dropped = (torch.rand(len(self.layers)) < rates).tolist()
        for i in range(len(self.layers)):
            if dropped[i]:
                continue
            x = self.layers[i](x)
        return x


class OneMinusRand(Skips):
    def forward(self, x: Tensor) -> Tensor:
        if 1 - torch.rand(()) < self.p:
            x = self.layer(x)
        return x


class RandToIndex(Picks):
    def forward(self, x: Tensor) -> Tensor:
        k = int(torch.rand(()) * 3)
        return self.experts[k](x)


# As DropPath does it.
class RandFloor(Skips):
    def forward(self, x: Tensor) -> Tensor:
        random_tensor = torch.floor(self.p + torch.rand(()))
        if random_tensor == 0:
            return x
        return self.layer(x)


class PythonToIndex(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return self.experts[int(len(self.experts) * random.random())](x)


class DrawReadTwice(Stack):
    def forward(self, x: Tensor) -> Tensor:
        r = torch.rand(()).item()
        if r < 0.3:
            x = self.layers[0](x)
        if r < 0.6:
            x = self.layers[1](x)
        return self.layers[2](x)


# The draw multiplies, but it has two outcomes only.
class BernoulliTimes(Skips):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x) * torch.bernoulli(torch.tensor(self.p))


class Where(Picks):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(torch.rand(()) < 0.4, self.experts[0](x), self.experts[1](x))


CASES = [
    case("draws/rand", TorchRand, 2),
    case("draws/rand_item", TorchRandItem, 2, default=True),
    case("draws/rand_list", TorchRandList, 2),
    case("draws/rand_reflected", TorchRandReflected, 2),
    case("draws/rand_like_input", TorchRandLikeInput, 2),
    case("draws/float_rand", FloatRand, 2),
    case("draws/bernoulli_tensor", BernoulliTensor, 2),
    case("draws/bernoulli_buffer", BernoulliBuffer, 2),
    case("draws/bernoulli_in_place", BernoulliInPlace, 2),
    case("draws/bernoulli_new", BernoulliNew, 2),
    case("draws/bernoulli_vector", BernoulliVector, 8),
    case("draws/uniform_in_place", UniformInPlace, 2),
    case("draws/uniform_in_place_bounds", UniformInPlaceBounds, 2),
    case("draws/randint_index", RandintIndex, 3),
    case("draws/randint_item", RandintItem, 3),
    case("draws/randint_partly", RandintPartly, 2),
    case("draws/randint_flags", RandintFlags, 8),
    case("draws/multinomial", Multinomial, 3),
    case("draws/multinomial_weights", MultinomialWeights, 3),
    case("draws/multinomial_twice", MultinomialTwice, 9),
    case("draws/multinomial_if", MultinomialIf, 3),
    case("draws/distribution_bernoulli", DistributionBernoulli, 2),
    case("draws/distribution_held", DistributionHeld, 2),
    case("draws/distribution_categorical", DistributionCategorical, 3),
    case("draws/distribution_logits", DistributionLogits, 3),
    case("draws/python_random", PythonRandom, 2),
    case("draws/python_random_imported", PythonRandomImported, 2),
    case("draws/python_choice_of_modules", PythonChoiceOfModules, 3, default=True),
    case("draws/python_choice_of_numbers", PythonChoiceOfNumbers, 3),
    case("draws/python_choice_of_names", PythonChoiceOfNames, 3),
    case("draws/python_choices", PythonChoices, 3),
    case("draws/python_choices_several", PythonChoicesSeveral, 9),
    case("draws/python_randint", PythonRandint, 3),
    case("draws/python_randrange", PythonRandrange, 2),
    case("draws/python_uniform", PythonUniform, 2),
    case("draws/numpy_rand", NumpyRand, 2),
    case("draws/numpy_rand_imported", NumpyRandImported, 2),
    case("draws/numpy_random", NumpyRandom, 2),
    case("draws/numpy_uniform", NumpyUniform, 2),
    case("draws/numpy_randint", NumpyRandint, 3),
    case("draws/numpy_choice", NumpyChoice, 3),
    case("draws/numpy_binomial", NumpyBinomial, 2),
    case("draws/numpy_binomial_two", NumpyBinomialTwo, 3),
    case("draws/numpy_vector", NumpyVector, 8),
    case("draws/torch_vector", TorchVector, 8, default=True),
    case("draws/torch_vector_of_rates", TorchVectorOfRates, 8),
    case("draws/one_minus_rand", OneMinusRand, 2),
    case("draws/rand_to_index", RandToIndex, 3),
    case("draws/rand_floor", RandFloor, 2),
    case("draws/python_to_index", PythonToIndex, 3),
    case("draws/draw_read_twice", DrawReadTwice, 3),
    case("draws/bernoulli_times", BernoulliTimes, 2),
    case("draws/where", Where, 2),
]
