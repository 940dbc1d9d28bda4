"""The reader of .onnx files against the package onnx, and on files that are none."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from rr_runtime.errors import BundleError
from rr_runtime.tools.onnx_file import OnnxGraph, read_graph
from rr_runtime.tools.parts import gates_in, label, places_in


def same(graph: OnnxGraph, proto: onnx.GraphProto) -> int:
    """Returns how many nodes were compared."""
    assert [(n.name, n.op, n.inputs) for n in graph.nodes] == [(n.name, n.op_type, tuple(n.input)) for n in proto.node]
    assert {name: int(size) for name, size in graph.weights.items()} == {
        t.name: int(onnx.numpy_helper.to_array(t).size) for t in proto.initializer
    }
    count = len(graph.nodes)
    for node, other in zip(graph.nodes, proto.node, strict=True):
        assert dict(node.metadata) == {entry.key: entry.value for entry in other.metadata_props}
        bodies = {a.name: a.g for a in other.attribute if a.type == onnx.AttributeProto.GRAPH}
        assert node.graphs.keys() == bodies.keys()
        count += sum(same(body, bodies[name]) for name, body in node.graphs.items())
    return count


def test_reads_what_onnx_reads(saved: Path) -> None:
    proto = onnx.load(saved / "model.onnx")
    assert same(read_graph(saved / "model.onnx"), proto.graph) > 100


def test_every_node_of_a_branch_is_found_in_it(saved: Path) -> None:
    from rr_runtime.bundle import open_bundle

    sites = open_bundle(saved).manifest.sites
    graph = read_graph(saved / "model.onnx")
    places = places_in(graph, gates_in(graph), [len(site.branches) for site in sites], ())
    labels = {label(place.part, sites) for place in places}
    expected = {f"{site.name}: {branch}" for site in sites for branch in site.branches}
    assert expected <= labels and "sets: 2 or 3" in labels
    assert len(places) == sum(node.op != "Constant" for node in graph.all_nodes())
    assert not any(place.outside_of is not None for place in places)
    nested = next(place for place in places if label(place.part, sites) == "op.branches.2.0: run")
    assert [site for site, _, _ in nested.part] == [0, 1]


@pytest.mark.parametrize(
    "content",
    [b"", b"no model", b"\x08\x0a", b"\x3a\xff\x01abc", b"\x3a\x02\x0f\x00", b"\x3a" + b"\xff" * 12, b"\x3a\x01\x0a"],
)
def test_what_is_no_model_is_an_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.onnx"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"bad\.onnx: expected an ONNX model, got .+; export it again"):
        read_graph(file)


def test_a_model_cut_short_is_an_error(saved: Path, tmp_path: Path) -> None:
    content = (saved / "model.onnx").read_bytes()
    file = tmp_path / "cut.onnx"
    for length in range(1, len(content) - 1, len(content) // 20):
        file.write_bytes(content[:length])
        with pytest.raises(BundleError, match=r"cut\.onnx: expected an ONNX model, got .+; export it again"):
            read_graph(file)
