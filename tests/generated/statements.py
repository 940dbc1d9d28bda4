"""Statements of random programs: ways to branch, to loop, and to keep what was decided for later."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from tests.generated.draws import Expressions


@dataclass
class Body:
    """The body of a ``forward`` that is being written.

    Args:
        write: writes expressions.
        chance: decides what is written.
        pair: whether forward returns two tensors.
    """

    write: Expressions
    chance: random.Random
    pair: bool
    numbers: count[int] = field(default_factory=lambda: count(1))

    def name(self, stem: str) -> str:
        """Returns a name that is not used yet."""
        return f"{stem}{next(self.numbers)}"

    def result(self, tensor: str) -> str:
        """Returns a return statement."""
        return f"return {tensor}, x.sum() + 1" if self.pair else f"return {tensor}"

    def step(self) -> str:
        """Returns a line that changes x."""
        return f"x = {self.write.tensor()}"

    def asked(self, share: str, lines: int = 1) -> list[str]:
        """Returns an ``if`` on a draw with the probability in a variable, where it can be paid for."""
        if not self.write.affords(math.log2(self.write.grid)):
            return [f"if {share} > 0.45:", *_in([self.step()])]
        found = [f"if {self.write.below(share)}:", *_in([self.step() for _ in range(lines)])]
        return [*found, "else:", *_in([self.step()])] if self.chance.random() < 0.4 else found

    def chosen(self) -> str:
        """Returns a condition that is a draw, where one is left."""
        return self.write.coin()

    def block(self, depth: int, statements: int, *, loop: bool = False) -> list[str]:
        """Returns some statements; ``loop``: they stand in one, and may leave it."""
        lines: list[str] = []
        for _ in range(statements):
            if loop and self.chance.random() < 0.2:
                lines += [f"if {self.write.condition()}:", *_in([self.write.one(("break", "continue"))])]
            elif depth == 0 or self.chance.random() < 0.2:
                lines.append(self.step())
            else:
                lines += self.chance.choice(STATEMENTS)(self, depth - 1)
        return lines


def write_body(write: Expressions, chance: random.Random) -> list[str]:
    """Returns the lines of a ``forward``."""
    body = Body(write, chance, pair=chance.random() < 0.15)
    lines = body.block(2, chance.randrange(2, 5))
    return [*lines, body.result(write.tensor() if chance.random() < 0.3 else "x")]


def _in(lines: list[str]) -> list[str]:
    return [textwrap.indent(line, "    ") for line in lines]


def branches(body: Body, depth: int) -> list[str]:
    """Writes if, elif, else."""
    lines = [f"if {body.write.condition()}:", *_in(body.block(depth, 1))]
    if body.chance.random() < 0.4:
        lines += [f"elif {body.write.condition()}:", *_in(body.block(depth, 1))]
    if body.chance.random() < 0.6:
        lines += ["else:", *_in(body.block(depth, 1))]
    return lines


def early_return(body: Body, depth: int) -> list[str]:
    """Writes a return before the end."""
    return [f"if {body.write.condition()}:", *_in([*body.block(depth, 1), body.result(body.write.tensor())])]


def for_loop(body: Body, depth: int) -> list[str]:
    """Writes a loop over layers, perhaps with an else."""
    layer, i = body.name("layer"), body.name("i")
    head = body.write.one(
        (
            f"for {layer} in self.layers:",
            f"for {layer} in (self.b, self.a):",
            f"for {i}, {layer} in enumerate(self.layers):",
            f"for {layer} in reversed(self.layers):",
            f"for {i}, {layer} in zip(range(2), self.layers):",
            f"for {layer} in self.layers[:2]:",
        )
    )
    body.write.times *= 3
    inner = [*body.block(min(depth, 1), 1, loop=True), f"x = x + {layer}(x)"]
    if body.chance.random() < 0.5:
        leaves = body.write.one(("break", "continue"))
        inner = [f"if {body.write.condition(0)}:", *_in([leaves]), *inner]
    body.write.times //= 3
    lines = [head, *_in(inner)]
    return [*lines, "else:", *_in(body.block(depth, 1))] if body.chance.random() < 0.35 else lines


def loop_in_else(body: Body, depth: int) -> list[str]:
    """Writes a loop whose inner loop's else leaves it."""
    i, j = body.name("i"), body.name("j")
    body.write.times *= 4
    first = body.write.condition(0)
    leaves = body.write.one(("break", "continue", "pass"))
    body.write.times //= 4
    return [
        f"for {i} in range(2):",
        f"    for {j} in range(2):",
        f"        if {first}:",
        "            break",
        f"        {body.step()}",
        "    else:",
        f"        x = x * 0.5 + {i}",
        f"        {leaves}",
        f"    x = self.layers[{i}](x)",
    ]


