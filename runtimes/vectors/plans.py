"""The plans of the known-answer vectors: chains for markov.json, nested sites for paths.json."""

from __future__ import annotations

from collections.abc import Sequence

from reference import Law, Plan, Site, mix64


def chain(*, table_of_step: Sequence[int], number: int = 0) -> tuple[Site, ...]:
    """Returns the sites of a chain in step order."""
    return tuple(Site(table, chain=number, step=t) for t, table in enumerate(table_of_step))


def wide_table(rows: int, branches: int, shift: int) -> tuple[Law, ...]:
    """Returns rows of multiples of 1/64 that differ and sum to 1, some of them 0."""
    table = []
    for row in range(rows):
        counts = [0] * branches
        for ball in range(64):
            counts[mix64(shift + row * 64 + ball) % branches] += 1
        table.append([count / 64 for count in counts])
    return tuple(table)


def chains() -> list[Plan]:
    """Returns the plans of markov.json."""
    two = ([0.1, 0.9], [0.8, 0.2])
    three = ([0.5, 0.3, 0.2], [0.1, 0.0, 0.9], [0.0, 1.0, 0.0])
    first = Site(0, chain=0, step=0)
    return [
        Plan("one step", ([[0.3, 0.7]],), (first,)),
        Plan("two branches, five steps", ([[0.3, 0.7]], two), chain(table_of_step=[0, 1, 1, 1, 1])),
        Plan("two branches, twelve steps", ([[0.5, 0.5]], two), chain(table_of_step=[0, *[1] * 11])),
        Plan("three branches, twelve steps", ([[0.2, 0.3, 0.5]], three), chain(table_of_step=[0, *[1] * 11])),
        Plan(
            "three branches in a circle",
            ([[1 / 3, 1 / 3, 1 / 3]], ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])),
            chain(table_of_step=[0, *[1] * 5]),
        ),
        Plan(
            "other numbers of branches at every step",
            ([[0.25, 0.75]], ([0.2, 0.3, 0.5], [0.6, 0.3, 0.1]), ([1.0], [1.0], [1.0]), ([0.1, 0.2, 0.3, 0.4],)),
            chain(table_of_step=[0, 1, 2, 3]),
        ),
        Plan(
            "two chains and a site, steps not in site order",
            ([[0.3, 0.7]], two, [[0.2, 0.3, 0.5]], three, [[0.25, 0.25, 0.5]]),
            (
                Site(1, chain=0, step=2),
                Site(3, chain=1, step=1),
                Site(0, chain=0, step=0),
                Site(4),
                Site(2, chain=1, step=0),
                Site(1, chain=0, step=1),
            ),
        ),
        Plan(
            "thirty-four branches",
            (wide_table(1, 34, 1), wide_table(34, 34, 10**6)),
            chain(table_of_step=[0, 1, 1, 1, 1]),
        ),
        Plan(
            "three, thirty-five, two branches",
            ([[0.2, 0.3, 0.5]], wide_table(3, 35, 7), wide_table(35, 2, 99)),
            chain(table_of_step=[0, 1, 2]),
        ),
    ]


def trees() -> list[Plan]:
    """Returns the plans of paths.json."""
    layer, three, four = [[0.2, 0.8]], [[0.25, 0.25, 0.5]], [[0.1, 0.2, 0.3, 0.4]]
    two = ([0.3, 0.7], [0.9, 0.1])
    return [
        Plan("one layer", (layer,), (Site(0),)),
        Plan("one branch", ([[1.0]],), (Site(0),)),
        Plan("twelve layers", (layer,), (Site(0),) * 12),
        Plan(
            "nested",
            (three, layer, four),
            (
                Site(0),
                Site(1, calls=(((0, 1),),)),
                Site(0, calls=(((0, 1), (1, 1)),)),
                Site(2, calls=(((0, 2),),)),
                Site(1),
            ),
        ),
        Plan(
            "called from several places",
            (three, layer),
            (
                Site(0),
                Site(1, calls=(((0, 0),), ((0, 2), (3, 1)))),
                Site(0, calls=((), ((0, 1),))),
                Site(1, calls=(((0, 2),),)),
            ),
        ),
        Plan(
            "a chain through branches",
            (three, [[0.4, 0.6]], two),
            (
                Site(0),
                Site(1, calls=(((0, 1),),), chain=0, step=0),
                Site(2, calls=(((0, 2),),), chain=0, step=1),
                Site(2, chain=0, step=2),
            ),
        ),
        Plan(
            "five deep",
            (layer,),
            tuple(Site(0, calls=(tuple((outer, 1) for outer in range(depth)),)) for depth in range(5)),
        ),
        Plan("one is never called", (layer,), (Site(0), Site(0, calls=()))),
        Plan("a thousand", (layer, three, [[1 / 3, 2 / 3]], [[1 / 5] * 5]), tuple(map(Site, range(4))), 250),
    ]
