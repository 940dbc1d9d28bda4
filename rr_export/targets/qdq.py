"""A static model -> the same with 8-bit integers between QuantizeLinear and DequantizeLinear; its borders stay float32.

before:  x -> MatMul(w) -> y
after:   x -> Q -> DQ -> MatMul(DQ(w of 8 bits)) -> Q -> DQ -> y

onnxruntime's static quantiser does it; here stands what each execution provider wants of it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as ir_passes
from numpy.typing import NDArray
from onnx import numpy_helper

from rr_export.bundle.weights import EXTERNAL_ABOVE, inlined, weight_bytes
from rr_export.errors import PackageError
from rr_export.passes.unique_names import name_uniquely
from rr_export.targets.masks import WIDEST, is_narrow, spread
from rr_export.targets.onnxruntime_tools import quiet_tools

logger = logging.getLogger(__name__)
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Scheme:
    """How an execution provider wants its integers.

    Attributes:
        activations: the type of what flows: "QUInt8", "QInt8" or "QUInt16".
        weights: the type of weights.
        why: the reason for them.
        per_channel: weights have a range for each output channel, not one for the tensor.
        narrow: weights use 7 of their 8 bits.
        operators: those that are quantised; None: all that the quantiser knows.
        keep_relu: Relu and Clip stay; else the range of the integers does their work where it can.
        for_qnn: by onnxruntime's own recipe for QNN.
    """

    activations: str
    weights: str
    why: str
    per_channel: bool = False
    narrow: bool = False
    operators: tuple[str, ...] | None = None
    keep_relu: bool = False
    for_qnn: bool = False


SCHEMES: Mapping[str, Scheme] = {
    "qnn": Scheme("QUInt8", "QUInt8", "the recipe's defaults", for_qnn=True),
    "nnapi": Scheme(
        "QUInt8",
        "QUInt8",
        "it refuses signed activations, and turns signed weights of a whole tensor into unsigned ones",
        # what it knows as a group of DequantizeLinear, operator and QuantizeLinear; others would be cut off by theirs
        operators=(
            *("Add", "AveragePool", "Concat", "Conv", "Gemm", "MatMul", "Mul", "Reshape", "Resize", "Softmax"),
            *("Transpose", "Clip", "Relu"),
        ),
    ),
    "xnnpack": Scheme("QUInt8", "QUInt8", "it wants both signed or both not, and its Softmax unsigned"),
}
QNN_16 = Scheme("QUInt16", "QInt8", "transformers lose too much with 8 bits", per_channel=True, for_qnn=True)
ANY = Scheme(
    "QUInt8",
    "QInt8",
    "right on every CPU: without VNNI, sums of two products of 8 bits overflow 16",
    narrow=True,
    keep_relu=True,
)


def find_scheme(provider: str, activation_bits: int) -> Scheme:
    """Returns how the provider wants its integers.

    Raises:
        ValueError: it does not take that many bits.
    """
    if activation_bits == 8:
        return SCHEMES.get(provider, ANY)
    if activation_bits == 16 and provider == "qnn":
        return QNN_16
    allowed = "8 or 16" if provider == "qnn" else "8"
    raise ValueError(f"activation_bits: expected {allowed} for {provider}, got {activation_bits!r}; pass 8")


def quantize_static_model(
    model: ir.Model,
    feeds: Sequence[Arrays],
    provider: str,
    *,
    activation_bits: int = 8,
    masks: Collection[str] = (),
) -> ir.Model:
    """Returns the model in QDQ form, its inputs, outputs, opset and metadata as they were.

    Nodes that read or write masks, or other values beyond ``WIDEST``, stay float32. A model without anything to
    quantise is returned itself. Nothing is left on disk, and equal arguments give equal models.

    Args:
        model: a static model (a segment or a frozen path); it stays as it is.
        feeds: its inputs, which show the quantiser the range of every value; all runs count alike.
        provider: the short name of the execution provider; ``SCHEMES`` says what each wants.
        activation_bits: 8, or 16 for qnn: what flows has 16 bits and weights 8, one range per output channel, which
            transformers need. The opset is 21 then, the first with integers of 16 bits.
        masks: inputs that may carry a mask, even if no feed shows one.

    Raises:
        ValueError: there are no feeds, or the provider does not take that many bits.
        PackageError: the weights are too large, or onnxruntime changed the model's inputs or outputs.
    """
    if not feeds:
        raise ValueError(f"{model.graph.name}: expected feeds to calibrate with, got none; pass at least one")
    scheme = find_scheme(provider, activation_bits)
    if weight_bytes(model) > EXTERNAL_ABOVE:
        raise PackageError(
            f"{model.graph.name}: expected weights of at most {EXTERNAL_ABOVE} bytes for the quantiser, got "
            f"{weight_bytes(model)}; cut the model into more segments, or package it in float32"
        )
    source = inlined(model).clone()
    name_uniquely(source)  # nodes are excluded by their names
    with tempfile.TemporaryDirectory(prefix="rr_export.") as folder, quiet_tools():
        found = _quantized(ir.to_proto(source), _Feeds(feeds), scheme, masks, Path(folder))
    if not any(node.op_type == "QuantizeLinear" for node in found.graph.node):
        return model
    made = ir.from_proto(found)
    made.ir_version = model.ir_version  # tools write their newest, which older runtimes refuse
    made.graph.name = model.graph.name
    made.producer_name, made.producer_version = model.producer_name, model.producer_version
    made.metadata_props.clear()
    made.metadata_props.update(model.metadata_props)
    ir_passes.RemoveUnusedOpsetsPass()(made)
    _check_border(model, made, opset=21 if activation_bits == 16 else None)
    return made


class _Feeds:
    """What the quantiser reads its calibration data from."""

    def __init__(self, feeds: Sequence[Arrays]) -> None:
        self._feeds, self._next = [dict(arrays) for arrays in feeds], 0

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Returns the next inputs, None at the end."""
        self._next += 1
        return self._feeds[self._next - 1] if self._next <= len(self._feeds) else None

    def rewind(self) -> None:
        """The next inputs are the first ones."""
        self._next = 0


