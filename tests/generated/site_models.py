"""Random models of sites: a tree that becomes a module of LayerChoice, OperationChoice and ParameterChoice.

The oracle runs the tree by itself, without any of these.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import rr_export as rr
from tests.generated.oracle import Law, Script, law_of

LAYERS = 4  # of the pool that all places of a tree share
SITES = 5  # at most


@dataclass(frozen=True)
class Node:
    """A place of a tree.

    Args:
        kind: "layer" (number ``index`` of the pool), "series" (one child after another), "repeat" (the child ``index``
            times), or a site: "skip" (its child or nothing), "one of" (its children), "sets" (``len(rows[0])`` sets
            of parameters).
        children: the places inside.
        index: see ``kind``.
        site: the number of a site; a site that stands in two places is one site.
        rows: of a site: the law of its branch, a row for each branch of the step before.
        chain: of a step of a chain: its number, and the step's.
    """

    kind: str
    children: tuple[Node, ...] = ()
    index: int = 0
    site: int = -1
    rows: tuple[tuple[float, ...], ...] = ()
    chain: tuple[int, int] | None = None


@dataclass(frozen=True)
class Tree:
    """A random model of sites.

    Args:
        seed: it writes this tree.
        root: the outermost place.
        sites: all sites, by their number; one that stands nowhere is a step of a chain that is never reached.
    """

    seed: int
    root: Node
    sites: tuple[Node, ...]


@dataclass
class _Planter:
    chance: random.Random
    sites: list[Node] = field(default_factory=list)

    def place(self, depth: int) -> Node:
        kind = self.chance.random()
        if self.sites and kind < 0.12:
            return self.chance.choice(self.sites)  # once more: it has the same route there
        if depth == 0 or kind < 0.25:
            return Node("layer", index=self.chance.randrange(LAYERS))
        if kind < 0.4:
            return Node("series", tuple(self.place(depth - 1) for _ in range(2)))
        if kind < 0.5:
            return Node("repeat", (self.place(depth - 1),), index=2)
        return self.site(depth)

    def site(self, depth: int) -> Node:
        kind = self.chance.choice(("skip", "skip", "one of", "sets"))
        count = 2 if kind == "skip" else self.chance.choice((1, 2, 3, 4)) if kind == "one of" else 3
        children = {"skip": 1, "one of": count, "sets": 0}[kind]
        inside = tuple(self.place(depth - 1) for _ in range(children))
        if len(self.sites) >= SITES:
            return Node("series", inside or (Node("layer"),))
        return self.add(Node(kind, inside, self.chance.randrange(LAYERS), len(self.sites), (self.row(count),)))

    def add(self, node: Node) -> Node:
        self.sites.append(node)
        return node

    def row(self, count: int) -> tuple[float, ...]:
        weights = [self.chance.randrange(1, 8) for _ in range(count)]
        if count > 2 and self.chance.random() < 0.2:
            weights[self.chance.randrange(count)] = 0
        if self.chance.random() < 0.3:
            weights = [1] * count
        return tuple(w / sum(weights) for w in weights)

    def chain(self, number: int) -> list[Node]:
        """Returns the steps of a chain of two branches each."""
        steps: list[Node] = []
        for t in range(self.chance.choice((2, 3))):
            rows = tuple(self.row(2) for _ in range(2 if t else 1))
            kind = self.chance.choice(("skip", "one of"))
            inside = tuple(
                Node("layer", index=self.chance.randrange(LAYERS)) for _ in range(1 if kind == "skip" else 2)
            )
            steps.append(self.add(Node(kind, inside, 0, len(self.sites), rows, (number, t))))
        return steps


def write_tree(seed: int) -> Tree:
    """Returns the tree of a seed."""
    planter = _Planter(random.Random(f"sites {seed}"))
    places = [planter.site(2)]
    if planter.chance.random() < 0.35:
        places += planter.chain(0)
        planter.chance.shuffle(places)
    places += [planter.place(2) for _ in range(planter.chance.randrange(1, 3))]
    return Tree(seed, Node("series", tuple(places)), tuple(planter.sites))


# The module


class _Pool:
    """The layers and parameter sets that all places share; both sides make their own, with equal numbers."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.layers = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()).eval() for _ in range(LAYERS)]
            self.sets = [[nn.Linear(4, 4).eval() for _ in range(3)] for _ in range(LAYERS)]


class _Repeated(nn.Module):
    def __init__(self, inside: nn.Module, times: int) -> None:
        super().__init__()
        self.inside, self.times = inside, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.inside(x) + 0.1
        return x


def module_of(tree: Tree) -> nn.Module:
    """Returns the tree as a module of sites."""
    pool, made = _Pool(), dict[int, nn.Module]()
    chains = {
        node.chain[0]: rr.Markov(
            _first_of(tree, node.chain[0]).rows[0],
            [n.rows for n in tree.sites if n.chain and n.chain[0] == node.chain[0] and n.chain[1]],
        )
        for node in tree.sites
        if node.chain
    }

    def build(node: Node) -> nn.Module:
        if node.kind == "layer":
            return pool.layers[node.index]
        if node.kind == "series":
            return nn.Sequential(*[build(child) for child in node.children])
        if node.kind == "repeat":
            return _Repeated(build(node.children[0]), node.index)
        if node.site not in made:
            made[node.site] = site(node)
        return made[node.site]

    def site(node: Node) -> nn.Module:
        row = node.rows[0]
        policy: rr.Policy
        if node.chain:
            policy = chains[node.chain[0]].step(node.chain[1])
        else:
            policy = rr.Uniform(len(row)) if len(set(row)) == 1 else rr.Categorical(row)
        if node.kind == "sets":
            return rr.ParameterChoice(pool.sets[node.index][0], pool.sets[node.index][1:], policy)
        if node.kind == "one of":
            return rr.OperationChoice([build(child) for child in node.children], policy)
        inside = build(node.children[0])
        return rr.LayerChoice(inside, policy=policy) if node.chain else rr.LayerChoice(inside, keep=row[1])

    return build(tree.root).eval()


def _first_of(tree: Tree, chain: int) -> Node:
    return next(n for n in tree.sites if n.chain == (chain, 0))


# The oracle


def law_of_tree(tree: Tree, x: Tensor) -> Law:
    """Returns the law of what a tree makes of an input, by its own rules: one route for every site in a run."""
    pool = _Pool()

    def run(script: Script) -> Tensor:
        routes: dict[int, int] = {}

        def route(node: Node) -> int:
            if node.site not in routes:
                row = node.rows[0]
                if node.chain and node.chain[1]:
                    before = next(n for n in tree.sites if n.chain == (node.chain[0], node.chain[1] - 1))
                    row = node.rows[route(before)]
                routes[node.site] = script.choose(row)
            return routes[node.site]

        def call(node: Node, x: Tensor) -> Tensor:
            if node.kind == "layer":
                return _apply(pool.layers[node.index], x)
            if node.kind == "repeat":
                for _ in range(node.index):
                    x = call(node.children[0], x) + 0.1
                return x
            if node.kind == "series":
                for child in node.children:
                    x = call(child, x)
                return x
            taken = route(node)
            if node.kind == "sets":
                return _apply(pool.sets[node.index][taken], x)
            if node.kind == "one of":
                return call(node.children[taken], x)
            return call(node.children[0], x) if taken else x

        with torch.no_grad():
            return call(tree.root, x)

    return law_of(run)


def _apply(layer: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = layer(x)
    return found