def while_loop(body: Body, depth: int) -> list[str]:
    """Writes a loop with a bound that stops at random."""
    k = body.name("k")
    turns = body.chance.choice((2, 3))
    body.write.times *= turns
    condition, step = body.write.coin(), body.step()
    body.write.times //= turns
    if body.chance.random() < 0.5:
        return [f"{k} = 0", f"while {k} < {turns} and {condition}:", *_in([f"{k} += 1", step])]
    lines = [f"{k} = 0", "while True:", *_in([f"{k} += 1", f"if {k} > {turns} or {condition}:", "    break", step])]
    return [*lines, f"x = x + 0.1 * {k}"]


def kept_layers(body: Body, depth: int) -> list[str]:
    """Writes a list of layers that grows at random, and is run."""
    kept, layer = body.name("kept"), body.name("layer")
    body.write.times *= 3
    coin = body.write.coin()
    body.write.times //= 3
    if body.chance.random() < 0.5:
        return [
            f"{kept} = [{layer} for {layer} in self.layers if {coin}]",
            f"for {layer} in {kept}:",
            f"    x = x + {layer}(x)",
        ]
    return [
        f"{kept} = []",
        f"for {layer} in self.layers:",
        f"    if {coin}:",
        f"        {kept}.append({layer})",
        f"x = x + 0.1 * len({kept})",
        f"for {layer} in {kept}:",
        f"    x = torch.tanh({layer}(x))",
    ]


def sum_of_kept(body: Body, depth: int) -> list[str]:
    """Writes a sum of the results that were kept."""
    h, layer = body.name("h"), body.name("layer")
    body.write.times *= 3
    coin = body.write.coin()
    body.write.times //= 3
    return [
        f"{h} = None",
        f"for {layer} in self.layers:",
        f"    if {coin}:",
        f"        {h} = {layer}(x) if {h} is None else {h} + {layer}(x)",
        f"x = x if {h} is None else {h}",
    ]


def state(body: Body, depth: int) -> list[str]:
    """Writes a probability that a branch sets, kept in one of many places, and a draw that reads it."""
    a, b = body.write.share(), body.write.share()
    box, other = body.name("box"), body.name("other")
    places = (
        ([f"{box} = {a}"], box, box),
        ([f"{box} = [{a}]"], f"{box}[0]", f"{box}[0]"),
        ([f'{box} = {{"p": {a}}}'], f'{box}["p"]', f'{box}["p"]'),
        ([f"{box} = Box(p={a})"], f"{box}.p", f"{box}.p"),
        ([f"{box} = Slots({a})"], f"{box}.p", f"{box}.p"),
        ([f"self.p = {a}"], "self.p", "self.p"),
        ([f"self.a.p = {a}"], "self.a.p", "self.a.p"),
        ([f"{box} = np.array([{a}, 0.5])"], f"{box}[0]", f"float({box}[0])"),
        ([f'{box} = {{"steps": [[0, {a}], [1, 0.5]]}}'], f'{box}["steps"][0][1]', f'{box}["steps"][0][1]'),
        ([f"{box} = [{a}]", f"{other} = {box}"], f"{other}[0]", f"{box}[0]"),
        ([f"{box} = Box(p={a})", f"{other} = [{box}, Box()]"], f"{other}[0].p", f"{box}.p"),
        ([f"Net.p = {a}"], "Net.p", "self.p"),
    )
    if body.chance.random() < 0.06:
        return alias(body, depth)
    start, written, read = body.chance.choice(places)
    lines = [*start, f"if {body.chosen()}:", f"    {written} = {b}"]
    if body.chance.random() < 0.6:
        lines.append(f"    {body.step()}")
    return [*lines, *body.asked(read)]


def alias(body: Body, depth: int) -> list[str]:
    """Writes a change through one of two names."""
    p, q, r = (body.name(n) for n in "pqr")
    a, b, c = (body.write.share() for _ in range(3))
    lines = [f"{p}, {q} = [{a}], [{b}]", f"{r} = {p} if {body.chosen()} else {q}", f"{r}[0] = {c}"]
    return [*lines, *body.asked(f"{p}[0]")]


