"""Reads the targets of a bundle: other forms of its model, each for one execution provider (SPEC.md, section 9)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

from rr_runtime.errors import BundleError
from rr_runtime.json_node import DAMAGED, Node

FORMS = ("routed", "segments", "frozen")
PRECISIONS = ("float32", "float16", "qdq", "qdq16")
ROUTED_INTERFACES = ("explicit", "host", "gates", "plain")
DEFAULT = "default"  # the name under which the bundle's own model is asked for


@dataclass(frozen=True)
class Run:
    """A step of a program: one static file is run.

    Attributes:
        model: the file's name.
        inputs: the values that it takes, by their names.
        outputs: the values that it gives.
    """

    model: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Branch:
    """One branch of a step that chooses: its steps, and the values that are its results."""

    steps: tuple[Step, ...]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Choose:
    """A step of a program: the branch that is the site's route is walked.

    Attributes:
        site: the site's index.
        outputs: the values that the results of the walked branch become.
        branches: one for each route.
    """

    site: int
    outputs: tuple[str, ...]
    branches: tuple[Branch, ...]


Step = Run | Choose


@dataclass(frozen=True)
class FrozenPath:
    """One path of a frozen target.

    Attributes:
        path: S routes, -1 where the site is not reached.
        weight: the probability with which the target takes it.
        keep: where a run's own path is this one, it is taken if the run's draw number S is below this.
        model: the file's name.
    """

    path: tuple[int, ...]
    weight: float
    keep: float
    model: str


@dataclass(frozen=True)
class Target:
    """Another form of the bundle's model.

    Attributes:
        name: what it is asked for by.
        provider: the short name of the execution provider that it is made for.
        form: "routed" (one graph with ``If``), "segments" (static files and a program) or "frozen" (static paths).
        precision: "float32", "float16", or 8-bit integers between QuantizeLinear and DequantizeLinear: "qdq", and
            "qdq16" where activations have 16 bits.
        rtol: the relative tolerance of its floating-point outputs.
        atol: the absolute tolerance.
        share: where above 0, the tolerance instead: a share of the standard deviation of each output.
        sizes: sizes of symbolic axes that are fixed here.
        interface: of a routed form: "explicit", "host", "gates" or "plain"; else None.
        model: the file of a routed form, else None.
        program: the steps of a segments form, else ().
        paths: the paths of a frozen form, else ().
        thresholds: of a frozen form, float32 numbers: where a run's own path is not taken, the path is the number of
            thresholds <= the run's draw number S + 1.
    """

    name: str
    provider: str
    form: str
    precision: str
    rtol: float
    atol: float
    share: float
    sizes: Mapping[str, int]
    interface: str | None
    model: str | None
    program: tuple[Step, ...]
    paths: tuple[FrozenPath, ...]
    thresholds: tuple[float, ...]


def read_targets(
    node: Node | None,
    branches: Sequence[int],
    inputs: Collection[str],
    outputs: Collection[str],
    files: Collection[str],
    axes: Collection[str],
) -> Mapping[str, Target]:
    """Returns the targets that the manifest's key ``targets`` describes, by name.

    Args:
        node: the value of the key, None where there is none.
        branches: the number of branches of every site.
        inputs: the names of the model's own inputs.
        outputs: the names of the model's own outputs.
        files: the names of the recorded files.
        axes: the names of the symbolic sizes of the inputs.

    Raises:
        BundleError: a key is missing or wrong, a file is not recorded, or a program uses a value before it is there.
    """
    if node is None:
        return MappingProxyType({})
    reader = _Reader(branches, files, axes)
    try:
        targets = {name: reader.target(name, entry) for name, entry in node.items()}
        for name, target in targets.items():
            if name == DEFAULT:
                node.fail(f"other names than {DEFAULT!r}, which is the bundle's own model")
            if target.form == "segments":
                where = f"{node.where}: {node.place}.{name}.program"
                missing = set(outputs) - _walk(target.program, set(inputs), where)
                if missing:
                    _undefined(where, min(missing))
    except RecursionError:
        node.fail("programs that are not nested without end")
    return MappingProxyType(targets)


class _Reader:
    """What targets may refer to: branches of sites and recorded files."""

    def __init__(self, branches: Sequence[int], files: Collection[str], axes: Collection[str]) -> None:
        self._branches, self._files, self._axes = branches, files, axes

    def target(self, name: str, node: Node) -> Target:
        form = node.key("form").one_of(*FORMS)
        routed, frozen = form == "routed", form == "frozen"
        share, sizes, operators = node.optional("share"), node.optional("sizes"), node.optional("operators")
        if sizes is not None and any(axis not in self._axes for axis, _ in sizes.items()):
            sizes.fail(f"sizes of {', '.join(self._axes) or 'no axis'}")
        if operators is not None:
            self._file(operators)
        paths = node.key("paths").each(self._path) if frozen else ()
        if frozen and not paths:
            node.key("paths").fail("at least one path")
        if frozen and len({p.path for p in paths}) != len(paths):
            node.key("paths").fail("different paths")
        if frozen and abs(sum(p.weight for p in paths) - 1) > 1e-6:
            node.key("paths").fail("weights that sum to 1")
        thresholds = node.key("thresholds").each(lambda n: n.number(0.0, 1.0)) if frozen else ()
        if frozen and (len(thresholds) != len(paths) - 1 or list(thresholds) != sorted(thresholds)):
            node.key("thresholds").fail(f"{len(paths) - 1} thresholds that do not fall")
        return Target(
            name=name,
            provider=node.key("provider").text(),
            form=form,
            precision=node.key("precision").one_of(*PRECISIONS),
            rtol=node.key("rtol").number(0.0, 1e9),
            atol=node.key("atol").number(0.0, 1e9),
            share=0.0 if share is None else share.number(0.0, 1.0),
            sizes=MappingProxyType({n: size.integer(1) for n, size in sizes.items()} if sizes is not None else {}),
            interface=node.key("interface").one_of(*ROUTED_INTERFACES) if routed else None,
            model=self._file(node.key("model")) if routed else None,
            program=node.key("program").each(self._step) if form == "segments" else (),
            paths=paths,
            thresholds=thresholds,
        )

    def _step(self, node: Node) -> Step:
        run = node.optional("run")
        if run is not None:
            return Run(self._file(run), node.key("inputs").each(Node.text), node.key("outputs").each(Node.text))
        site = node.key("site").integer(0, len(self._branches) - 1)
        outputs = node.key("outputs").each(Node.text)
        branches = node.key("branches").each(self._branch)
        if len(branches) != self._branches[site] or any(len(b.results) != len(outputs) for b in branches):
            node.key("branches").fail(f"{self._branches[site]} branches, each with {len(outputs)} results")
        return Choose(site, outputs, branches)

    def _branch(self, node: Node) -> Branch:
        return Branch(node.key("steps").each(self._step), node.key("results").each(Node.text))

    def _path(self, node: Node) -> FrozenPath:
        path = node.key("path").each(lambda route: route.integer(-1))
        if len(path) != len(self._branches) or any(r >= k for r, k in zip(path, self._branches, strict=True)):
            node.key("path").fail(f"{len(self._branches)} routes, each -1 or an index of the site's branches")
        keep = node.key("keep").number(0.0, 1.0)
        return FrozenPath(path, node.key("weight").number(0.0, 1.0), keep, self._file(node.key("model")))

    def _file(self, node: Node) -> str:
        name = node.text()
        return name if name in self._files else node.fail("the name of a recorded file")


def _walk(steps: Sequence[Step], known: set[str], where: str) -> set[str]:
    """Returns the values that are there after the steps."""
    for step in steps:
        if isinstance(step, Run):
            for name in step.inputs:
                if name not in known:
                    _undefined(where, name)
        else:
            for branch in step.branches:
                inside = _walk(branch.steps, set(known), where)
                for name in branch.results:
                    if name not in inside:
                        _undefined(where, name)
        known |= set(step.outputs)
    return known


def _undefined(where: str, name: str) -> NoReturn:
    raise BundleError(f"{where}: expected steps that make the value {name!r} before it is used, got none; {DAMAGED}")
