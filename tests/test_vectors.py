"""Policies, plans, eager models and exported files give what the known-answer vectors say.

Each side is held against the vectors alone, never against another side.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import rr_export as rr
from rr_export.laws.plan import Plan
from rr_export.laws.policies import Categorical, Policy
from rr_export.lowering import prelude
from rr_export.lowering.builder import Builder
from rr_export.lowering.deciding_slice import routing_slice, single_thread
from rr_export.lowering.reach import path_taken
from rr_export.lowering.routes import decode_routes
from rr_runtime import Session

VECTORS = Path(__file__).parent.parent / "runtimes" / "vectors"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Row = dict[str, Any]


@functools.cache
def read(name: str) -> Row:
    found: Row = json.loads((VECTORS / f"{name}.json").read_text())
    assert (found["format"], found["version"]) == ("rr.vectors", 1)
    return found


def generator() -> tuple[ModuleType, ModuleType]:
    """The script that writes the vectors and what answers its cases, as new modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(VECTORS)
        for name in ("reference", "plans", "writing", "generate"):
            patch.delitem(sys.modules, name, raising=False)
        script = importlib.import_module("generate")
        answers = importlib.import_module("reference")
        for name in ("reference", "plans", "writing", "generate"):
            del sys.modules[name]
    return script, answers


SCRIPT, REFERENCE = generator()


def draws_of(seed: str, sites: int) -> NDArray[np.float32]:
    """The draws of a seed as the generator of the vectors makes them."""
    return np.array([n / 2**24 for n in REFERENCE.draws(int(seed), sites)], np.float32)


def path_of(text: str) -> list[int]:
    return [-1 if character == "-" else DIGITS.index(character) for character in text]


def ids(name: str, key: str = "cases") -> list[Any]:
    return [pytest.param(row, id=row.get("name") or row.get("seed")) for row in read(name)[key]]


# The files themselves.


def test_the_files_are_what_the_generator_writes() -> None:
    assert SCRIPT.differences(VECTORS) == []


@pytest.mark.parametrize(
    ("constant", "value", "wrong"),
    [
        ("GAMMA", 0x9E3779B97F4A7C17, {"draws.json", "markov.json", "paths.json", "designs.json"}),
        ("MIX_1", 0xBF58476D1CE4E5B7, {"draws.json", "markov.json", "paths.json", "designs.json"}),
        ("MIX_2", 0x94D049BB133111E9, {"draws.json", "markov.json", "paths.json", "designs.json"}),
        ("rank", lambda numbers, run: run, {"designs.json"}),
        ("SUM_TOLERANCE", 0, None),
        ("to_float32", lambda x: x, None),
        ("route_of", lambda row, n: sum(t < REFERENCE.Fraction(n, 2**24) for t in row), {"routes.json"}),
        ("fed_by", lambda profile, drawn, asked: list(asked), {"profiles.json"}),
        ("best_within", lambda menu, budget: menu[0][0] if menu and menu[0] else None, {"profiles.json"}),
    ],
)
def test_sabotage_a_wrong_generator_is_found(constant: str, value: Any, wrong: set[str] | None) -> None:
    module, answers = generator()
    for holder in (module, answers):
        if hasattr(holder, constant):
            setattr(holder, constant, value)
    if wrong is None:  # it does not even come to an end
        with pytest.raises((ValueError, AssertionError)):
            module.differences(VECTORS)
    else:
        assert wrong <= set(module.differences(VECTORS))


def test_sabotage_changed_missing_and_additional_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(VECTORS, tmp_path / "vectors")
    module, _ = generator()
    monkeypatch.setattr(module, "FOLDER", folder)
    assert module.main(["--check"]) == 0
    text = (folder / "draws.json").read_text()
    (folder / "draws.json").write_text(text.replace("1", "2", 1))
    (folder / "routes.json").unlink()
    (folder / "other.json").write_text("{}")
    assert module.main(["--check"]) == 1
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "draws.json",
        "routes.json",
        "other.json",
    ]
    (folder / "other.json").unlink()
    assert module.main([]) == 0 and module.main(["--check"]) == 0
    assert (folder / "draws.json").read_text() == text


def test_the_files_are_small() -> None:
    sizes = [file.stat().st_size for file in VECTORS.glob("*.json")]
    assert len(sizes) == 8 and max(sizes) < 200_000 and sum(sizes) < 500_000


# Policies.


def law_of(row: Row) -> list[float]:
    return [float(text) for text in row["probabilities"]]


@pytest.mark.parametrize("row", ids("thresholds"))
def test_thresholds(row: Row) -> None:
    found = Categorical(law_of(row)).thresholds
    assert found.dtype == np.float32 and len(found) == 1
    assert [f"{bits:08x}" for bits in found[0].view(np.uint32)] == row["bits"]
    assert found[0].tolist() == row["thresholds"]