def chain(body: Body, depth: int) -> list[str]:
    """Writes a decision whose probability is set by the one before."""
    p, layer = body.name("p"), body.name("layer")
    body.write.times *= 3
    pays = body.write.affords(math.log2(body.write.grid))
    body.write.times //= 3
    if not pays:
        return [body.step()]
    stays, goes = body.write.share(), body.write.share()
    return [
        f"{p} = {body.write.share()}",
        f"for {layer} in self.layers:",
        f"    if {body.write.below(p)}:",
        f"        x = {layer}(x)",
        f"        {p} = {stays}",
        "    else:",
        f"        {p} = {goes}",
    ]


def closure(body: Body, depth: int) -> list[str]:
    """Writes a function in the function, which may change a variable of it."""
    step, k = body.name("step"), body.name("k")
    coin = body.write.coin()
    return [
        f"{k} = 0",
        f"def {step}(v, scale=0.5):",
        f"    nonlocal {k}",
        f"    if {coin}:",
        f"        {k} += 1",
        "        return self.a(v) * scale",
        f"    return v + {k}",
        f"x = {step}({step}.__call__(x), scale=0.7)" if body.chance.random() < 0.1 else f"x = {step}(x, 0.7)",
        f"x = x + {k} * 0.3",
    ]


def partial(body: Body, depth: int) -> list[str]:
    """Writes functools.partial or a lambda, chosen at random."""
    f = body.name("f")
    forms = (
        [f"{f} = functools.partial(self.mix, layer=self.b, scale=0.25 if {body.chosen()} else 0.75)", f"x = {f}(x)"],
        [f"{f} = functools.partial(self.deep, depth=1)", f"x = {f}(x, p={body.write.share()})"],
    )
    if body.write.affords(math.log2(body.write.grid)) and body.chance.random() < 0.5:
        return forms[1]
    if body.chance.random() < 0.5:
        return [f"{f} = self.a if {body.chosen()} else (lambda v: self.b(v) * 2)", f"x = {f}(x)"]
    return forms[0]


def drawn_count(body: Body, depth: int) -> list[str]:
    """Writes a drawn number as an index, the length of a slice or of a loop, a factor, or a key."""
    k, layer = body.name("k"), body.name("layer")
    forms = (
        [f"x = self.layers[{k}](x)"],
        [f"for {layer} in self.layers[:{k}]:", f"    x = {layer}(x)"],
        [f"for _ in range({k}):", f"    {body.step()}"],
        [f"x = x + 0.2 * {k}"],
        [f"x = {{0: self.a, 1: self.b, 2: self.c}}[{k}](x)"],
        [f"x = (self.a, self.b, self.layers[0])[{k} - 1](x)"],
        [f"if {k} > 0 and {body.chosen()}:", *_in([body.step()]), f"elif {k} == 2:", *_in([body.step()])],
        [f'x = self.ops["u" if {k} == 1 else "v"](x)'],
        [f"x = x[:, [{k}, 0, 1, 3]]"],
    )
    return [f"{k} = {body.write.number(3)}", *body.chance.choice(forms)]


def match(body: Body, depth: int) -> list[str]:
    """Writes match on a drawn number."""
    return [
        f"match {body.write.number(3)}:",
        "    case 0:",
        *_in(_in(body.block(depth, 1))),
        "    case 1 | 3:",
        *_in(_in([body.step()])),
        "    case _:",
        *_in(_in(["pass"] if body.chance.random() < 0.3 else [body.step()])),
    ]


def caught(body: Body, depth: int) -> list[str]:
    """Writes an exception that is raised on some paths, and caught."""
    lines = [
        "try:",
        f"    if {body.chosen()}:",
        f"        raise {body.write.one(('Stop', 'ValueError', 'Stop()'))}",
        f"    {body.step()}",
        "except (Stop, ValueError):",
        f"    {body.step()}",
    ]
    return [*lines, "finally:", "    x = x + 0.05"] if body.chance.random() < 0.3 else lines


def augmented(body: Body, depth: int) -> list[str]:
    """Writes augmented assignments of numbers and tensors that are the program's own."""
    k, h = body.name("k"), body.name("h")
    return [
        f"{k} = 1",
        f"{h} = {body.write.tensor()} * 1.0",
        f"if {body.chosen()}:",
        f"    {k} {body.write.one(('+= 2', '*= 3', '-= 1'))}",
        f"{h} {body.write.one(('+=', '*=', '-='))} {body.write.one((k, 'x', 'self.a(x)'))}",
        f"x = torch.tanh({h})",
    ]


