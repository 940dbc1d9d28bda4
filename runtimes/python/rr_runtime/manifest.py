"""Reads what a file says about itself: its sites, inputs and outputs, and what belongs to a bundle."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from rr_runtime.draws import SEEDS
from rr_runtime.errors import BundleError
from rr_runtime.json_node import DAMAGED, Node, read_json
from rr_runtime.one_line import cut_to_line, list_few
from rr_runtime.portable_names import colliding, is_portable
from rr_runtime.profile import RANGES, Measured, Profile
from rr_runtime.pruned import Pruned, read_pruned
from rr_runtime.site_law import Policy, Site
from rr_runtime.target import Target
from rr_runtime.target_reader import read_targets

MANIFEST = "manifest.json"  # its file in a bundle's folder
FORMAT = "rr.manifest"
VERSION = 1
INTERFACES = ("explicit", "host", "gates", "standalone", "plain")
GATED = ("explicit", "host")  # interfaces of graphs that may have gates
GENERATOR = "splitmix64"
KINDS = ("layer", "operation", "parameter", "python")
DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
MOST_BYTES = 2**24  # of a manifest
MOST_SITES = 2**14
MOST_COMPARISONS = 2**20  # of calls with calls of the sites around them
THRESHOLD_TOLERANCE = 2.0**-23  # by which a threshold may differ from the cumulated probabilities
RESERVED = ("rr_seed", "rr_path", "rr_draws", "rr_path_taken")
GATE = "rr_gate."  # begins the names of conditions that a runtime feeds


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name, its dtype as numpy calls it, and its sizes (a string is a symbolic size)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        """The tensor as `name: dtype [sizes]`."""
        return f"{self.name}: {self.dtype} [{', '.join(map(str, self.shape))}]"


def symbols(size: int | str) -> tuple[str, ...]:
    """Returns the names in a size: none in a number, one in ``batch``, those of an expression such as ``2*s + t``."""
    return tuple(dict.fromkeys(re.findall(r"[^\W\d]\w*(?!\w*\()", size))) if isinstance(size, str) else ()


@dataclass(frozen=True)
class GoldenCase:
    """A recorded run; its arrays are in golden.npz.

    Attributes:
        seed: the seed it ran with, or None.
        path: the path that was asked, S routes (-1: drawn), or None.
        taken: the path that was taken, S routes (-1: not reached), or None where the file does not tell it.
        inputs: the number of the earlier run that has the same inputs, or None where it has its own.
        why: what it was recorded for, in words; "" where nothing is said.
    """

    seed: int | None
    path: tuple[int, ...] | None
    taken: tuple[int, ...] | None
    inputs: int | None = None
    why: str = ""


@dataclass(frozen=True)
class RecordedFile:
    """What a file of the bundle must be: its SHA-256 in lower-case hexadecimal, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a file says about itself.

    Attributes:
        interface: "explicit", "host", "gates", "standalone" or "plain" (no sites).
        opset: the ONNX opset of the graph.
        sites: the sites, in path order.
        inputs: the model's own inputs, without those named rr_*.
        outputs: the model's own outputs, without those named rr_*.
        rtol: the relative tolerance to which the exporter proved the file.
        atol: the absolute tolerance.
        producer: the versions that made the file.
        axes: least and largest size of symbolic sizes that the model bounds, by name; None: no bound.
        files: the other files of the bundle folder by name; empty in the manifest inside a model.
        targets: other forms of the model, by name; empty in the manifest inside a model.
        golden: the recorded runs; empty in the manifest inside a model.
        profiles: other laws over the same sites, by name; empty in the manifest inside a model.
        unseen_conditions: conditions on the input, with how they went in none of the runs that were recorded when the
            model was exported, such as "net.py:12: true".
        pruned: what the file was made from, where branches that no profile takes are gone; else None.
    """

    interface: str
    opset: int
    sites: tuple[Site, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    rtol: float
    atol: float
    producer: Mapping[str, str]
    axes: Mapping[str, tuple[int | None, int | None]]
    files: Mapping[str, RecordedFile]
    targets: Mapping[str, Target]
    golden: tuple[GoldenCase, ...]
    unseen_conditions: tuple[str, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=lambda: MappingProxyType({}))
    pruned: Pruned | None = None

    def __repr__(self) -> str:
        return cut_to_line(f"Manifest({self.summary()})")

    def summary(self) -> str:
        """Returns what it says, in a few words."""
        said = f"{self.interface}, opset {self.opset}, {len(self.sites)} sites"
        return f"{said}, {list_few(self.inputs)} -> {list_few(self.outputs)}"

    @classmethod
    def parse(cls, source: str | bytes | Mapping[str, Any], *, where: str = "manifest") -> Manifest:
        """Returns the manifest that a JSON text, or the dictionary read from one, describes. Unknown keys are ignored.

        Args:
            source: JSON text (UTF-8 where bytes) or a dictionary.
            where: the file it comes from, for messages.

        Raises:
            BundleError: it is no JSON, too long, of another format or version, or a key is missing or wrong.
        """
        if not isinstance(source, Mapping):
            refuse_long_manifest(len(source), where)
        root = Node(source if isinstance(source, Mapping) else read_json(source, where), where, "")
        root.key("format").one_of(FORMAT)
        version = root.key("version").integer(0)
        if version != VERSION:
            raise BundleError(f"{where}: expected version {VERSION}, got {version}; update rr-runtime, or export again")
        sites = root.key("sites").at_most(MOST_SITES).each(_read_site)
        _check_sites(root.key("sites"), sites)
        interface = root.key("interface").one_of(*INTERFACES)
        if (interface == "plain") != (not sites):
            root.key("sites").fail(f"{'no sites' if sites else 'sites'} in a file of interface {interface!r}")
        _check_gates(root, sites, interface)
        root.key("generator").one_of(GENERATOR)
        tolerances = root.key("tolerances")
        recorded = root.optional("files")
        files = dict(map(_read_file, recorded.items())) if recorded is not None else {}
        one_file = colliding((*files, MANIFEST))
        if recorded is not None and one_file:
            recorded.fail(f"names of different files on every system, and not {' and '.join(map(repr, one_file))}")
        inputs, outputs = _read_tensors(root.key("inputs")), _read_tensors(root.key("outputs"))
        golden = root.optional("golden")
        axes = root.optional("axes")
        unseen = root.optional("unseen_conditions")
        profiles = root.optional("profiles")
        pruned = root.optional("pruned") if sites else None  # a static file of a pruned one has no sites
        return cls(
            interface=interface,
            opset=root.key("opset").integer(1),
            sites=sites,
            inputs=inputs,
            outputs=outputs,
            rtol=tolerances.key("rtol").number(0.0, 1e9),
            atol=tolerances.key("atol").number(0.0, 1e9),
            producer=MappingProxyType({name: node.text() for name, node in root.key("producer").items()}),
            axes=MappingProxyType(
                {name: _read_bounds(node) for name, node in axes.items()} if axes is not None else {}
            ),
            files=MappingProxyType(files),
            targets=read_targets(
                root.optional("targets"),
                [len(site.branches) for site in sites],
                {tensor.name for tensor in inputs},
                {tensor.name for tensor in outputs},
                files,
                {name for tensor in inputs for size in tensor.shape for name in symbols(size)},
            ),
            golden=_read_golden(golden, sites) if golden is not None else (),
            unseen_conditions=unseen.each(Node.text) if unseen is not None else (),
            profiles=MappingProxyType(
                {name: _read_profile(name, node, sites) for name, node in profiles.items()}
                if profiles is not None
                else {}
            ),
            pruned=None if pruned is None else read_pruned(pruned, sites),
        )

    def about_model(self) -> Manifest:
        """Returns what the manifest says about the model alone: without files, targets, golden cases and profiles."""
        nothing: Mapping[str, Any] = MappingProxyType({})
        return replace(self, files=nothing, targets=nothing, golden=(), profiles=nothing)


def refuse_long_manifest(size: int, where: str) -> None:
    """Raises a BundleError where a manifest is longer than any that is written: nothing of it is read."""
    if size > MOST_BYTES:
        raise BundleError(
            f"{where}: expected a manifest of at most {MOST_BYTES} bytes, got {size}; do not use this file, "
            "no exporter writes such a long one"
        )


def _read_site(node: Node) -> Site:
    branches = node.key("branches").each(Node.text)
    if not branches:
        node.key("branches").fail("at least one branch")
    return Site(
        name=node.key("name").text(),
        kind=node.key("kind").one_of(*KINDS),
        branches=branches,
        calls=node.key("calls").each(lambda call: call.each(_read_pair)),
        policy=_read_policy(node.key("policy"), len(branches)),
    )


def _read_pair(node: Node) -> tuple[int, int]:
    pair = node.each(lambda index: index.integer(0))
    return (pair[0], pair[1]) if len(pair) == 2 else node.fail("a pair [site index, branch index]")


def _read_policy(node: Node, branches: int) -> Policy:
    def read_row(length: int) -> Callable[[Node], tuple[float, ...]]:
        def read(row: Node) -> tuple[float, ...]:
            numbers = row.each(lambda number: number.number(0.0, 1.0))
            return numbers if len(numbers) == length else row.fail(f"{length} numbers ({branches} branches)")

        return read

    kind = node.key("type").one_of("categorical", "markov", "gate")
    if kind == "gate":
        return Policy(kind, (), (), None, None, node.key("decision").one_of("sample", "argmax"))
    probabilities = node.key("probabilities").each(read_row(branches))
    thresholds = node.key("thresholds").each(read_row(branches - 1))
    if not probabilities or (kind == "categorical" and len(probabilities) != 1):
        node.key("probabilities").fail("one row" if kind == "categorical" else "at least one row")
    if len(thresholds) != len(probabilities):
        node.key("thresholds").fail(f"{len(probabilities)} rows, as many as of probabilities")
    if any(abs(sum(row) - 1) > 1e-6 for row in probabilities):
        node.key("probabilities").fail("rows that sum to 1")
    if any(list(row) != sorted(row) for row in thresholds):
        node.key("thresholds").fail("rows that do not fall")
    for number, (law, row) in enumerate(zip(probabilities, thresholds, strict=True)):
        if any(abs(found - t) > THRESHOLD_TOLERANCE for found, t in zip(row, _cumulated(law), strict=True)):
            node.key("thresholds").fail(f"in row {number} the cumulated probabilities {list(law)}")
    chain = node.key("chain").integer(0) if kind == "markov" else None
    step = node.key("step").integer(0) if kind == "markov" else None
    return Policy(kind, probabilities, thresholds, chain, step)


def _check_gates(root: Node, sites: tuple[Site, ...], interface: str) -> None:
    """Only graphs that decide, and take a path, have gates."""
    if not any(site.policy.type == "gate" for site in sites):
        return
    if interface not in GATED:
        root.key("interface").fail(f"one of {', '.join(GATED)}, as the input decides at a site")
    targets = root.optional("targets")
    for _, target in targets.items() if targets is not None else ():
        if target.key("form").text() != "routed":
            target.key("form").fail("'routed', as the input decides at a site")
        target.key("interface").one_of(*GATED)


def _cumulated(law: tuple[float, ...]) -> list[float]:
    """The thresholds of a row before they are rounded: the sums of its first numbers, 1 where nothing remains."""
    total = sum(law)
    sums = itertools.accumulate(number / total for number in law[:-1])
    return [found if any(law[j:]) else 1.0 for j, found in enumerate(sums, 1)]


def _check_sites(node: Node, sites: tuple[Site, ...]) -> None:
    """Holds what no site can say alone: names, nesting and the steps of each chain fit together."""
    if len({site.name for site in sites}) != len(sites):
        node.fail("sites of different names")
    _check_calls(node, sites)
    steps = {(site.policy.chain, site.policy.step): site for site in sites if site.policy.type == "markov"}
    if len(steps) != sum(site.policy.type == "markov" for site in sites):
        node.fail("each step of a chain once")
    for (chain, step), site in steps.items():
        before = steps.get((chain, step - 1)) if step else None
        if step and before is None:
            raise BundleError(
                f"{node.where}: {node.place}: site {site.name!r}, step {step} of chain {chain}: expected a step "
                f"{step - 1} before it, got none; {DAMAGED}"
            )
        rows = len(before.branches) if before else 1
        if len(site.policy.probabilities) != rows:
            raise BundleError(
                f"{node.where}: {node.place}: site {site.name!r}, step {step} of chain {chain}: expected {rows} "
                f"rows of probabilities, got {len(site.policy.probabilities)}; {DAMAGED}"
            )


def _check_calls(node: Node, sites: tuple[Site, ...]) -> None:
    """Each call names branches of other sites, and for each of these all that are around one of its site's calls."""
    around, comparisons = [set(site.calls) for site in sites], 0
    for i, site in enumerate(sites):
        for outer, branch in (pair for call in site.calls for pair in call):
            if outer >= len(sites) or outer == i or branch >= len(sites[outer].branches):
                raise BundleError(
                    f"{node.where}: {node.place}[{i}].calls: expected enclosing branches of other sites, "
                    f"got [{outer}, {branch}]; {DAMAGED}"
                )
        for call in site.calls:
            named = set(call)
            for depth, (outer, _) in enumerate(call):
                if () in around[outer] or call[:depth] in around[outer]:  # as nearly always
                    continue
                for other in sites[outer].calls:
                    comparisons += 1
                    if comparisons > MOST_COMPARISONS or named.issuperset(other):
                        break
                else:
                    raise BundleError(
                        f"{node.where}: {node.place}[{i}].calls: expected all branches around each enclosing one, "
                        f"got {list(map(list, call))}; {DAMAGED}"
                    )
                if comparisons > MOST_COMPARISONS:
                    node.fail(f"calls that {MOST_COMPARISONS} comparisons tell to fit")


