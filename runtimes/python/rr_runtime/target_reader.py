"""Reads the targets of a bundle from its manifest."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from rr_runtime.json_node import Node
from rr_runtime.segment_program_reader import check_values, read_file_name, read_program
from rr_runtime.target import DEFAULT, FrozenPath, Target

FORMS = ("routed", "segments", "frozen")
PRECISIONS = ("float32", "float16", "qdq", "qdq16")
ROUTED_INTERFACES = ("explicit", "host", "gates", "plain")


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
                check_values(target.program, inputs, outputs, f"{node.where}: {node.place}.{name}.program")
    except RecursionError:
        node.fail("programs that are not nested without end")
    return MappingProxyType(targets)


class _Reader:
    """What targets may refer to: branches of sites, recorded files and symbolic sizes."""

    def __init__(self, branches: Sequence[int], files: Collection[str], axes: Collection[str]) -> None:
        self._branches, self._files, self._axes = branches, files, axes

    def target(self, name: str, node: Node) -> Target:
        """Returns one target."""
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
            program=read_program(node.key("program"), self._branches, self._files) if form == "segments" else (),
            paths=paths,
            thresholds=thresholds,
        )

    def _path(self, node: Node) -> FrozenPath:
        path = node.key("path").each(lambda route: route.integer(-1))
        if len(path) != len(self._branches) or any(r >= k for r, k in zip(path, self._branches, strict=True)):
            node.key("path").fail(f"{len(self._branches)} routes, each -1 or an index of the site's branches")
        keep = node.key("keep").number(0.0, 1.0)
        return FrozenPath(path, node.key("weight").number(0.0, 1.0), keep, self._file(node.key("model")))

    def _file(self, node: Node) -> str:
        return read_file_name(node, self._files)