@pytest.mark.parametrize("row", ids("thresholds", "refused"))
def test_refused_probabilities(row: Row) -> None:
    with pytest.raises(ValueError, match=r"expected (a list of )?probabilities"):
        Categorical(law_of(row))


@pytest.mark.parametrize("row", ids("routes"))
def test_routes_on_either_side_of_every_threshold(row: Row) -> None:
    policy = Categorical(law_of(row))
    plan = Plan([rr.Site("site", tuple(map(str, range(policy.branches))), policy)])
    for n, route in zip(row["draws"], row["routes"], strict=True):
        assert policy.route(n / 2**24) == route
        assert plan.routes([n / 2**24]).tolist() == [route]


# Plans, made into models: a branch adds a number, and calls the sites inside it.


class Body(nn.Module):
    def __init__(self, offset: float, sites: list[nn.Module]) -> None:
        super().__init__()
        self.offset, self.sites = offset, nn.ModuleList(sites)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.offset
        for site in self.sites:
            x = site(x)
        return x


class Root(Body):
    """The sites at the top; `idle` ones are never called."""

    def __init__(self, sites: list[nn.Module], idle: list[nn.Module]) -> None:
        super().__init__(0.5, sites)
        self.idle = nn.ModuleList(idle)


def model_of(plan: Row) -> nn.Module:
    """A model with the sites of a plan; its two-way sites with nothing inside branch 0 are layers."""
    rows = plan["sites"] * plan["repeat"]
    tables = [table["probabilities"] for table in plan["tables"]]
    steps: dict[int, dict[int, Any]] = {}
    for row in rows:
        if row["chain"] is not None:
            steps.setdefault(row["chain"], {})[row["step"]] = tables[row["table"]]
    chains = {c: rr.Markov(t[0][0], [t[step] for step in range(1, len(t))]) for c, t in steps.items()}
    made: dict[int, nn.Module] = {}

    def policy_of(row: Row) -> Policy:
        if row["chain"] is None:
            return Categorical(tables[row["table"]][0])
        return chains[row["chain"]].step(row["step"])

    def inside(*pair: int) -> list[nn.Module]:
        """The sites called right inside this branch, or at the top."""
        ends = [[call[-1:] for call in row["calls"]] for row in rows]
        return [site(i) for i, last in enumerate(ends) if ([list(pair)] if pair else []) in last]

    def site(i: int) -> nn.Module:
        if i not in made:
            policy = policy_of(rows[i])
            bodies = [Body(i + k / 10, inside(i, k) if plan["repeat"] == 1 else []) for k in range(policy.branches)]
            if policy.branches == 2 and not bodies[0].sites:
                made[i] = rr.LayerChoice(bodies[1], policy=policy)
            else:
                made[i] = rr.OperationChoice(bodies, policy)
        return made[i]

    top = inside()
    return Root(top, [site(i) for i, row in enumerate(rows) if not row["calls"]]).eval()


X = torch.zeros(1, 2)
PLANS: dict[str, tuple[str, Row]] = {
    plan["name"]: (file, plan) for file in ("markov", "paths") for plan in read(file)["plans"]
}
SMALL = [name for name, (_, plan) in PLANS.items() if plan["repeat"] == 1]


def cases_of(name: str, key: str = "cases") -> list[Row]:
    found = [case for case in read(PLANS[name][0]).get(key, []) if case["plan"] == name]
    assert found or key != "cases"
    return found


@functools.cache
def eager(name: str) -> nn.Module:
    return model_of(PLANS[name][1])


@functools.cache
def plan_of(name: str) -> Plan:
    return rr.plan_of(eager(name)) if name not in SMALL else rr.plan_of(eager(name), (X,))


@pytest.mark.parametrize("name", PLANS)
def test_the_model_has_the_plan_of_the_vectors(name: str) -> None:
    row = PLANS[name][1]
    plan = plan_of(name)
    sites = row["sites"] * row["repeat"]
    assert len(plan.sites) == len(sites)
    for site, expected in zip(plan.sites, sites, strict=True):
        assert sorted(site.calls) == sorted(tuple(map(tuple, call)) for call in expected["calls"])
        assert site.policy.thresholds.tolist() == row["tables"][expected["table"]]["thresholds"]


@pytest.mark.parametrize("name", PLANS)
def test_plan(name: str) -> None:
    plan = plan_of(name)
    for case in cases_of(name):
        routes = plan.routes(draws_of(case["seed"], len(plan.sites)), path_of(case["path"]))
        assert routes.tolist() == path_of(case["routes"])
        assert plan.taken(routes).tolist() == path_of(case["taken"])


