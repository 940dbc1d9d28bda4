"""Rules for files that carry our manifest: RR301 to RR304.

The part that decides is cut out and run, a few microseconds a run: that finds what a tool did to it in whatever form
the tool has left it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rr_export.laws.plan import Plan
from rr_export.lint.dataflow import PASSING, Dataflow, node_name
from rr_export.lint.finding import Finding
from rr_export.lint.reading import Subject
from rr_export.lint.rules.by_input import check_by_input
from rr_export.lint.rules.random_nodes import has_kernel
from rr_export.lowering import DRAWS, PATH, SEED, TAKEN
from rr_export.lowering.deciding_slice import cut_out, cut_routing, find_value, open_slice, threshold_failures
from rr_export.lowering.free_draws import free_draw_failures
from rr_export.lowering.reach import LATENT
from rr_export.lowering.sink import MIDDLE_KEY, SITE_KEY
from rr_runtime.draws import draws

SEEDS = 256  # of which every other one also forces some routes
ADDED: Mapping[str, Mapping[str, tuple[ir.DataType, int]]] = {  # inputs of an interface: type and rank
    "explicit": {SEED: (ir.DataType.INT64, 0), PATH: (ir.DataType.INT64, 1)},
    "host": {DRAWS: (ir.DataType.FLOAT, 1), PATH: (ir.DataType.INT64, 1)},
}
RANDOM_NODES = {"explicit": 1, "host": 0, "standalone": 1}


def check_contract(subject: Subject, flow: Dataflow) -> Iterator[Finding]:
    """Yields in what the graph is not what its manifest says."""
    if subject.manifest is None or subject.plan is None or not subject.plan.sites:
        return
    manifest, plan = subject.manifest, subject.plan
    yield from _check_interface(subject, flow, manifest)
    try:
        taken = find_value(flow.model.graph, TAKEN)
    except KeyError:
        yield subject.finding("RR303", f"expected a value {TAKEN!r}, got none", node=TAKEN)
        return
    if RANDOM_NODES[manifest["interface"]] and not flow.origin(taken).random and flow.random:
        yield subject.finding("RR303", f"{TAKEN!r} no longer depends on the random node", node=TAKEN)
    idle = set(manifest.get("idle", []))
    try:
        routes = find_value(flow.model.graph, LATENT) if plan.gates else taken
    except KeyError:
        yield subject.finding("RR303", f"expected a value {LATENT!r}, got none", node=LATENT)
        return
    yield from _check_gates(subject, flow, plan, routes, idle)
    yield from check_by_input(subject, flow, plan, routes, idle)
    yield from _check_law(subject, flow, plan, manifest["interface"])


def _check_interface(subject: Subject, flow: Dataflow, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Names and types of inputs and outputs, and the number of random nodes."""
    graph, interface = flow.model.graph, manifest["interface"]
    added = ADDED.get(interface, {})
    expected: dict[str, tuple[ir.DataType, int]] = {}
    for row in manifest["inputs"]:
        expected[row["name"]] = (ir.DataType.from_numpy(np.dtype(row["dtype"])), len(row["shape"]))
    yield from _check_values(subject, "input", {**expected, **added}, {v.name: v for v in graph.inputs})
    expected = {}
    for row in manifest["outputs"]:
        expected[row["name"]] = (ir.DataType.from_numpy(np.dtype(row["dtype"])), len(row["shape"]))
    expected |= {TAKEN: (ir.DataType.INT64, 1)} if added else {}
    yield from _check_values(subject, "output", expected, {v.name: v for v in graph.outputs})
    wanted, got = RANDOM_NODES[interface], len(flow.random)
    if got != wanted and got < 2:  # several have a finding of their own
        yield subject.finding("RR303", f"expected {wanted} random node(s) for the interface {interface!r}, got {got}")


def _check_values(
    subject: Subject,
    side: str,
    expected: Mapping[str, tuple[ir.DataType, int]],
    got: Mapping[str | None, ir.Value],
) -> Iterator[Finding]:
    for name, (dtype, rank) in expected.items():
        value = got.get(name)
        if value is None:
            yield subject.finding("RR303", f"expected an {side} {name!r}, got none", node=name)
        elif value.dtype not in (None, dtype):
            yield subject.finding("RR303", f"expected {side} {name!r} in {dtype}, got {value.dtype}", node=name)
        elif value.shape is not None and len(value.shape) != rank:
            yield subject.finding(
                "RR303", f"expected {side} {name!r} of rank {rank}, got {len(value.shape)}", node=name
            )
    for extra in (name for name in got if name not in expected):
        yield subject.finding("RR303", f"expected no {side} {extra!r}, got one", node=extra or "")