def _quantized(
    proto: onnx.ModelProto, feeds: _Feeds, scheme: Scheme, masks: Collection[str], folder: Path
) -> onnx.ModelProto:
    """Returns the model as onnxruntime's quantiser writes it."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator, quantize_static
    from onnxruntime.quantization.calibrate import TensorData, save_tensors_data

    source, target, cache = _prepared(proto, scheme, folder), folder / "quantised.onnx", folder / "ranges.json"
    prepared = onnx.load(source)
    config = _config(prepared, feeds, scheme)
    if not any(node.op_type in config.op_types_to_quantize for node in prepared.graph.node):
        return prepared
    calibrator = create_calibrator(
        source,
        config.op_types_to_quantize,
        augmented_model_path=str(folder / "augmented.onnx"),
        calibrate_method=CalibrationMethod.MinMax,
    )
    calibrator.collect_data(feeds)
    ranges = calibrator.compute_data()
    wide = _wide_tensors(prepared, {name: data.range_value for name, data in ranges.items()}, masks)
    excluded = [node.name for node in prepared.graph.node if wide & {*node.input, *node.output}]
    if excluded:
        logger.info("%s: %d nodes stay float32, for values above %s", proto.graph.name, len(excluded), WIDEST)
    for name in wide & set(ranges.keys()):
        ranges[name] = TensorData(lowest=np.float32(0), highest=np.float32(1))  # not used, but has to be finite
    save_tensors_data(ranges, cache)
    feeds.rewind()
    quantize_static(
        source,
        target,
        feeds,
        quant_format=config.quant_format,
        op_types_to_quantize=config.op_types_to_quantize,
        per_channel=config.per_channel,
        reduce_range=config.reduce_range,
        activation_type=config.activation_type,
        weight_type=config.weight_type,
        nodes_to_exclude=excluded,
        extra_options=config.extra_options,
        calibration_cache_path=cache,
    )
    return onnx.load(target)


def _prepared(proto: onnx.ModelProto, scheme: Scheme, folder: Path) -> Path:
    """Returns the model after the quantiser's own preparation: shapes inferred, biases and norms merged."""
    from onnxruntime.quantization.execution_providers.qnn import qnn_preprocess_model
    from onnxruntime.quantization.shape_inference import quant_pre_process

    source, fused, prepared = folder / "source.onnx", folder / "fused.onnx", folder / "prepared.onnx"
    del proto.metadata_props[:]  # with any, onnxruntime 1.32's part for QNN fails
    onnx.save(proto, source)  # of a model in memory, onnxruntime 1.32 loses large weights
    if scheme.for_qnn and qnn_preprocess_model(source, fused):
        source = fused
    quant_pre_process(source, prepared, skip_symbolic_shape=True)  # the exporter has inferred them
    return prepared