@pytest.mark.parametrize("name", PLANS)
def test_eager(name: str) -> None:
    model = eager(name)
    for case in cases_of(name):
        with torch.no_grad(), rr.seeded(model, int(case["seed"])), rr.forced(model, path_of(case["path"])) as record:
            model(X)
        assert record.routes[-1].tolist() == path_of(case["routes"])
        assert record.path.tolist() == path_of(case["taken"])
        if set(case["path"]) == {"-"}:
            with torch.no_grad(), rr.seeded(model, int(case["seed"])) as record:
                model(X)
            assert record.path.tolist() == path_of(case["taken"])


# The part of a graph that decides, lowered alone onto an empty graph: every plan, also those too large to export here.


def lowered_routing(plan: Plan, interface: str) -> onnx.ModelProto:
    """The routing of an explicit or host file, or ("decoder") what lies behind the draws of a standalone one."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20}, name="routing")
    builder = Builder(graph)
    if interface == "decoder":
        draws = builder.graph_input("rr_draws", np.int64, (len(plan.sites),))
        routes = decode_routes(builder, plan, draws, None)
    else:
        routes = prelude.latent_routes(builder, plan, interface)
    graph.outputs.append(path_taken(builder, plan, routes, "rr_path_taken"))
    graph.extend(builder.nodes)
    model: onnx.ModelProto = ir.to_proto(ir.Model(graph, ir_version=10))
    return model


Decide = Callable[[dict[str, Any]], dict[str, Any]]


def decide_with(model: onnx.ModelProto, inputs: dict[str, NDArray[Any]] | None = None) -> Decide:
    """From what is fed to the draws, latent routes and path taken of a file, as whole numbers."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    made = {name for node in proto.graph.node for name in node.output}
    given = {value.name for value in proto.graph.output}
    for name in ("rr_draws", "rr_routes"):
        if name in made - given:
            proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None))
    names = [value.name for value in proto.graph.output if value.name.startswith("rr_")]
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), single_thread(), providers=["CPUExecutionProvider"]
    )

    def decide(feeds: dict[str, Any]) -> dict[str, Any]:
        found = dict(zip(names, session.run(names, {**(inputs or {}), **feeds}), strict=True))
        found.setdefault("rr_routes", found["rr_path_taken"])  # where no site is nested they are one value
        return {name: value.tolist() for name, value in found.items()}

    return decide


def feeds_of(interface: str, seed: str, path: list[int]) -> dict[str, NDArray[Any]]:
    """What a runtime feeds."""
    routes = {"rr_path": np.array(path, np.int64)}
    if interface == "explicit":
        return {"rr_seed": np.array(int(seed), np.int64), **routes}
    if interface == "host":
        return {"rr_draws": draws_of(seed, len(path)), **routes}
    return {"rr_draws": np.array(REFERENCE.draws(int(seed), len(path)))}


def check_decisions(decide: Decide, interface: str, name: str) -> None:
    """Every case of a plan, those that a graph clips too; the draws where the graph makes them."""
    cases = [(path_of(case["path"]), case) for case in cases_of(name)]
    cases += [(list(map(int, case["path"])), case) for case in cases_of(name, "clipped")]
    if interface == "decoder":
        cases = [(path, case) for path, case in cases if set(path) == {-1}]
    for path, case in cases:
        found = decide(feeds_of(interface, case["seed"], path))
        assert found["rr_routes"] == path_of(case["routes"])
        assert found["rr_path_taken"] == path_of(case["taken"])
        if interface == "explicit":
            assert found["rr_draws"] == REFERENCE.draws(int(case["seed"]), len(path))


@pytest.mark.parametrize("interface", ["explicit", "host", "decoder"])
@pytest.mark.parametrize("name", PLANS)
def test_lowered_routing(name: str, interface: str) -> None:
    check_decisions(decide_with(lowered_routing(plan_of(name), interface)), interface, name)


def uniform(sites: int) -> Plan:
    return Plan([rr.Site(str(i), ("a", "b"), rr.Uniform(2)) for i in range(sites)])


@pytest.mark.parametrize("sites", [1, 2, 3, 12, 64, 1000])
def test_draws_in_the_graph(sites: int) -> None:
    model = lowered_routing(uniform(sites), "explicit")
    decide = decide_with(model)
    rows = [(row["seed"], row["draws"][:sites], row["sha256"][str(sites)]) for row in read("draws")["cases"]]
    for seed, first, digest in rows:
        found = decide(feeds_of("explicit", seed, [-1] * sites))["rr_draws"]
        assert found[:12] == first
        assert hashlib.sha256((np.array(found) / 2**24).astype("<f4").tobytes()).hexdigest() == digest
    for row in read("draws")["full"]:
        assert decide(feeds_of("explicit", row["seed"], [-1] * sites))["rr_draws"] == row["draws"][:sites]