def _check_gates(subject: Subject, flow: Dataflow, plan: Plan, taken: ir.Value, idle: set[str]) -> Iterator[Finding]:
    """Every site that is used decides an ``If`` of its own, and all its routes are told apart.

    Those that the input decides have rules of their own; what decides the others is made of ``taken``.
    """
    found = {n: _main_value(flow, n.inputs[0]) for n in flow.nodes() if n.op_type == "If" and not n.domain}
    gates = {n: v for n, v in found.items() if v is not None and _is_of_routes(v, taken)}
    try:
        turned = _turned_gates(flow, plan, taken.name or "", list(gates.values()))
    except Exception as error:  # onnxruntime's own exceptions have no common base
        yield _unloadable(subject, flow, error)
        return
    nodes = list(gates)
    yield from _check_sides(subject, flow, plan, nodes, turned)
    drivers: dict[int, set[int]] = {}  # gate -> the sites that turn it
    for index, states in turned.items():
        for gate in np.flatnonzero((states != states[0]).any(axis=0)):
            drivers.setdefault(int(gate), set()).add(index)
    for i, site in enumerate(plan.sites):
        if not site.calls or len(site.branches) < 2 or site.name in idle or i in plan.gates:
            continue
        mine = [g for g, sites in drivers.items() if i in sites]
        if site.kind == "python" and (not mine or _routes_alike(turned[i])):
            continue  # code may ask for it together with other sites, or with the input
        other = next((s for g, n in enumerate(nodes) if n.metadata_props.get(SITE_KEY) == str(i)
                      for s in drivers.get(g, set()) - {i}), None)  # fmt: skip
        if other is None and not mine:
            other = _overfull(plan, drivers)
        if other is not None:
            names = f"{site.name!r} and {plan.sites[other].name!r}"
            yield subject.finding("RR302", f"sites {names} share a decision", node=site.name)
        elif not mine:
            own = next((n for n in flow.nodes() if n.metadata_props.get(SITE_KEY) == str(i)), None)
            place = "main graph" if own is None else flow.place_name(own)
            yield subject.finding("RR301", f"site {site.name!r} decides no If", node=site.name, place=place)
        else:
            alike = _routes_alike(turned[i])
            if alike is not None:
                first, second = (site.branches[k] for k in alike)
                text = f"routes {first!r} and {second!r} of site {site.name!r} lead to the same branch"
                yield subject.finding("RR301", text, node=node_name(nodes[mine[0]]))


def _check_sides(
    subject: Subject, flow: Dataflow, plan: Plan, nodes: list[ir.Node], turned: Mapping[int, NDArray[np.bool_]]
) -> Iterator[Finding]:
    """An If that tells its site takes then_branch from the route on that it tells too."""
    for gate, node in enumerate(nodes):
        told = node.metadata_props.get(SITE_KEY, ""), node.metadata_props.get(MIDDLE_KEY, "")
        if not all(text.isdigit() for text in told) or int(told[0]) not in turned:
            continue
        states = turned[int(told[0])][:, gate]
        wrong = np.flatnonzero(states != (np.arange(len(states)) >= int(told[1])))
        if wrong.size and states.any() and not states.all():  # one that never turns is frozen
            site = plan.sites[int(told[0])]
            text = f"route {site.branches[wrong[0]]!r} of site {site.name!r} leads to the other side of this If"
            yield subject.finding("RR303", text, node=node_name(node), place=flow.place_name(node))


def _is_of_routes(value: ir.Value, taken: ir.Value) -> bool:
    """Whether a condition is made of the path taken, and of nothing else but constants."""
    todo, seen, found = [value], {value}, False
    while todo:
        here = todo.pop()
        if here is taken:
            found = True
            continue
        producer = here.producer()
        if producer is None:
            if not here.is_initializer():
                return False
            continue
        if any(a.type == ir.AttributeType.GRAPH for a in producer.attributes.values()):
            return False  # made by the branches of another decision
        new = [v for v in producer.inputs if v is not None and v not in seen]
        seen.update(new)
        todo += new
    return found


def _main_value(flow: Dataflow, value: ir.Value | None) -> ir.Value | None:
    """The value of the main graph that decides, where a branch only reshapes or casts it."""
    while value is not None:
        producer = value.producer()
        if producer is None or producer.graph is flow.model.graph:
            return value
        if producer.domain or producer.op_type not in PASSING:
            return None
        value = producer.inputs[0]
    return None


