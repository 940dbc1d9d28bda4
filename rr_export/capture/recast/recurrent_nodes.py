"""Markers of recurrent layers -> LSTM, GRU and RNN, with their weights in ONNX's layout.

before:  y, h, c = rr::Recurrent(x, lengths, h, c, weight_ih, weight_hh, bias_ih, bias_hh, ... of each direction)
after:   y, h, c = LSTM(x, W, R, B, lengths, h, c)    W, R, B: directions stacked, gates in ONNX's order

Where ONNX Runtime has no such kernel (projections, float64), the steps are a ``Scan`` (:mod:`stepwise`). Where
the batch or the steps may be none, there are zeros in their place (:mod:`empty_sizes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from rr_export.capture.recast.empty_sizes import Padding, dynamic_sizes, needed
from rr_export.capture.recast.packing import DO, EXPECTED, PACKED
from rr_export.capture.recast.recurrent import MARKER
from rr_export.capture.recast.stepwise import Direction, scanned
from rr_export.capture.recast.weight_layout import Known, WeightLayout
from rr_export.capture.user_lines import line_of_node
from rr_export.errors import CaptureError

# for every gate of ONNX, which gate of torch it is: LSTM i o f c of i f c o, GRU z r h of r z h
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}


@dataclass(frozen=True)
class _Layer:
    """What a marker says.

    Attributes:
        kind: the operator of ONNX.
        activation: of an RNN.
        hidden: width of the state.
        x: [T, N, ..].
        lengths: int64 [N], or None.
        states: [directions, N, ..] each; None: zeros.
        weights: of every direction: weight_ih, weight_hh, bias_ih and bias_hh if there are any, weight_hr if projected.
        projected: whether the output is a projection of the state.
    """

    kind: str
    activation: str
    hidden: int
    x: ir.Value
    lengths: ir.Value | None
    states: Sequence[ir.Value | None]
    weights: Sequence[Sequence[ir.Value]]
    projected: bool


def expand_recurrent(model: ir.Model) -> set[str]:
    """Recurrent layers are operators of ONNX now; returns the dynamic axes of which none may have size 0."""
    known: Known = {}
    axes, bounded = dynamic_sizes(model), set[str]()
    for marker in list(model.graph):
        if (marker.domain, marker.op_type) == ("rr", PACKED):
            _check_unread(marker)
            model.graph.remove(marker, safe=True)
        if (marker.domain, marker.op_type) != ("rr", MARKER):
            continue
        layer, layout = _read(marker), WeightLayout(model.graph, marker, known)
        if layer.projected or layer.x.dtype == ir.DataType.DOUBLE:
            results: Sequence[ir.Value] = _by_steps(layer, layout)
        elif layer.kind == "RNN":
            results = _operator(layer, layout, len(marker.outputs))
        else:
            sizes = [needed(size, axes) for size in (layer.x.shape or ir.Shape([]))[:2]]
            if None in sizes:
                results = _padded(layer, layout, len(marker.outputs))
            else:
                results = _operator(layer, layout, len(marker.outputs))
                bounded.update(*filter(None, sizes))
        for old, new in zip(marker.outputs, results, strict=True):
            new.name, new.type, new.shape = old.name, old.type, old.shape
        ir.convenience.replace_all_uses_with(marker.outputs, results, replace_graph_outputs=True)
        model.graph.remove(marker, safe=True)
    return bounded


def _check_unread(packed: ir.Node) -> None:
    """Raises if something computes with the data of a packed sequence."""
    for value in packed.outputs:
        usage = next(iter(value.uses()), None)
        if usage is not None or value.is_graph_output():
            got = "an output of the model" if usage is None else usage.node.op_type
            where = line_of_node(packed if usage is None else usage.node) or "capture"
            raise CaptureError(f"{where}: expected {EXPECTED}, got {got}; {DO}")


def _read(marker: ir.Node) -> _Layer:
    said = marker.attributes
    x, lengths, *rest = marker.inputs
    assert x is not None
    states = rest[: said["states"].as_int()]
    weights = [weight for weight in rest[len(states) :] if weight is not None]
    per = len(weights) // said["directions"].as_int()
    return _Layer(
        said["kind"].as_string(),
        said["activation"].as_string(),
        said["hidden"].as_int(),
        x,
        lengths,
        states,
        [weights[i : i + per] for i in range(0, len(weights), per)],
        per % 2 == 1,
    )


def _operator(layer: _Layer, layout: WeightLayout, outputs: int) -> Sequence[ir.Value]:
    order, directions = _ORDER[layer.kind], layer.weights
    w, r = (layout.stacked([[direction[i]] for direction in directions], order) for i in (0, 1))
    b = layout.stacked([direction[2:4] for direction in directions], order) if len(directions[0]) > 2 else None
    lengths = layer.lengths
    if lengths is not None:
        lengths = layout.op("Cast", [lengths], to=ir.DataType.INT32)
    node = layout.node(
        layer.kind,
        [layer.x, w, r, b, lengths, *layer.states],
        outputs,
        hidden_size=layer.hidden,
        direction="bidirectional" if len(directions) == 2 else "forward",
        linear_before_reset=1 if layer.kind == "GRU" else None,
        activations=[layer.activation] * len(directions) if layer.kind == "RNN" else None,
    )
    return node.outputs


def _padded(layer: _Layer, layout: WeightLayout, outputs: int) -> Sequence[ir.Value]:
    padding = Padding(layout, layer.x)
    whole = replace(
        layer,
        x=padding.padded(layer.x, "TN."),
        lengths=None if layer.lengths is None else padding.padded(layer.lengths, "N", fill=1),
        states=[None if state is None else padding.padded(state, ".N.") for state in layer.states],
    )
    return padding.cut(_operator(whole, layout, outputs))


def _by_steps(layer: _Layer, layout: WeightLayout) -> Sequence[ir.Value]:
    found = []
    for number, weights in enumerate(layer.weights):
        direction = Direction(layer.kind, layer.activation, weights, layer.hidden, number)
        found.append(scanned(layout, direction, layer.x, layer.lengths, layer.states))
    output, *finals = zip(*found, strict=True)
    return [layout.op("Concat", output, axis=1), *(layout.op("Concat", parts, axis=0) for parts in finals)]