@pytest.mark.parametrize("interface", ["host", "decoder"])
@pytest.mark.parametrize("at_most", [2, 64])
def test_routes_in_the_graph(at_most: int, interface: str) -> None:
    rows = [row for row in read("routes")["cases"] if len(row["probabilities"]) <= at_most]
    laws = [Categorical(law_of(row)) for row in rows]
    plan = Plan([rr.Site(str(i), tuple(map(str, range(law.branches))), law) for i, law in enumerate(laws)])
    decide = decide_with(lowered_routing(plan, interface))
    for n in range(max(len(row["draws"]) for row in rows)):
        feeds = {"rr_draws": np.array([row["draws"][n % len(row["draws"])] for row in rows])}
        if interface == "host":
            feeds = {"rr_draws": (feeds["rr_draws"] / 2**24).astype(np.float32), "rr_path": np.full(len(rows), -1)}
        assert decide(feeds)["rr_path_taken"] == [row["routes"][n % len(row["routes"])] for row in rows]


def with_ops(model: onnx.ModelProto, before: str, after: str) -> onnx.ModelProto:
    """The model with every operator of one type replaced by another."""
    assert before in {node.op_type for node in model.graph.node}
    for node in model.graph.node:
        node.op_type = after if node.op_type == before else node.op_type
    return model


@pytest.mark.parametrize(("before", "after"), [("Less", "LessOrEqual"), ("Min", "Max"), ("GreaterOrEqual", "Less")])
def test_sabotage_a_wrong_operator_is_found(before: str, after: str) -> None:
    name = "nested"
    model = with_ops(lowered_routing(plan_of(name), "host"), before, after)
    with pytest.raises(AssertionError):
        check_decisions(decide_with(model), "host", name)


@pytest.mark.parametrize("steps", [1, 3])
def test_sabotage_a_draw_that_is_a_threshold_and_does_not_pass_it_is_found(steps: int) -> None:
    (row,) = (row for row in read("routes")["cases"] if row["name"] == "quarters and a half")
    plan = Plan([rr.Site(str(i), ("a", "b", "c"), Categorical(law_of(row))) for i in range(steps)])
    decide = decide_with(with_ops(lowered_routing(plan, "decoder"), "GreaterOrEqual", "Greater"))
    found = [decide({"rr_draws": np.full(steps, n)})["rr_routes"] for n in row["draws"]]
    assert found != [[route] * steps for route in row["routes"]]


# Whole files, from export to the runtime.

EXPORTED = [
    *(("explicit", name) for name in SMALL if name != "thirty-four branches"),  # takes seconds; its routing is above
    ("host", "a chain through branches"),
    ("host", "called from several places"),
    ("host", "three, thirty-five, two branches"),
    ("standalone", "a chain through branches"),
    ("standalone", "two branches, five steps"),
]


@pytest.mark.parametrize(("interface", "name"), EXPORTED)
def test_exported_file(interface: str, name: str, tmp_path: Path) -> None:
    bundle = rr.export(eager(name), (X,), interface=interface)
    file = tmp_path / "model.onnx"
    bundle.save(file)
    if interface == "standalone":
        decode = routing_slice(file, bundle, {"x": X.numpy()}).decode()
        free = [case for case in cases_of(name) if set(case["path"]) == {"-"}]
        assert len(free) >= 5
        for case in free:
            drawn = draws_of(case["seed"], len(case["path"]))
            assert decode(drawn, []).tolist() == path_of(case["routes"])
        return
    check_decisions(decide_with(onnx.load(file), {"x": X.numpy()}), interface, name)
    session = Session(file)
    for case in cases_of(name):
        result = session.run({"x": X.numpy()}, seed=int(case["seed"]), path=path_of(case["path"]))
        assert result.path is not None and result.path.tolist() == path_of(case["taken"])
        assert result.seed == int(case["seed"])


@pytest.mark.parametrize("interface", ["explicit", "host"])
@pytest.mark.parametrize("name", ["nested", "a chain through branches"])
def test_designed_runs_of_an_exported_file(name: str, interface: str, tmp_path: Path) -> None:
    session = Session(rr.export(eager(name), (X,), interface=interface).save(tmp_path / "out"))
    for row in read("designs")["runs"]:
        if row["plan"] == name:
            asked = {} if row["design"] == "antithetic" else {"block": row["block"]}
            runs, seed = row["block"] * (row["number"] + 1), int(row["seed"])
            found = session.ensemble({"x": X.numpy()}, runs=runs, seed=seed, draws=row["design"], **asked)
            assert found.paths is not None
            assert found.paths[-row["block"] :].tolist() == list(map(path_of, row["taken"]))
