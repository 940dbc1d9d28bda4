"""The plans of the known-answer vectors: chains for markov.json, nested sites for paths.json, profiles.json's laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reference import Law, Plan, Profile, Site, mix64


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


def with_laws(plan: Plan, name: str, tables: tuple[Sequence[Law], ...], laws: Sequence[tuple[int, ...]]) -> Profile:
    """Returns a profile by the (table,) of every site, or its (table, chain, step)."""
    sites = [
        replace(site, table=table, chain=chain[0] if chain else None, step=chain[1] if chain else 0)
        for site, (table, *chain) in zip(plan.sites, laws, strict=True)
    ]
    return Profile(name, plan, law=Plan(name, tables, tuple(sites)))


def profiles() -> list[Profile]:
    """Returns the profiles of profiles.json: chains where the plan has none, none where it has some, and paths."""
    layers, nested, places, chained = (
        next(plan for plan in trees() if plan.name == name)
        for name in ("twelve layers", "nested", "called from several places", "a chain through branches")
    )
    half, tenth = [[0.5, 0.5]], [[0.9, 0.1]]
    two, three = ([0.3, 0.7], [0.9, 0.1]), ([0.1, 0.2, 0.7], [0.6, 0.0, 0.4])
    to_four = ([0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.0, 0.5, 0.0, 0.5])
    thirds = [[1 / 3, 1 / 3, 1 / 3]]
    to_two = ([0.25, 0.75], [1.0, 0.0], [0.5, 0.5])
    return [
        with_laws(layers, "half", (half,), [(0,)] * 12),
        with_laws(layers, "one chain, backwards", (half, two), [*((1, 0, t) for t in range(11, 0, -1)), (0, 0, 0)]),
        with_laws(layers, "always and never", ([[1.0, 0.0]], [[0.0, 1.0]]), [(i % 2,) for i in range(12)]),
        Profile("all", layers, path=(1,) * 12),
        with_laws(nested, "even", (thirds, half, [[0.25] * 4]), [(0,), (1,), (0,), (2,), (1,)]),
        with_laws(
            nested,
            "two chains through branches",
            (thirds, to_four, half, ([0.2, 0.3, 0.5], [0.5, 0.5, 0.0]), tenth),
            [(0, 0, 0), (2, 1, 0), (3, 1, 1), (1, 0, 1), (4,)],
        ),
        Profile("short", nested, path=(0, -1, -1, -1, 0)),
        Profile("long", nested, path=(1, 1, 2, -1, 1)),
        with_laws(places, "a chain", (thirds, to_two, three, half), [(0, 7, 0), (1, 7, 1), (2, 7, 2), (3,)]),
        Profile("inner", places, path=(2, 0, 1, 1)),
        with_laws(chained, "no chain", (thirds, half), [(0,), (1,), (1,), (1,)]),
        with_laws(chained, "another chain", (thirds, to_two, two, half), [(0, 0, 0), (3,), (2, 0, 2), (1, 0, 1)]),
        Profile("none of the steps", chained, path=(0, -1, -1, 1)),
    ]


Menu = tuple[tuple[str, float, float] | None, ...]


def menus() -> dict[str, Menu]:
    """Returns menus by name: name, cost and quality of each profile, None for one that was not measured."""
    return {
        "rising": (("low", 0.25, 0.7), ("middle", 0.5, 0.8), ("high", 1.0, 0.9)),
        "falling, in another order": (("high", 0.9, 0.5), ("low", 0.1, 0.8), ("middle", 0.3, 0.7)),
        "equal quality: the cheapest": (("dear", 0.6, 0.8), ("cheap", 0.4, 0.8), ("dearer", 0.7, 0.8)),
        "equal in both: the first": (("worse", 0.2, 0.1), ("one", 0.4, 0.8), ("two", 0.4, 0.8)),
        "not all were measured": (None, ("only", 0.5, -3.0), None),
        "nothing was measured": (None, None),
        "empty": (),
        "negative quality": (("a", 0.5, -2.0), ("b", 0.5, -1.0), ("c", 0.25, -1.5)),
        "above 1": (("ensemble", 4.0, 0.95), ("whole", 1.0, 0.9)),
        "for nothing": (("free", 0.0, 0.1), ("whole", 1.0, 0.9)),
        "next to each other": (("a", 0.1, 0.1), ("b", 0.1 + 2.0**-56, 0.1 + 2.0**-56)),
    }


def budgets(menu: Menu) -> list[float]:
    """Returns budgets on either side of every cost, and far away."""
    costs = [row[1] for row in menu if row is not None]
    near = [cost + step for cost in costs for step in (-(2.0**-20), 0.0, 2.0**-20)]
    return sorted({b for b in [2.0**-30, 0.05, 1.0, 1e9, *near] if b > 0})
