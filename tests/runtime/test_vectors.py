"""The runtime gives what the known-answer vectors say: draws, what it feeds to a graph, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx.checker
import onnx.parser
import pytest

from rr_runtime import Session, draws
from rr_runtime.draws import draws_as_floats
from rr_runtime.profile import Measured, Profile, best_within
from rr_runtime.routes import Router

from . import handmade

VECTORS = Path(__file__).resolve().parents[2] / "runtimes" / "vectors"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Row = dict[str, Any]

# Graphs that give back what they are fed; every model has `x` and `y` of its own.
ECHOES = {
    "explicit": (
        ", int64 rr_seed, int64[{S}] rr_path",
        ", int64 seed, int64[{S}] path, int64[{S}] rr_path_taken",
        "seed = Identity(rr_seed) path = Identity(rr_path) rr_path_taken = Identity(rr_path)",
    ),
    "host": (
        ", float[{S}] rr_draws, int64[{S}] rr_path",
        ", float[{S}] draws, int64[{S}] path, int64[{S}] rr_path_taken",
        "draws = Identity(rr_draws) path = Identity(rr_path) rr_path_taken = Identity(rr_path)",
    ),
    "standalone": ("", "", ""),
    "plain": ("", "", ""),
}
OUTPUTS = {
    "explicit": (("seed", "int64", []), ("path", "int64", ["S"])),
    "host": (("draws", "float32", ["S"]), ("path", "int64", ["S"])),
}
X = np.ones(1, np.float32)


@cache
def read(name: str) -> Row:
    found: Row = json.loads((VECTORS / f"{name}.json").read_text())
    assert (found["format"], found["version"]) == ("rr.vectors", 1)
    return found


def path_of(text: str) -> list[int]:
    return [-1 if digit == "-" else DIGITS.index(digit) for digit in text]


def sites_of(plan: Row) -> list[Row]:
    """The sites of a plan as a manifest has them."""
    sites = []
    for i, row in enumerate(plan["sites"] * plan["repeat"]):
        policy = dict(plan["tables"][row["table"]])
        if row["chain"] is None:
            policy["type"] = "categorical"
        else:
            policy |= {"type": "markov", "chain": row["chain"], "step": row["step"]}
        branches = [str(k) for k in range(len(policy["probabilities"][0]))]
        site = {"name": f"s{i}", "kind": "operation", "branches": branches, "calls": row["calls"], "policy": policy}
        sites.append(site)
    return sites


def even_sites(branches: list[int]) -> list[Row]:
    """Sites whose branches are equally likely (powers of two are exact, others nearly)."""
    tables = [{"probabilities": [[1 / k] * k], "thresholds": [[j / k for j in range(1, k)]]} for k in branches]
    rows = [{"table": i, "chain": None, "calls": [[]]} for i in range(len(branches))]
    return sites_of({"tables": tables, "sites": rows, "repeat": 1})


def echo(file: Path, interface: str, sites: list[Row]) -> Session:
    """A session on a graph that gives back what it is fed, and the asked path as the one that it took."""
    write_echo(file, interface, sites)
    return Session(file)


def write_echo(file: Path, interface: str, sites: list[Row]) -> Row:
    """The file is such a graph; returns its manifest."""
    count = str(len(sites))
    inputs, outputs, nodes = (text.replace("{S}", count) for text in ECHOES[interface])
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 20]> echo (float[1] x{inputs}) => (float[1] y{outputs}) '
        f"{{ y = Identity(x) {nodes} }}"
    )
    onnx.checker.check_model(model)
    own = [
        {"name": name, "dtype": dtype, "shape": [len(sites) if size == "S" else size for size in shape]}
        for name, dtype, shape in (("y", "float32", [1]), *OUTPUTS.get(interface, ()))
    ]
    manifest = handmade.manifest(interface) | {
        "sites": [] if interface == "plain" else sites,
        "inputs": [{"name": "x", "dtype": "float32", "shape": [1]}],
        "outputs": own,
    }
    model.metadata_props.add(key="rr.manifest", value=json.dumps(manifest))
    file.write_bytes(model.SerializeToString())
    return manifest


@pytest.fixture(scope="module")
def open_echo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Session]:
    folder = tmp_path_factory.mktemp("echoes")

    @cache
    def make(interface: str, branches: tuple[int, ...]) -> Session:
        return echo(folder / f"{interface}-{len(branches)}-{hash(branches)}.onnx", interface, even_sites([*branches]))

    return make


def digest(values: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()


@pytest.mark.parametrize("row", read("draws")["cases"], ids=lambda row: row["seed"])
def test_draws(row: Row) -> None:
    seed = int(row["seed"])
    for sites in map(int, row["sha256"]):
        found = draws(seed, sites)
        assert found.dtype == np.float32 and found.shape == (sites,)
        assert (found[:12].astype(float) * 2**24).tolist() == row["draws"][:sites]
        assert digest(found) == row["sha256"][str(sites)]


@pytest.mark.parametrize("row", read("draws")["full"], ids=lambda row: row["seed"])
def test_a_thousand_draws(row: Row) -> None:
    assert (draws(int(row["seed"]), 1000).astype(float) * 2**24).tolist() == row["draws"]


@pytest.mark.parametrize("sites", [1, 12, 1000])
def test_a_host_graph_is_fed_the_draws_of_the_seed(open_echo: Callable[..., Session], sites: int) -> None:
    session = open_echo("host", (2,) * sites)
    for row in read("draws")["cases"]:
        result = session.run({"x": X}, seed=int(row["seed"]))
        assert digest(result.outputs["draws"]) == row["sha256"][str(sites)]
        assert result.seed == int(row["seed"])
        assert result.outputs["path"].tolist() == [-1] * sites


def test_an_explicit_graph_is_fed_the_seed(open_echo: Callable[..., Session]) -> None:
    session = open_echo("explicit", (2, 2))
    for row in read("draws")["cases"]:
        result = session.run({"x": X}, seed=int(row["seed"]))
        assert result.outputs["seed"].tolist() == int(row["seed"]) == result.seed
    unseeded = session.run({"x": X})
    assert unseeded.outputs["seed"].tolist() == unseeded.seed and unseeded.seed is not None and unseeded.seed >= 0


PLANS = {plan["name"]: (file, plan) for file in ("markov", "paths") for plan in read(file)["plans"]}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_read_and_its_graph_is_fed_the_asked_path(name: str, tmp_path: Path) -> None:
    file, plan = PLANS[name]
    session = echo(tmp_path / "echo.onnx", "host", sites_of(plan))
    rows = plan["sites"] * plan["repeat"]
    for site, row in zip(session.sites, rows, strict=True):
        table = plan["tables"][row["table"]]
        assert [list(law) for law in site.policy.thresholds] == table["thresholds"]
        assert [list(law) for law in site.policy.probabilities] == table["probabilities"]
        assert [[list(pair) for pair in call] for call in site.calls] == row["calls"]
        assert (site.policy.chain, site.policy.step) == (row["chain"], row["step"])
    cases = [case for case in read(file)["cases"] if case["plan"] == name]
    assert cases
    for case in cases:
        asked = path_of(case["path"])
        result = session.run({"x": X}, seed=int(case["seed"]), path=asked)
        assert result.outputs["path"].tolist() == asked
    last = [len(site.branches) - 1 for site in session.sites]
    for case in read(file).get("clipped", ()):
        asked = list(map(int, case["path"]))
        if case["plan"] == name and any(not -1 <= route <= most for route, most in zip(asked, last, strict=True)):
            with pytest.raises(ValueError, match=r"expected -1 \(draw\) or 0\.\."):
                session.run({"x": X}, path=asked)


def policies_of(profile: Row) -> list[Row]:
    """The policies of a profile as a manifest has them."""
    sites = [{**site, "calls": []} for site in profile["sites"]]
    return [site["policy"] for site in sites_of({**profile, "sites": sites, "repeat": 1})]


@pytest.mark.parametrize("interface", ["explicit", "host"])
@pytest.mark.parametrize("plan", read("profiles")["plans"], ids=lambda plan: plan["name"])
def test_a_graph_is_fed_the_routes_of_a_profile(plan: Row, interface: str, tmp_path: Path) -> None:
    rows = [row for row in read("profiles")["profiles"] if row["plan"] == plan["name"]]
    profiles = {
        row["name"]: {"path": path_of(row["path"])} if "path" in row else {"policies": policies_of(row)} for row in rows
    }
    manifest = write_echo(tmp_path / "model.onnx", interface, sites_of(plan))
    np.savez(tmp_path / "golden.npz")
    handmade.write_manifest(tmp_path, {**manifest, "profiles": profiles, "golden": []})
    session = Session(tmp_path)
    router = Router(session.sites)
    cases = [case for case in read("profiles")["cases"] if case["plan"] == plan["name"]]
    assert {case["profile"] for case in cases} == set(profiles)
    for case in cases:
        asked = {"seed": int(case["seed"]), "path": path_of(case["path"]), "profile": case["profile"]}
        fed = session.run({"x": X}, **asked).outputs["path"].tolist()
        assert fed == path_of(case["fed"])
        latent = router.latent(draws_as_floats(asked["seed"], len(fed)), fed)
        assert router.taken(latent) == path_of(case["taken"])
        if set(case["path"]) == {"-"}:
            del asked["path"]
            assert session.run({"x": X}, **asked).outputs["path"].tolist() == fed


@pytest.mark.parametrize("row", read("profiles")["menus"], ids=lambda row: row["name"])
def test_a_budget_takes_the_profile_of_the_vectors(row: Row) -> None:
    profiles = {}
    for number, told in enumerate(row["menu"]):
        measured = None if told is None else Measured(told["cost"], told["quality"], 0.0, "f1")
        name = f"not measured {number}" if told is None else told["name"]
        profiles[name] = Profile(name, (), (), measured)
    for case in row["budgets"]:
        if case["profile"] is None:
            with pytest.raises(ValueError, match="budget: expected"):
                best_within(profiles, case["budget"])
        else:
            assert best_within(profiles, case["budget"]).name == case["profile"]


def value_of(written: Row) -> Any:
    """What errors.json writes, as Python has it."""
    made: dict[str, Callable[[], Any]] = {
        "integer": lambda: int(written["value"]),
        "real": lambda: float(written["value"]),
        "text": lambda: written["value"],
        "boolean": lambda: written["value"],
        "nothing": lambda: None,
        "list": lambda: [value_of(item) for item in written["items"]],
    }
    return made[written["type"]]()


@pytest.mark.parametrize("row", read("errors")["cases"], ids=lambda row: f"{row['interface']}: {row['name']}")
def test_errors(row: Row, open_echo: Callable[..., Session]) -> None:
    session = open_echo(row["interface"], tuple(read("errors")["branches"]))
    given = {key: value_of(row[key]) for key in ("seed", "path") if key in row}
    ways: list[Callable[[], Any]] = [lambda: session.run({"x": X}, **given)]
    if "seed" in given:
        ways.append(lambda: session.ensemble({"x": X}, runs=1, **given))
    elif isinstance(given["path"], list) and all(type(r) is int and abs(r) < 2**63 for r in given["path"]):
        ways.append(lambda: session.run({"x": X}, path=np.array(given["path"], np.int64)))
    for way in ways:
        if row["error"] is None:
            way()
        else:
            with pytest.raises((TypeError, ValueError)) as caught:
                way()
            assert type(caught.value).__name__ == row["error"]