def _read_profile(name: str, node: Node, sites: tuple[Site, ...]) -> Profile:
    """A law for every site, whose chains are its own; or one path."""
    policies, path, measured = node.optional("policies"), node.optional("path"), node.optional("measured")
    if not name or (policies is None) == (path is None):
        node.fail("a name, and either policies or a path")
    routed: tuple[Site, ...] = ()
    if policies is not None:
        rows = policies.each(lambda row: row)
        if len(rows) != len(sites):
            policies.fail(f"{len(sites)} policies, one per site")
        routed = tuple(
            replace(site, policy=_read_policy(row, len(site.branches))) for site, row in zip(sites, rows, strict=True)
        )
        _check_sites(policies, routed)
        for one, site in zip(routed, sites, strict=True):
            if one.policy.type == "gate" and one.policy != site.policy:
                policies.fail(f"a law of its own for site {site.name!r}, at which no gate decides so")
    routes = None if path is None else _read_routes(path, sites)
    if path is not None and routes is not None:
        for i, site in enumerate(sites):
            if any(all(routes[s] == k for s, k in call) for call in site.calls) != (routes[i] >= 0):
                path.fail(f"a route for site {i} where, and only where, it is reached")
    return Profile(name, routed, routes, None if measured is None else _read_measured(measured))