def _turned_gates(flow: Dataflow, plan: Plan, taken: str, gates: list[ir.Value]) -> dict[int, NDArray[np.bool_]]:
    """For every site the state of all gates on each of its routes, bool [K, gates]; other sites have route 0."""
    found = {i: np.zeros((len(site.branches), len(gates)), bool) for i, site in enumerate(plan.sites)}
    if not gates:
        return found
    names = [v.name or "" for v in dict.fromkeys(gates)]
    content = cut_out(flow.model, [taken], names)
    session = open_slice(content)
    columns = [names.index(v.name or "") for v in gates]
    for i, site in enumerate(plan.sites):
        for route in range(len(site.branches)):
            path = np.zeros(len(plan.sites), np.int64)
            path[i] = route
            states = np.array([bool(np.asarray(s).any()) for s in session.run(names, {taken: path})])
            found[i][route] = states[columns]
    return found


def _overfull(plan: Plan, drivers: Mapping[int, set[int]]) -> int | None:
    """A site that decides more Ifs than its calls need."""
    for i, site in enumerate(plan.sites):
        if sum(i in sites for sites in drivers.values()) > len(site.calls) * (len(site.branches) - 1):
            return i
    return None


def _routes_alike(states: NDArray[np.bool_]) -> tuple[int, int] | None:
    """Two routes on which all gates have the same state."""
    for b in range(len(states)):
        for a in range(b):
            if np.array_equal(states[a], states[b]):
                return a, b
    return None


def _check_law(subject: Subject, flow: Dataflow, plan: Plan, interface: str) -> Iterator[Finding]:
    """Seeds, the random node, and draws on either side of every threshold lead where the manifest says."""
    failures: list[str] = []
    try:
        if interface != "standalone":
            failures += _seed_failures(flow, plan, interface)
        failures += threshold_failures(plan, cut_routing(flow.model, interface, plan, {}))
        failures += free_draw_failures(flow.model, interface, len(plan.sites))
    except KeyError as error:
        yield subject.finding("RR001", f"the thresholds: {error.args[0]}", node=TAKEN)
    except Exception as error:  # onnxruntime's own exceptions have no common base
        yield _unloadable(subject, flow, error)
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        yield subject.finding("RR304", failures[0] + more, node=TAKEN)


def _seed_failures(flow: Dataflow, plan: Plan, interface: str) -> list[str]:
    """Runs what leads from the added inputs to the path taken, and to the draws where the graph makes them."""
    count, last = len(plan.sites), np.array([len(site.branches) - 1 for site in plan.sites])
    outputs = [
        LATENT if plan.gates else TAKEN,
        *([DRAWS] if interface == "explicit" and _has_value(flow, DRAWS) else []),
    ]
    session = open_slice(cut_out(flow.model, list(ADDED[interface]), outputs))
    failures: list[str] = []
    for seed in range(SEEDS):
        path, drawn = np.full(count, -1), draws(seed, count)
        if seed % 2:
            rng = np.random.default_rng(seed)
            path = np.where(
                rng.random(count) < 0.5, path, rng.integers(0, last + 3)
            )  # those above the last are clipped
        routes = plan.routes(drawn, np.minimum(path, last))
        expected = [routes if plan.gates else plan.taken(routes), (drawn * 2.0**24).astype(np.int64)]
        fed = {SEED: np.array(seed)} if interface == "explicit" else {DRAWS: drawn}
        got = [np.asarray(value) for value in session.run(outputs, {**fed, PATH: path})]
        for what, a, b in zip(("path", "draws * 2^24"), expected, got, strict=False):
            if not np.array_equal(a, b):
                failures.append(f"seed {seed}, path {path.tolist()}: expected {what} {a.tolist()}, got {b.tolist()}")
    return failures


def _has_value(flow: Dataflow, name: str) -> bool:
    return any(value.name == name for node in flow.model.graph for value in node.outputs)


def _unloadable(subject: Subject, flow: Dataflow, error: Exception) -> Finding:
    """Random nodes without a kernel, and weights that are missing, have findings of their own."""
    opset = flow.model.opset_imports.get("", 0)
    known = isinstance(error, OSError) or not all(has_kernel(n, opset) for n in flow.random)
    code = "RR001" if known else "RR303"
    text = str(error).splitlines()[0] if str(error) else ""
    return subject.finding(
        code, f"the part that decides cannot be cut out and run: {type(error).__name__}: {text}", node=TAKEN
    )
