"""One direction of a recurrent layer as a ``Scan`` over its steps, for what ONNX Runtime has no kernel of.

The product of input and weights is computed for all steps at once, outside; formulas are those of torch.nn.LSTM, GRU
and RNN. After the end of a sequence the state stays, and the output is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from rr_export.capture.recast.weight_layout import WeightLayout


@dataclass(frozen=True)
class Direction:
    """One direction of a layer.

    Attributes:
        kind: LSTM, GRU or RNN.
        activation: of an RNN.
        weights: weight_ih, weight_hh, bias_ih and bias_hh if there are any, weight_hr if projected.
        hidden: width of the state.
        number: 0 forward, 1 from the last step to the first.
    """

    kind: str
    activation: str
    weights: Sequence[ir.Value]
    hidden: int
    number: int


def scanned(
    layout: WeightLayout, direction: Direction, x: ir.Value, lengths: ir.Value | None, states: Sequence[ir.Value | None]
) -> list[ir.Value]:
    """Returns output [T, 1, N, ..] and final states [1, N, ..].

    Args:
        layout: makes the nodes.
        direction: which one.
        x: [T, N, ..].
        lengths: int64 [N], or None.
        states: the initial ones, [directions, N, ..]; None: zeros.
    """
    assert x.dtype is not None
    widths = [_width(direction), direction.hidden][: len(states)]
    first = [_initial(layout, direction.number, x, s, w) for s, w in zip(states, widths, strict=True)]
    steps = [_from_input(layout, direction, x)]
    if lengths is not None:
        steps.append(_running(layout, x, lengths))
    backwards = [direction.number]
    node = layout.node(
        "Scan",
        [*first, *steps],
        len(first) + 1,
        body=_body(layout, direction, x.dtype, widths, masked=lengths is not None),
        num_scan_inputs=len(steps),
        scan_input_directions=backwards * len(steps),
        scan_output_directions=backwards,
    )
    *finals, output = node.outputs
    one, zero = layout.constant(np.array([1])), layout.constant(np.array([0]))
    return [layout.op("Unsqueeze", [output, one]), *(layout.op("Unsqueeze", [value, zero]) for value in finals)]


def _width(direction: Direction) -> int:
    """Of the output, and of the state that is multiplied: columns of weight_hh."""
    shape = direction.weights[1].shape
    assert shape is not None
    return int(shape.numpy()[1])


def _initial(layout: WeightLayout, number: int, x: ir.Value, state: ir.Value | None, width: int) -> ir.Value:
    """[N, width]."""
    if state is not None:
        return layout.op("Gather", [state, layout.constant(np.array(number))], axis=0)
    assert x.dtype is not None
    batch = layout.op("Shape", [x], start=1, end=2)
    shape = layout.op("Concat", [batch, layout.constant(np.array([width]))], axis=0)
    return layout.op("Expand", [layout.constant(np.zeros((), x.dtype.numpy())), shape])


def _from_input(layout: WeightLayout, direction: Direction, x: ir.Value) -> ir.Value:
    """What every step gets from the input: [T, N, gates * hidden]."""
    product = layout.op("MatMul", [x, layout.transposed(direction.weights[0])])
    return layout.op("Add", [product, direction.weights[2]]) if len(direction.weights) > 3 else product


def _running(layout: WeightLayout, x: ir.Value, lengths: ir.Value) -> ir.Value:
    """Whether a sequence has this step: bool [T, N, 1]."""
    steps = layout.op("Shape", [x], start=0, end=1)
    count = layout.op("Squeeze", [steps])
    numbers = layout.op("Range", [layout.constant(np.array(0)), count, layout.constant(np.array(1))])
    column = layout.op("Unsqueeze", [numbers, layout.constant(np.array([1, 2]))])
    return layout.op("Less", [column, layout.op("Unsqueeze", [lengths, layout.constant(np.array([1]))])])


def _body(
    layout: WeightLayout, direction: Direction, dtype: ir.DataType, widths: Sequence[int], *, masked: bool
) -> ir.Graph:
    """The graph of one step: states, what comes from the input, whether it counts -> states, output."""
    body = _Body(layout, dtype)
    states = [body.value(width) for width in widths]
    gates = body.value(None)
    inputs = [*states, gates]
    hh = layout.transposed(direction.weights[1])
    product = body.op("MatMul", [states[0], hh])
    if len(direction.weights) > 3:
        product = body.op("Add", [product, direction.weights[3]])
    new = _FORMULAS[direction.kind](body, direction, gates, product, states)
    if len(direction.weights) % 2:
        new[0] = body.op("MatMul", [new[0], layout.transposed(direction.weights[-1])])
    output = body.op("Identity", [new[0]])
    if masked:
        running = body.value(1, ir.DataType.BOOL)
        inputs.append(running)
        output = body.op("Where", [running, new[0], body.scalar(0)])
        new = [body.op("Where", [running, value, old]) for value, old in zip(new, states, strict=True)]
    results = [*new, output]
    for value, width in zip(results, [*widths, widths[0]], strict=True):
        value.type, value.shape = ir.TensorType(dtype), ir.Shape([None, width])
    return ir.Graph(inputs, results, nodes=body.nodes, name="step")


class _Body:
    """Collects the nodes of one step."""

    def __init__(self, layout: WeightLayout, dtype: ir.DataType) -> None:
        self._layout, self._dtype, self.nodes = layout, dtype, list[ir.Node]()

    def value(self, width: int | None, dtype: ir.DataType | None = None) -> ir.Value:
        """Returns an input, [N, width]."""
        kind = ir.TensorType(dtype or self._dtype)
        return ir.Value(name=self._layout.name(), type=kind, shape=ir.Shape([None, width]))

    def op(self, op_type: str, inputs: Sequence[ir.Value], **options: Any) -> ir.Value:
        """Returns the only output of a new node."""
        return self._added(ir.node(op_type, inputs, options))[0]

    def scalar(self, number: float) -> ir.Value:
        """Returns a constant."""
        return self.op("Constant", [], value=ir.tensor(np.array(number, self._dtype.numpy())))

    def split(self, value: ir.Value, parts: int) -> Sequence[ir.Value]:
        """Returns equal parts along the last axis."""
        return self._added(ir.node("Split", [value], {"axis": -1, "num_outputs": parts}, num_outputs=parts))

    def _added(self, node: ir.Node) -> Sequence[ir.Value]:
        self.nodes.append(node)
        for value in node.outputs:
            value.name = self._layout.name()
        return node.outputs


def _lstm(
    body: _Body, direction: Direction, gates: ir.Value, product: ir.Value, states: Sequence[ir.Value]
) -> list[ir.Value]:
    parts = body.split(body.op("Add", [gates, product]), 4)
    i, f, o = (body.op("Sigmoid", [parts[k]]) for k in (0, 1, 3))
    kept = body.op("Mul", [f, states[1]])
    cell = body.op("Add", [kept, body.op("Mul", [i, body.op("Tanh", [parts[2]])])])
    return [body.op("Mul", [o, body.op("Tanh", [cell])]), cell]


def _gru(
    body: _Body, direction: Direction, gates: ir.Value, product: ir.Value, states: Sequence[ir.Value]
) -> list[ir.Value]:
    pairs = list(zip(body.split(gates, 3), body.split(product, 3), strict=True))
    r, z = (body.op("Sigmoid", [body.op("Add", pair)]) for pair in pairs[:2])
    new = body.op("Tanh", [body.op("Add", [pairs[2][0], body.op("Mul", [r, pairs[2][1]])])])
    old = body.op("Mul", [z, states[0]])
    return [body.op("Add", [body.op("Mul", [body.op("Sub", [body.scalar(1), z]), new]), old])]


def _rnn(
    body: _Body, direction: Direction, gates: ir.Value, product: ir.Value, states: Sequence[ir.Value]
) -> list[ir.Value]:
    return [body.op(direction.activation, [body.op("Add", [gates, product])])]


_FORMULAS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