def numbers(body: Body, depth: int) -> list[str]:
    """Writes one drawn number that is compared several times."""
    u = body.name("u")
    if not body.write.affords(math.log2(body.write.grid)):
        return [body.step()]
    lines = [f"{u} = {body.write.uniform()}", f"if {u} < {body.write.share()}:", *_in([body.step()])]
    if body.chance.random() < 0.5:
        return [*lines, f"elif {u} < {body.write.share()}:", *_in([body.step()]), "else:", *_in([body.step()])]
    return [*lines, f"if {u} > {body.write.share()}:", *_in(body.block(depth, 1))]


def factor(body: Body, depth: int) -> list[str]:
    """Writes a draw that multiplies."""
    if not body.write.affords(1):
        return [body.step()]
    p = body.write.share()
    return [
        body.write.one(
            (
                f"x = x + self.a(x) * torch.bernoulli(torch.tensor({p}))",
                f"x = x + self.b(x) * int(torch.bernoulli(torch.tensor({p})).item())",
                "x = x * random.choice((0.5, 1.5)) + 0.1",
                f"x = self.a(x) * torch.bernoulli(torch.tensor([{p}])) + x",
            )
        )
    ]


def conditional(body: Body, depth: int) -> list[str]:
    """Writes conditional and short-circuit expressions."""
    flag, mode = body.name("flag"), body.name("mode")
    forms: tuple[Callable[[], list[str]], ...] = (
        lambda: [f"x = {body.write.tensor()} if {body.write.condition()} else {body.write.tensor()}"],
        lambda: [f"{flag} = {body.write.condition()}", body.step(), f"if {flag}:", *_in([body.step()])],
        lambda: [f'{mode} = "u" if {body.chosen()} else "v"', f"x = self.ops[{mode}](x)"],
        lambda: [f"if ({flag} := {body.chosen()}):", *_in([body.step()]), f"if not {flag}:", *_in([body.step()])],
        lambda: [f"if any([{body.chosen()}, {body.chosen()}]):", *_in([body.step()])],
        lambda: [f"if all({flag} for {flag} in ({body.chosen()}, {body.chosen()})):", *_in([body.step()])],
        lambda: [
            f"{flag}, {mode} = self.a, self.b",
            f"if {body.chosen()}:",
            f"    {flag}, {mode} = {mode}, {flag}",
            f"x = {flag}(torch.relu({mode}(x)))",
        ],
    )
    return body.chance.choice(forms)()


def remembered(body: Body, depth: int) -> list[str]:
    """Writes a list or counter of what was decided, and a decision on it."""
    seen = body.name("seen")
    i = body.name("i")
    body.write.times *= 2
    coin = body.write.coin()
    body.write.times //= 2
    kind = body.chance.random()
    if kind < 0.4:
        return [
            f"{seen} = []",
            f"for {i} in range(2):",
            f"    if {coin}:",
            f"        {seen}.append({i})",
            f"if len({seen}) == 1:",
            *_in([body.step()]),
            f"x = x + 0.1 * sum({seen})",
        ]
    if kind < 0.7:
        return [
            f"{seen} = 0",
            f"for {i} in range(2):",
            f"    {seen} += int(bool({coin}))",
            f"if {seen} == 2 or {seen} == 0:",
            *_in([body.step()]),
        ]
    return [
        f"{seen} = [bool({coin}) for {i} in range(2)]",
        f"if not any({seen}):",
        f"    {seen}[0] = True",
        f"for {i}, layer in zip({seen}, self.layers):",
        f"    if {i}:",
        "        x = layer(x)",
    ]


def iterator(body: Body, depth: int) -> list[str]:
    """Writes an iterator that a branch advances."""
    it = body.name("it")
    return [
        f"{it} = iter(self.layers)",
        f"x = next({it})(x)",
        f"if {body.chosen()}:",
        f"    x = next({it})(x)",
        f"x = next({it})(x)",
    ]


def region(body: Body, depth: int) -> list[str]:
    """Writes statements under a context manager."""
    return [body.write.one(("with torch.no_grad():", "with torch.enable_grad():")), *_in(body.block(depth, 1))]


STATEMENTS: tuple[Callable[[Body, int], list[str]], ...] = (
    *(branches, branches, branches, early_return, early_return, for_loop, for_loop, loop_in_else, while_loop),
    *(kept_layers, sum_of_kept, state, state, state, chain, chain, closure, partial, drawn_count, drawn_count),
    *(match, caught, augmented, numbers, numbers, factor, conditional, conditional, remembered, iterator, region),
)