def _config(model: onnx.ModelProto, feeds: _Feeds, scheme: Scheme) -> Any:
    """Returns onnxruntime's configuration for the scheme."""
    from onnxruntime.quantization import QuantFormat, QuantType, StaticQuantConfig
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    types = {"activation_type": QuantType[scheme.activations], "weight_type": QuantType[scheme.weights]}
    if scheme.for_qnn:
        # weights of norms that have a range per channel, or a sign, put their norm on the CPU
        norms = {n.input[1] for n in model.graph.node if n.op_type.endswith("Normalization") and len(n.input) > 1}
        plain = {
            w.name: [{"quant_type": QuantType.QUInt8, "symmetric": False}]
            for w in model.graph.initializer
            if w.name in norms
        }
        config = get_qnn_qdq_config(
            model, feeds, per_channel=scheme.per_channel, init_overrides=plain if scheme.per_channel else None, **types
        )
        config.op_types_to_quantize.sort()
        config.extra_options.pop("UseQDQContribOps", None)  # opset 21 has 16 bits; the quantiser raises it
        return config
    operators = scheme.operators or sorted({*QDQRegistry, *QLinearOpsRegistry})
    return StaticQuantConfig(
        feeds,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(operators),
        per_channel=scheme.per_channel,
        reduce_range=scheme.narrow,
        extra_options={"QDQKeepRemovableActivations": scheme.keep_relu},
        **types,
    )


def _wide_tensors(model: onnx.ModelProto, ranges: Mapping[str, Sequence[Any]], masks: Collection[str]) -> set[str]:
    """Returns the names of the tensors that are beyond ``WIDEST``, or that a mask may make so."""
    graph = model.graph
    constants = {weight.name: weight for weight in graph.initializer}
    constants |= {n.output[0]: a.t for n in graph.node if n.op_type == "ConstantOfShape" for a in n.attribute}
    wide = {
        name
        for name, tensor in constants.items()
        if tensor.data_type == onnx.TensorProto.FLOAT and not is_narrow(numpy_helper.to_array(tensor))
    }
    wide = spread(((n.op_type, n.input, n.output) for n in graph.node), wide.union(masks))
    return wide | {name for name, ends in ranges.items() if not is_narrow(np.asarray(ends, np.float64))}


def _check_border(before: ir.Model, after: ir.Model, *, opset: int | None = None) -> None:
    """Raises a PackageError where inputs or outputs have other names, types or ranks, or the opset is another.

    Args:
        before: the model before the quantiser.
        after: the model after it.
        opset: the opset that is needed; None: that of the model.
    """
    for side in ("inputs", "outputs"):
        old, new = (
            [(v.name, v.dtype, None if v.shape is None else len(v.shape)) for v in getattr(model.graph, side)]
            for model in (before, after)
        )
        if old != new:
            raise PackageError(
                f"{before.graph.name}: expected the {side} {old} after onnxruntime's quantiser, got {new}; package it "
                "in float32"
            )
    wanted = max(opset or 0, before.opset_imports.get("", 0))
    if after.opset_imports.get("") != wanted:
        raise PackageError(
            f"{before.graph.name}: expected opset {wanted} after onnxruntime's quantiser, got "
            f"{after.opset_imports.get('')}; export with opset 20"
        )