def _read_measured(node: Node) -> Measured:
    cost, quality, spread = (node.key(name).number(*RANGES[name]) for name in ("cost", "quality", "spread"))
    return Measured(cost, quality, spread, node.key("metric").text())


def _read_tensors(node: Node) -> tuple[Tensor, ...]:
    tensors = node.each(
        lambda tensor: Tensor(
            name=tensor.key("name").text(),
            dtype=tensor.key("dtype").one_of(*DTYPES),
            shape=tensor.key("shape").each(_read_size),
        )
    )
    names = [tensor.name for tensor in tensors]
    taken = not set(names).isdisjoint(RESERVED) or any(name.startswith(GATE) for name in names)
    if len(set(names)) != len(names) or taken:
        node.fail(f"different names, and none of {', '.join(RESERVED)}, nor any that begins with {GATE}")
    return tensors


def _read_bounds(node: Node) -> tuple[int | None, int | None]:
    bounds = node.each(lambda bound: None if bound.value is None else bound.integer(0))
    if len(bounds) != 2:
        node.fail("the least and the largest size")
    if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
        node.fail("a least size that is not above the largest")
    return bounds[0], bounds[1]


def _read_size(node: Node) -> int | str:
    return node.text() if isinstance(node.value, str) else node.integer(0)


def _read_file(item: tuple[str, Node]) -> tuple[str, RecordedFile]:
    name, node = item
    if not is_portable(name):
        raise BundleError(
            f"{node.where}: files: expected names of files inside the bundle's folder, got {name!r}; "
            "do not use this bundle, somebody made it to reach other files"
        )
    digest = node.key("sha256")
    if not re.fullmatch("[0-9a-f]{64}", digest.text()):
        digest.fail("64 hexadecimal digits, lower case")
    return name, RecordedFile(digest.text(), node.key("bytes").integer(0))


def _read_golden(node: Node, sites: tuple[Site, ...]) -> tuple[GoldenCase, ...]:
    cases: list[GoldenCase] = []
    for row in node.each(lambda row: row):
        seed, path, taken = row.key("seed"), row.key("path"), row.key("taken")
        inputs, why = row.optional("inputs"), row.optional("why")
        if inputs is not None and cases[inputs.integer(0, len(cases) - 1)].inputs is not None:
            inputs.fail("an earlier run with inputs of its own")
        cases.append(
            GoldenCase(
                seed=None if seed.value is None else seed.integer(0, SEEDS - 1),
                path=None if path.value is None else _read_routes(path, sites),
                taken=None if taken.value is None else _read_routes(taken, sites),
                inputs=None if inputs is None else int(inputs.value),
                why="" if why is None else why.text(),
            )
        )
    return tuple(cases)


def _read_routes(node: Node, sites: tuple[Site, ...]) -> tuple[int, ...]:
    routes = node.each(lambda route: route.integer(-1))
    if len(routes) != len(sites) or any(route >= len(site.branches) for route, site in zip(routes, sites, strict=True)):
        node.fail(f"{len(sites)} routes, each -1 or an index of the site's branches")
    return routes
