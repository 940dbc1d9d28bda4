"""Values that one branch computes, and a branch of another call goes on with."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
import pytest

from rr_export.capture.captured_model import Captured
from rr_export.capture.origins import SCOPE_KEY
from rr_export.capture.python import diagram as dd
from rr_export.capture.recorder import Call
from rr_export.errors import LoweringError
from rr_export.laws.plan import Plan, Site
from rr_export.laws.policies import Uniform
from rr_export.lowering import gathering
from rr_export.lowering.gathering import gather
from rr_export.lowering.placement import place

COIN, OTHER = (dd.node(n, (0.5,), (dd.Leaf(0), dd.Leaf(1))) for n in (0, 1))


class Flat:
    """A flat graph in the making, of calls that decisions decide."""

    def __init__(self, *decisions: dd.Diagram) -> None:
        self.calls = tuple(Call(i % 2, (), which=which) for i, which in enumerate(decisions))
        self.x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([2]))
        self.graph = ir.Graph([self.x], [], nodes=[], name="flat")

    def node(self, op: str, scope: str, *inputs: ir.Value, domain: str = "") -> ir.Value:
        made = ir.Node(domain, op, inputs, metadata_props={SCOPE_KEY: scope})
        made.outputs[0].name = f"{op}.{len(self.graph)}"
        self.graph.append(made)
        return made.outputs[0]

    def select(self, call: int, scope: str, operands: Sequence[ir.Value]) -> ir.Value:
        value = self.node("Select", scope, self.node("Route", scope, domain="rr"), *operands, domain="rr")
        node = value.producer()
        assert node is not None
        node.attributes["call"] = ir.AttrInt64("call", call)
        return value

    def gathered(self, *outputs: ir.Value) -> Captured:
        self.graph.outputs.extend(outputs)
        sites = [Site(f"site {i}", ("a", "b"), Uniform(2), "python", ((),)) for i in range(2)]
        captured = Captured(ir.Model(self.graph, ir_version=10), Plan(sites), self.calls, {})
        return gather(self.graph, captured)

    def scopes(self, op: str) -> list[str]:
        return [node.metadata_props[SCOPE_KEY] for node in self.graph if node.op_type == op]


def test_value_moves_to_the_only_branch_that_reads_it() -> None:
    flat = Flat(COIN, COIN)
    first, second = flat.node("Neg", "0:0", flat.x), flat.node("Abs", "0:1", flat.x)
    first, second = flat.node("Exp", "1:0", first), flat.node("Sqrt", "1:1", second)
    captured = flat.gathered(flat.select(1, "", [first, second]))
    assert (flat.scopes("Neg"), flat.scopes("Abs"), captured.calls) == (["1:0"], ["1:1"], flat.calls)
    assert set(place(flat.graph, captured).selects) == {1}


def test_value_that_two_branches_read_is_computed_in_both() -> None:
    flat = Flat(COIN, COIN, COIN)
    first, second = flat.node("Neg", "0:0", flat.x), flat.node("Abs", "0:1", flat.x)
    results = [flat.select(c, "", [flat.node("Exp", f"{c}:0", first), second]) for c in (1, 2)]
    captured = flat.gathered(*results)
    assert (sorted(flat.scopes("Neg")), sorted(flat.scopes("Abs"))) == (["1:0", "2:0"], ["1:1", "2:1"])
    for node in flat.graph:
        if node.op_type == "Exp":
            source = node.inputs[0].producer() if node.inputs[0] is not None else None
            assert source is not None and source.metadata_props[SCOPE_KEY] == node.metadata_props[SCOPE_KEY]
    assert set(place(flat.graph, captured).selects) == {1, 2}


def test_branches_inside_are_copied_as_a_call_of_their_own() -> None:
    flat = Flat(COIN, OTHER, COIN, COIN)
    inner = flat.select(1, "0:0", [flat.node("Neg", "0:0/1:0", flat.x), flat.x])
    results = [flat.select(c, "", [flat.node("Exp", f"{c}:0", inner), flat.x]) for c in (2, 3)]
    captured = flat.gathered(*results)
    assert len(captured.calls) == 5
    assert captured.calls[4] == flat.calls[1]
    assert sorted(flat.scopes("Neg")) == ["2:0/1:0", "3:0/4:0"] or sorted(flat.scopes("Neg")) == ["2:0/4:0", "3:0/1:0"]
    placement = place(flat.graph, captured)
    assert {call: placement.scopes[node] for call, node in placement.selects.items()}.keys() == {1, 2, 3, 4}


def test_reader_deeper_inside_reads_what_its_branch_computes_once() -> None:
    flat = Flat(COIN, COIN, OTHER)
    value = flat.node("Neg", "0:0", flat.x)
    inner = flat.select(2, "1:0", [flat.node("Exp", "1:0/2:0", value), value])
    captured = flat.gathered(flat.select(1, "", [inner, flat.x]))
    assert flat.scopes("Neg") == ["1:0"]
    assert place(flat.graph, captured).scopes[next(n for n in flat.graph if n.op_type == "Neg")] == ((1, 0),)


@pytest.mark.parametrize("reader", ["", "1:0", "1:1", "0:1"])
def test_value_that_leaves_its_branch_stays_a_leak(reader: str) -> None:
    flat = Flat(COIN, OTHER)
    value = flat.node("Exp", reader, flat.node("Neg", "0:0", flat.x))
    operands = [value, flat.x] if reader.endswith("0") else [flat.x, value]
    call = int(reader[0]) if reader else 0
    captured = flat.gathered(flat.select(call, "", operands) if reader else value)
    assert flat.scopes("Neg") == ["0:0"]
    with pytest.raises(LoweringError, match=r"site 'site 0', branch 'a': expected values to leave the branch only as"):
        place(flat.graph, captured)


def test_calls_without_decisions_hand_nothing_on() -> None:
    flat = Flat(COIN, COIN)
    flat.calls = tuple(Call(call.site, call.enclosing) for call in flat.calls)
    value = flat.node("Exp", "1:0", flat.node("Neg", "0:0", flat.x))
    captured = flat.gathered(flat.select(1, "", [value, flat.x]))
    with pytest.raises(LoweringError, match="expected values to leave the branch only as"):
        place(flat.graph, captured)


def test_too_many_copies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_COPIES", 1)
    flat = Flat(COIN, COIN, COIN, COIN)
    value = flat.node("Neg", "0:0", flat.x)
    results = [flat.select(c, "", [flat.node("Exp", f"{c}:0", value), flat.x]) for c in (1, 2, 3)]
    with pytest.raises(LoweringError, match=r"^site \d: expected at most 1 nodes .*, got more; let the shapes agree"):
        flat.gathered(*results)
