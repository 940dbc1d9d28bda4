"""Writes the known-answer vectors of SPEC.md beside this file: the cases, answered by `reference.py`.

python runtimes/vectors/generate.py           # writes the files
python runtimes/vectors/generate.py --check   # exits with 1 where a file differs from what would be written
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plans import budgets, chains, menus, profiles, trees
from reference import (
    GRID,
    SEEDS,
    WORD,
    Law,
    Profile,
    antithetic_draws,
    best_within,
    bits_of,
    designed_routes,
    draws,
    fed_by,
    latin_draws,
    mix64,
    route_of,
    routes_of,
    seed_of,
    stratified_numbers,
    taken_of,
    thresholds,
)
from writing import DIGITS, case_of, free, some_path, text_of, written_plan

FORMAT, VERSION = "rr.vectors", 1
FOLDER = Path(__file__).resolve().parent


# The files.


def seeds() -> list[int]:
    """Returns seeds at the borders of number types, and arbitrary large ones."""
    borders = [0, 1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**53 + 1, 2**62, SEEDS - 1]
    return borders + [mix64(n) % SEEDS for n in range(100, 112)]


def draws_file() -> dict[str, Any]:
    """Returns seed -> draws."""

    def digest(numbers: Sequence[int]) -> str:
        return hashlib.sha256(b"".join(struct.pack("<f", n / GRID) for n in numbers)).hexdigest()

    cases = []
    for seed in seeds():
        all_draws = draws(seed, 1000)
        cases.append(
            {
                "seed": str(seed),
                "key": f"{mix64(seed):016x}",
                "draws": all_draws[:12],
                "sha256": {str(sites): digest(all_draws[:sites]) for sites in (1, 2, 3, 12, 64, 1000)},
            }
        )
    return {
        "description": "A seed (decimal) gives the draws n * 2^-24. key: mix64(seed), hexadecimal. draws: n of the "
        "first 12 sites; the draws of fewer sites are the first of them. sha256: by the number of sites, of all draws "
        "as float32 in little-endian order. full: n of 1000 sites.",
        "cases": cases,
        "full": [{"seed": str(seed), "draws": draws(seed, 1000)} for seed in (7, SEEDS - 1)],
    }


def laws() -> dict[str, Law]:
    """Returns laws that are accepted, by name."""
    least = 2.0**-24
    return {
        "one branch": [1.0],
        "halves": [0.5, 0.5],
        "tenths, two": [0.1, 0.9],
        "kept with .8": [1 - 0.8, 0.8],
        "three tenths": [0.1, 0.2, 0.7],
        "thirds": [1 / 3, 1 / 3, 1 / 3],
        "quarters and a half": [0.25, 0.25, 0.5],
        "ten tenths": [0.1] * 10,
        "uniform 17": [1 / 17] * 17,
        "uniform 33": [1 / 33] * 33,
        "uniform 64": [1 / 64] * 64,
        "rising 64": [2 * (k + 1) / (64 * 65) for k in range(64)],
        "zero first": [0.0, 1.0],
        "zero last": [1.0, 0.0],
        "zero in the middle": [0.5, 0.0, 0.5],
        "zeros at both ends": [0.0, 0.0, 0.3, 0.0, 0.7, 0.0, 0.0],
        "ten tenths, then zero: 1 although their sum in float64 is not": [*[0.1] * 10, 0.0],
        "thirds, then zeros": [1 / 3, 1 / 3, 1 / 3, 0.0, 0.0],
        "negative zero": [-0.0, 1.0],
        "least first": [least, 1 - least],
        "least last": [1 - least, least],
        "least in the middle": [0.5, least, 0.5 - least],
        "least after a threshold of finer steps": [2.0**-26 + 2.0**-24, least, 1 - 2 * least - 2.0**-26],
        "sum above 1 by 1e-7": [0.5, 0.25, 0.2500001],
        "sum below 1 by 1e-7": [0.5, 0.25, 0.2499999],
        "sum above 1 by 9e-7": [0.3, 0.3, 0.4000009],
        "sum below 1 by 9e-7": [0.3, 0.3, 0.3999991],
        "tie, down to even": [0.5 + 2.0**-25, 0.5 - 2.0**-25],
        "tie, up to even": [0.5 + 3 * 2.0**-25, 0.5 - 3 * 2.0**-25],
        "tie below a half, down to even": [0.25 + 2.0**-26, 0.75 - 2.0**-26],
        "tie below a half, up to even": [0.25 + 3 * 2.0**-26, 0.75 - 3 * 2.0**-26],
        "just above a tie": [0.5 + 2.0**-25 + 2.0**-40, 0.5 - 2.0**-25 - 2.0**-40],
        "just below a tie": [0.5 + 3 * 2.0**-25 - 2.0**-40, 0.5 - 3 * 2.0**-25 + 2.0**-40],
    }


def refused_laws() -> dict[str, Law]:
    """Returns laws that are errors, by name."""
    return {
        "none": [],
        "negative": [-0.1, 1.1],
        "barely negative": [-1e-9, 1.0],
        "not a number": [math.nan, 1.0],
        "infinite": [math.inf, 0.0],
        "less than 2^-24": [2.0**-25, 1 - 2.0**-25],
        "just less than 2^-24": [1 - 2.0**-24 * (1 - 2.0**-20), 2.0**-24 * (1 - 2.0**-20)],
        "smallest number": [5e-324, 1.0],
        "2^-24 between two thresholds that round to one": [0.5 + 3 * 2.0**-25, 2.0**-24, 0.5 - 5 * 2.0**-25],
        "sum above 1 by 1.1e-6": [0.5, 0.5000011],
        "sum below 1 by 1.1e-6": [0.5, 0.4999989],
        "sum of 0": [0.0, 0.0],
        "sum of 2": [1.0, 1.0],
        "one branch, half": [0.5],
    }


def thresholds_file() -> dict[str, Any]:
    """Returns probabilities -> thresholds."""
    cases = []
    for name, law in laws().items():
        found = thresholds(law)
        cases.append(
            {
                "name": name,
                "probabilities": [repr(p) for p in law],
                "thresholds": [float(t) for t in found],
                "bits": [bits_of(t) for t in found],
            }
        )
    return {
        "description": "Probabilities (float64 as decimal text) give float32 thresholds: as numbers, and as their bits "
        "in hexadecimal. No case lies so close to the middle of two float32 numbers that the order of a float64 sum "
        "could matter. refused: laws that an exporter does not accept.",
        "cases": cases,
        "refused": [{"name": name, "probabilities": [repr(p) for p in law]} for name, law in refused_laws().items()],
    }


def routes_file() -> dict[str, Any]:
    """Returns draws on either side of every threshold -> routes."""
    cases = []
    for name, law in laws().items():
        row = thresholds(law)
        edges = {0, GRID - 1}
        for threshold in row:
            whole = threshold * GRID
            edges |= {math.ceil(whole) - 1, math.floor(whole), math.ceil(whole), math.floor(whole) + 1}
        chosen = sorted(n for n in edges if 0 <= n < GRID)
        cases.append(
            {
                "name": name,
                "probabilities": [repr(p) for p in law],
                "bits": [bits_of(t) for t in row],
                "draws": chosen,
                "routes": [route_of(row, n) for n in chosen],
            }
        )
    return {
        "description": "The draw n * 2^-24 takes the route, by the thresholds (bits of float32, hexadecimal) of these "
        "probabilities. The draws are 0, the largest, and for every threshold the largest below it, itself where it "
        "is a draw, and the next above.",
        "cases": cases,
    }


def markov_file() -> dict[str, Any]:
    """Returns chains, seeds and asked paths -> latent routes."""
    cases, plans = [], chains()
    for number, plan in enumerate(plans):
        cases += [case_of(plan, seed, free(plan)) for seed in (0, 1, 7, SEEDS - 1, mix64(number) % SEEDS)]
        for forced in range(len(plan.sites)):  # one site of the chain, to its first and last branch
            for route in (0, plan.branches(forced) - 1):
                asked = free(plan)
                asked[forced] = route
                cases.append(case_of(plan, 7 + forced, asked))
        cases += [case_of(plan, 11 * n, some_path(plan, 100 * number + n, share=5)) for n in range(4)]
        cases.append(case_of(plan, 5, some_path(plan, number, share=10)))
    return {
        "description": "A plan, a seed (decimal) and an asked path give the latent routes and the path taken. Paths "
        "have one character per site: - is -1, else the route in base 36. A site's policy is its table; after route j "
        "of the step before row j holds. Routes that the policy never draws are forced too.",
        "plans": [written_plan(plan) for plan in plans],
        "cases": cases,
    }


def paths_file() -> dict[str, Any]:
    """Returns plans, seeds and asked paths -> latent routes and path taken."""
    cases, clipped, plans = [], [], trees()
    for number, plan in enumerate(plans):
        if plan.repeat > 1:
            cases += [case_of(plan, 7, free(plan)), case_of(plan, SEEDS - 1, some_path(plan, 1, share=5))]
            continue
        cases += [case_of(plan, seed, free(plan)) for seed in (0, 1, 7, 2**53 + 1, SEEDS - 1)]
        cases += [case_of(plan, mix64(n) % SEEDS, some_path(plan, 50 * number + n, share=4)) for n in range(4)]
        cases += [case_of(plan, 3, some_path(plan, 50 * number + n, share=10)) for n in range(10, 14)]
        # what was taken, fed back with another seed, is taken again
        fed_back = [[-1 if c == "-" else DIGITS.index(c) for c in case["taken"]] for case in cases[-13:-9]]
        cases += [case_of(plan, 99, asked) for asked in fed_back]
        for n in range(2):
            asked = [
                [-(2**63), -2, 2**63 - 1, plan.branches(i), 0][(mix64(1000 * number + n) + i) % 5]
                for i in range(len(plan.sites))
            ]
            latent = routes_of(plan, draws(n, len(asked)), asked)
            clipped.append(
                {
                    "plan": plan.name,
                    "seed": str(n),
                    "path": [str(route) for route in asked],
                    "routes": text_of(latent),
                    "taken": text_of(taken_of(plan, latent)),
                }
            )
    return {
        "description": "A plan, a seed (decimal) and an asked path give the latent routes and the path taken. Paths "
        "have one character per site: - is -1, else the route in base 36. A plan with repeat = n has its sites n times "
        "over. clipped: what a graph makes of asked routes (decimal) that a runtime refuses.",
        "plans": [written_plan(plan) for plan in plans],
        "cases": cases,
        "clipped": clipped,
    }


def written_profile(profile: Profile) -> dict[str, Any]:
    """Returns a profile as JSON has it."""
    if profile.law is None:
        return {"name": profile.name, "plan": profile.plan.name, "path": text_of(profile.path)}
    law = written_plan(profile.law)
    sites = [{key: row[key] for key in ("table", "chain", "step")} for row in law["sites"]]
    return {"name": profile.name, "plan": profile.plan.name, "tables": law["tables"], "sites": sites}


def profile_case(profile: Profile, seed: int, asked: Sequence[int]) -> dict[str, Any]:
    """Returns what a seed and an asked path give under a profile."""
    drawn = draws(seed, len(asked))
    fed = fed_by(profile, drawn, asked)
    taken = taken_of(profile.plan, routes_of(profile.plan, drawn, fed))
    told = {"plan": profile.plan.name, "profile": profile.name, "seed": str(seed)}
    return {**told, "path": text_of(asked), "fed": text_of(fed), "taken": text_of(taken)}


def profiles_file() -> dict[str, Any]:
    """Returns profiles, seeds and asked paths -> fed routes and path taken; menus and budgets -> the profile."""
    cases, made = [], profiles()
    for number, profile in enumerate(made):
        plan = profile.plan
        cases += [profile_case(profile, seed, free(plan)) for seed in (0, 1, 7, SEEDS - 1, mix64(number) % SEEDS)]
        for forced in range(min(len(plan.sites), 5)):  # one site, to its first and last branch
            for route in (0, plan.branches(forced) - 1):
                asked = free(plan)
                asked[forced] = route
                cases.append(profile_case(profile, 20 + forced, asked))
        cases += [profile_case(profile, 11 * n, some_path(plan, 100 * number + n, share=5)) for n in range(4)]
        cases.append(profile_case(profile, 5, some_path(plan, number, share=10)))
    plans = {profile.plan.name: profile.plan for profile in made}
    chosen = []
    for name, menu in menus().items():
        rows = [None if row is None else dict(zip(("name", "cost", "quality"), row, strict=True)) for row in menu]
        found = [{"budget": budget, "profile": best_within(menu, budget)} for budget in budgets(menu)]
        chosen.append({"name": name, "menu": rows, "budgets": found})
    return {
        "description": "A plan, one of its profiles, a seed (decimal) and an asked path give the routes that a runtime "
        "feeds as the asked path, and the path taken. Plans, tables and paths are written as in paths.json; a profile "
        "is a table for every site, or one path taken. menus: of profiles in their order, null for one that was not "
        "measured, a budget takes the profile of this name; null: ValueError.",
        "plans": [written_plan(plan) for plan in plans.values()],
        "profiles": [written_profile(profile) for profile in made],
        "cases": cases,
        "menus": chosen,
    }


def designs_file() -> dict[str, Any]:
    """Returns designs, seeds and blocks -> draws or numbers, and latent routes."""
    sites, cases = 5, []
    for first in (7, 2**53 + 1, SEEDS - 3):  # the last one: seeds go on from 0
        for number in (0, 2):
            row = {"seed": str(first), "number": number}
            cases.append({"design": "antithetic", "block": 2, **row, "draws": antithetic_draws(first, sites, number)})
            for block in (2, 3, 16):
                asked = {"block": block, **row}
                drawn = latin_draws(first, sites, number, block=block)
                cases.append({"design": "latin", **asked, "draws": drawn})
                numbers = stratified_numbers(first, sites, number, block=block)
                cases.append({"design": "stratified", **asked, "numbers": [f"{v:x}" for v in numbers]})
    plans = {plan.name: plan for plan in [*chains(), *trees()]}
    chosen = [
        "two branches, five steps",
        "other numbers of branches at every step",
        "two chains and a site, steps not in site order",
        "thirty-four branches",
        "nested",
        "a chain through branches",
        "one branch",
        "twelve layers",
    ]
    runs = []
    for name in chosen:
        for design, block in (("antithetic", 2), ("latin", 5), ("latin", 16), ("stratified", 5), ("stratified", 16)):
            for first, number in ((11, 0), (SEEDS - 4, 1)):
                found = designed_routes(plans[name], first, number, design=design, block=block)
                seeds = [seed_of(first, number * block + run, design=design) for run in range(block)]
                runs.append(
                    {
                        "plan": name,
                        "design": design,
                        "block": block,
                        "seed": str(first),
                        "number": number,
                        "seeds": [str(seed) for seed in seeds],
                        "routes": [text_of(latent) for latent in found],
                        "taken": [text_of(taken_of(plans[name], latent)) for latent in found],
                    }
                )
    return {
        "description": "What a design of draws gives to the runs of one block. seed: of run 0 of the ensemble "
        "(decimal); number: of the block, from 0. cases: the draws n * 2^-24 of each run, or, of stratified ones, its "
        "number v (hexadecimal), for as many sites as the file says. runs: for a plan, the seed of each run, its "
        "latent routes and the path taken; one character per site: - is -1, else the route in base 36.",
        "sites": sites,
        "plans": [written_plan(plans[name]) for name in chosen],
        "cases": cases,
        "runs": runs,
    }


def integer(value: int) -> dict[str, Any]:
    """Returns a whole number as errors.json writes it."""
    return {"type": "integer", "value": str(value)}


def listed(*items: dict[str, Any]) -> dict[str, Any]:
    """Returns a list as errors.json writes it."""
    return {"type": "list", "items": list(items)}


def integers(*values: int) -> dict[str, Any]:
    """Returns a list of whole numbers as errors.json writes it."""
    return listed(*map(integer, values))


def errors_file() -> dict[str, Any]:
    """Returns seeds and paths -> the error that a runtime raises, or none."""
    real, text = {"type": "real", "value": "1.0"}, {"type": "text", "value": "1"}
    yes, nothing = {"type": "boolean", "value": True}, {"type": "nothing"}
    value, kind = "ValueError", "TypeError"
    seed_cases = [
        ("least", integer(0), None),
        ("largest", integer(SEEDS - 1), None),
        ("negative", integer(-1), value),
        ("least int64", integer(-SEEDS), value),
        ("2^63", integer(SEEDS), value),
        ("2^64", integer(WORD), value),
        ("2^64 + 7", integer(WORD + 7), value),
        ("a real number", real, kind),
        ("a text", text, kind),
        ("a boolean", yes, kind),
        ("a list", integers(7), kind),
    ]
    path_cases = [
        ("all drawn", integers(-1, -1, -1), None),
        ("last branches", integers(2, 1, 1), None),
        ("some drawn", integers(0, -1, 1), None),
        ("too short", integers(0, 0), value),
        ("too long", integers(0, 0, 0, 0), value),
        ("empty", integers(), value),
        ("K of the first site", integers(3, 0, 0), value),
        ("K of the last site", integers(0, 0, 2), value),
        ("less than -1", integers(-2, 0, 0), value),
        ("2^63", integers(0, 0, SEEDS), value),
        ("2^64", integers(0, WORD, 0), value),
        ("-2^63", integers(0, 0, -SEEDS), value),
        ("a real number inside", listed(integer(0), real, integer(0)), kind),
        ("a text inside", listed(integer(0), text, integer(0)), kind),
        ("a boolean inside", listed(integer(0), yes, integer(0)), kind),
        ("nothing inside", listed(integer(0), nothing, integer(0)), kind),
        ("a list inside", listed(integer(0), integers(0), integer(0)), kind),
        ("a number", integer(0), kind),
        ("a text", {"type": "text", "value": "000"}, kind),
    ]
    given = [
        *({"name": f"seed: {name}", "seed": seed, "error": error} for name, seed, error in seed_cases),
        *({"name": f"path: {name}", "path": path, "error": error} for name, path, error in path_cases),
    ]
    routed = [{"interface": interface, **case} for interface in ("explicit", "host") for case in given]
    unrouted = [
        {"interface": interface, "name": f"{what}: takes none", what: asked, "error": value}
        for interface in ("standalone", "plain")
        for what, asked in (("seed", integer(7)), ("path", integers(-1, -1, -1)))
    ]
    return {
        "description": "A run of a file of three sites with a seed, a path or both; what is not named is not given. "
        "error: the class that rr_runtime raises, before the graph runs; null: the run succeeds. Whole and real "
        "numbers are decimal texts. The file has sites of these numbers of branches; plain has none.",
        "branches": [3, 2, 2],
        "cases": routed + unrouted,
    }


FILES = {
    "draws.json": draws_file,
    "thresholds.json": thresholds_file,
    "routes.json": routes_file,
    "markov.json": markov_file,
    "paths.json": paths_file,
    "profiles.json": profiles_file,
    "designs.json": designs_file,
    "errors.json": errors_file,
}


def render(document: dict[str, Any]) -> str:
    """Returns JSON text with one line per element of every list at the top."""

    def lines() -> Iterator[str]:
        for key, value in document.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                rows = ",\n".join("  " + json.dumps(element, allow_nan=False) for element in value)
                yield f" {json.dumps(key)}: [\n{rows}\n ]"
            else:
                yield f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}"

    return "{\n" + ",\n".join(lines()) + "\n}\n"


def rendered() -> dict[str, str]:
    """Returns the text of every file by its name."""
    return {name: render({"format": FORMAT, "version": VERSION, **make()}) for name, make in FILES.items()}


def differences(folder: Path) -> list[str]:
    """Returns the names of files that are missing, differ, or that nothing writes."""
    texts = rendered()
    found = [
        name
        for name, text in texts.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode()
    ]
    return found + sorted(file.name for file in folder.glob("*.json") if file.name not in texts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the files; returns the exit code."""
    parser = argparse.ArgumentParser(description="Writes the known-answer vectors beside this file.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file differs")
    if parser.parse_args(arguments).check:
        wrong = differences(FOLDER)
        for name in wrong:
            print(f"{name}: differs from what generate.py writes", file=sys.stderr)
        return 1 if wrong else 0
    for name, text in rendered().items():
        (FOLDER / name).write_bytes(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
