"""Tools that change numbers on purpose: quantisers and converters to half precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from survival.files import BATCH
from survival.rewriters import on_proto
from survival.tool import CALIBRATED, EIGHT_BITS, FOUR_BITS, HALF, Tool

CALIBRATION_RUNS = 64  # fewer leave paths out, and what only they reach is clipped
RANDOM_OPS = ("RandomUniform", "RandomNormal", "RandomUniformLike", "RandomNormalLike", "Bernoulli", "Multinomial")
COMPARISONS = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "Where")
BLOCKED = (*RANDOM_OPS, *COMPARISONS)
Feeds = dict[str, NDArray[Any]]


def feeds_of(model: onnx.ModelProto) -> Iterator[Feeds]:
    """Yields a few inputs, as one calibrates with: random numbers, drawn paths."""
    rng = np.random.default_rng(0)
    for seed in range(CALIBRATION_RUNS):
        feeds: Feeds = {}
        for value in model.graph.input:
            shape = [d.dim_value or BATCH for d in value.type.tensor_type.shape.dim]
            if value.name == "rr_seed":
                feeds[value.name] = np.array(seed)
            elif value.type.tensor_type.elem_type == onnx.TensorProto.INT64:
                feeds[value.name] = np.full(shape, -1, dtype=np.int64)
            elif value.name == "rr_draws":
                feeds[value.name] = rng.random(shape, dtype=np.float32)
            else:
                feeds[value.name] = rng.standard_normal(shape).astype(np.float32)
        yield feeds


def _dynamic(**extra: Any) -> Callable[[Path, Path], None]:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.quantization import quantize_dynamic

        quantize_dynamic(source, target, extra_options=extra)

    return run


def routing_nodes(model: onnx.ModelProto) -> list[str]:
    """Returns the names of the nodes that decide: rr_export calls them ``rr/...``."""
    return [node.name for node in model.graph.node if node.name.startswith("rr/")]


def _static(quant_format: str, *, keep_routing: bool = False) -> Callable[[Path, Path], None]:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.feeds = feeds_of(onnx.load(source))

            def get_next(self) -> Feeds | None:
                return next(self.feeds, None)

        kept = routing_nodes(onnx.load(source)) if keep_routing else []
        # else it drops a Relu whose output it quantises, and branches that read that output see it without Relu
        extra = {"QDQKeepRemovableActivations": True} if keep_routing else {}
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat[quant_format],
            nodes_to_exclude=kept,
            extra_options=extra,
        )

    return run


def _n_bits(quant_format: str, bits: int) -> Callable[[Path, Path], None]:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.quantization import QuantFormat
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(
            onnx.load(source), bits=bits, block_size=32, quant_format=QuantFormat[quant_format]
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(target), False)

    return run


def _half_by_onnxruntime(**options: Any) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        from onnxruntime.transformers import float16

        if "op_block_list" in options:
            options["op_block_list"] = sorted({*float16.DEFAULT_OP_BLOCK_LIST, *BLOCKED})
        if "node_block_list" in options:
            options["node_block_list"] = routing_nodes(model)
        return float16.convert_float_to_float16(model, **options)  # type: ignore[no-any-return]

    return change


def _half_by_common(**options: Any) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        from onnxconverter_common import float16

        if "op_block_list" in options:
            options["op_block_list"] = sorted({*float16.DEFAULT_OP_BLOCK_LIST, *BLOCKED})
        if "node_block_list" in options:
            options["node_block_list"] = routing_nodes(model)
        return float16.convert_float_to_float16(model, **options)  # type: ignore[no-any-return]

    return change


def _mixed_by_common(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxconverter_common import auto_mixed_precision

    return auto_mixed_precision.auto_convert_mixed_precision(  # type: ignore[no-any-return]
        model, next(feeds_of(model)), rtol=0.02, atol=0.02, keep_io_types=True
    )


def _shrink(method: str) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        from onnx_shrink_ray import shrink

        return shrink.quantize_weights(  # type: ignore[no-any-return]
            model, min_elements=1024, float_quantization=method == "floats"
        )

    return change


def _nncf_weights(mode: str) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        import nncf

        options = {"INT4_ASYM": {"group_size": 32, "all_layers": True}}.get(mode, {})
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode[mode], **options)  # type: ignore[no-any-return]

    return change


def _nncf_full(model: onnx.ModelProto) -> onnx.ModelProto:
    import nncf

    return nncf.quantize(model, nncf.Dataset(list(feeds_of(model))), subset_size=CALIBRATION_RUNS)  # type: ignore[no-any-return]


ORT, COMMON, NNCF, SHRINK = ("onnxruntime",), ("onnxconverter-common",), ("nncf",), ("onnx-shrink-ray",)
EIGHT: dict[str, Any] = {"kind": "quantiser", "tolerance": EIGHT_BITS}
STATIC: dict[str, Any] = {"kind": "quantiser", "tolerance": CALIBRATED}
FOUR: dict[str, Any] = {"kind": "quantiser", "tolerance": FOUR_BITS}
FLOAT: dict[str, Any] = {"kind": "precision", "tolerance": HALF}

PRECISION = (
    Tool("onnxruntime dynamic int8", ORT, "quantize_dynamic", _dynamic(), **EIGHT),
    Tool(
        "onnxruntime dynamic int8, branches",
        ORT,
        'quantize_dynamic(extra_options={"EnableSubgraph": True})',
        _dynamic(EnableSubgraph=True),
        **EIGHT,
    ),
    Tool("onnxruntime static int8, QDQ", ORT, "quantize_static with calibration", _static("QDQ"), **STATIC),
    Tool("onnxruntime static int8, QOperator", ORT, "quantize_static with calibration", _static("QOperator"), **STATIC),
    Tool(
        "onnxruntime static int8, routing kept",
        ORT,
        "quantize_static, nodes_to_exclude = all that are called rr/..., QDQKeepRemovableActivations=True",
        _static("QDQ", keep_routing=True),
        **STATIC,
    ),
    Tool("onnxruntime 4 bits", ORT, "MatMulNBitsQuantizer(bits=4)", _n_bits("QOperator", 4), **FOUR),
    Tool("onnxruntime 4 bits, QDQ", ORT, "MatMulNBitsQuantizer(bits=4, QDQ)", _n_bits("QDQ", 4), **FOUR),
    Tool("onnxruntime 8 bits", ORT, "MatMulNBitsQuantizer(bits=8)", _n_bits("QOperator", 8), **EIGHT),
    Tool("nncf int8 weights", NNCF, "compress_weights(INT8_ASYM)", on_proto(_nncf_weights("INT8_ASYM")), **EIGHT),
    Tool("nncf int4 weights", NNCF, "compress_weights(INT4_ASYM)", on_proto(_nncf_weights("INT4_ASYM")), **FOUR),
    Tool("nncf int8", NNCF, "quantize with calibration", on_proto(_nncf_full), **STATIC),
    Tool("onnx-shrink-ray integers", SHRINK, "quantize_weights", on_proto(_shrink("integers")), **EIGHT),
    Tool("onnx-shrink-ray floats", SHRINK, "float_quantize_weights", on_proto(_shrink("floats")), **EIGHT),
    Tool("onnxruntime float16", ORT, "convert_float_to_float16, defaults", on_proto(_half_by_onnxruntime()), **FLOAT),
    Tool(
        "onnxruntime float16, same inputs",
        ORT,
        "convert_float_to_float16(keep_io_types=True)",
        on_proto(_half_by_onnxruntime(keep_io_types=True)),
        **FLOAT,
    ),
    Tool(
        "onnxruntime float16, decisions kept",
        ORT,
        "keep_io_types=True, op_block_list of random and comparison operators",
        on_proto(_half_by_onnxruntime(keep_io_types=True, op_block_list=True)),
        **FLOAT,
    ),
    Tool(
        "onnxruntime float16, routing kept",
        ORT,
        "keep_io_types=True, node_block_list = all that are called rr/...",
        on_proto(_half_by_onnxruntime(keep_io_types=True, node_block_list=True)),
        **FLOAT,
    ),
    Tool(
        "onnxruntime float16, all weights",
        ORT,
        "keep_io_types=True, force_fp16_initializers=True",
        on_proto(_half_by_onnxruntime(keep_io_types=True, force_fp16_initializers=True)),
        **FLOAT,
    ),
    Tool("onnxconverter float16", COMMON, "convert_float_to_float16, defaults", on_proto(_half_by_common()), **FLOAT),
    Tool(
        "onnxconverter float16, same inputs",
        COMMON,
        "convert_float_to_float16(keep_io_types=True)",
        on_proto(_half_by_common(keep_io_types=True)),
        **FLOAT,
    ),
    Tool(
        "onnxconverter float16, decisions kept",
        COMMON,
        "keep_io_types=True, op_block_list of random and comparison operators",
        on_proto(_half_by_common(keep_io_types=True, op_block_list=True)),
        **FLOAT,
    ),
    Tool(
        "onnxconverter float16, routing kept",
        COMMON,
        "keep_io_types=True, node_block_list = all that are called rr/...",
        on_proto(_half_by_common(keep_io_types=True, node_block_list=True)),
        **FLOAT,
    ),
    Tool(
        "onnxconverter mixed", COMMON, "auto_convert_mixed_precision on one path", on_proto(_mixed_by_common), **FLOAT
    ),
)
