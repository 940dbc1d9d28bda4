"""What well-known tools make of exported random models."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon
import onnx_ir as ir
import onnxconverter_common.float16
import onnxoptimizer
import onnxruntime
import onnxruntime.quantization
import onnxruntime.transformers.float16
import onnxscript.optimizer
import onnxscript.version_converter
import onnxsim
import onnxslim
from onnx import numpy_helper, version_converter
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from tests.lint.sabotaged import bundle_file, loaded
from tests.lint.specimen import (
    WIDTH,
    Gallery,
    always_agrees,
    first_runs_agree,
    is_constant,
    is_frozen,
    is_loaded,
    is_refused,
)
from tests.lint.stock import exported, save

REWRITTEN = Gallery()
NO_KERNEL = "NOT_IMPLEMENTED.*Random"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the tools' own warnings and messages."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(before)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    with quiet():
        return onnxsim.simplify(model)[0]


def slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    with quiet():
        return onnxslim.slim(model)


def folded(model: onnx.ModelProto) -> onnx.ModelProto:
    with quiet():
        return onnx_graphsurgeon.export_onnx(onnx_graphsurgeon.import_onnx(model).fold_constants().cleanup())


def optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    with quiet():
        return onnxscript.optimizer.optimize(model)


def upgraded(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    converted = ir.from_proto(model)
    with quiet():
        onnxscript.version_converter.convert_version(converted, opset)
    return ir.to_proto(converted)


def with_defaults(model: onnx.ModelProto, **values: object) -> onnx.ModelProto:
    """Returns the model with default initializers for some of its inputs."""
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.int64), name))
    return model


# Draws are merged


@REWRITTEN("RR105 RR203", made_by="onnxsim.simplify", shows=always_agrees)
def rand_merged_by_onnxsim(folder: Path) -> Path:
    return save(simplified(exported("uniform", dynamo=False)), folder)


@REWRITTEN("RR105 RR203", made_by="onnxoptimizer.optimize", shows=always_agrees)
def rand_merged_by_onnxoptimizer(folder: Path) -> Path:
    return save(onnxoptimizer.optimize(exported("uniform", dynamo=True)), folder)


@REWRITTEN("RR101 RR105 RR203", made_by="onnxscript.optimizer.optimize", shows=always_agrees)
def bernoulli_merged_by_onnxscript(folder: Path) -> Path:
    return save(optimised(exported("bernoulli", dynamo=False)), folder)


@REWRITTEN("RR101 RR105 RR203", made_by="onnx_ir CommonSubexpressionEliminationPass", shows=always_agrees)
def bernoulli_merged_by_onnx_ir(folder: Path) -> Path:
    model = ir.from_proto(exported("bernoulli", dynamo=False))
    CommonSubexpressionEliminationPass()(model)
    return save(ir.to_proto(model), folder)


@REWRITTEN("RR105 RR203", made_by="onnxruntime, ORT_ENABLE_BASIC, saved", shows=always_agrees)
def bernoulli_merged_and_saved_by_onnxruntime(folder: Path) -> Path:
    """Its Bernoulli is expanded to RandomUniformLike > p, one for all layers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(folder / "model.onnx"), 4
    model = exported("bernoulli", dynamo=False)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return folder / "model.onnx"


# Draws are computed once and stored


@REWRITTEN("RR201", made_by="onnxslim.slim", where={"RR201": ("node_where", "main graph")}, shows=is_frozen)
def rand_folded_by_onnxslim(folder: Path) -> Path:
    return save(slimmed(exported("uniform", dynamo=True)), folder)


@REWRITTEN("RR201", made_by="onnx_graphsurgeon fold_constants", shows=is_frozen)
def rand_folded_by_graphsurgeon(folder: Path) -> Path:
    return save(folded(exported("uniform", dynamo=True)), folder)


@REWRITTEN("RR201", made_by="onnxslim.slim", shows=is_frozen)
def bernoulli_folded_by_onnxslim(folder: Path) -> Path:
    return save(slimmed(exported("bernoulli", dynamo=False)), folder)


@REWRITTEN("RR202", made_by="onnx_graphsurgeon fold_constants", shows=is_constant)
def stochastic_depth_folded_by_graphsurgeon(folder: Path) -> Path:
    """No comparison is left: branches are multiplied by stored zeros and ones."""
    return save(folded(exported("stochastic_depth", dynamo=True)), folder)


@REWRITTEN("RR202", made_by="onnx_graphsurgeon fold_constants", shows=is_constant)
def noise_folded_by_graphsurgeon(folder: Path) -> Path:
    return save(folded(exported("noise", dynamo=True)), folder)


@REWRITTEN("RR201", made_by="onnxslim.slim", shows=is_frozen)
def experts_folded_by_onnxslim(folder: Path) -> Path:
    return save(slimmed(exported("experts", dynamo=True)), folder)


# Half precision


@REWRITTEN(
    "RR103 RR105 RR108 RR204",
    made_by="onnxconverter_common.float16",
    where={"RR108": ("/RandomUniform", "main graph")},
    shows=is_refused("float16"),
)
def rand_in_float16(folder: Path) -> Path:
    with quiet():
        model = onnxconverter_common.float16.convert_float_to_float16(exported("uniform", dynamo=False))
    return save(model, folder)


@REWRITTEN(
    "RR103 RR105 RR108 RR204",
    made_by="onnxruntime.transformers.float16",
    where={"RR108": ("/RandomUniform", "main graph")},
    shows=is_refused("NOT_IMPLEMENTED.*RandomUniform"),
)
def rand_in_float16_by_onnxruntime(folder: Path) -> Path:
    with quiet():
        model = onnxruntime.transformers.float16.convert_float_to_float16(exported("uniform", dynamo=False))
    return save(model, folder)


@REWRITTEN("RR103 RR204", made_by="onnxruntime.transformers.float16", shows=first_runs_agree)
def comparison_in_float16(folder: Path) -> Path:
    with quiet():
        model = onnxruntime.transformers.float16.convert_float_to_float16(exported("uniform_like", dynamo=True))
    return save(model, folder)


@REWRITTEN(
    "RR204 RR303",
    made_by="onnxruntime.transformers.float16",
    where={"RR204": ("rr/0_GreaterOrEqual", "main graph"), "RR303": ("rr_draws|thresholds", "main graph")},
    shows=is_loaded,
)
def host_bundle_in_float16(folder: Path) -> Path:
    """ONNX Runtime loads it, and compares draws in half precision."""
    with quiet():
        model = onnxruntime.transformers.float16.convert_float_to_float16(onnx.load(bundle_file("host", folder)))
    return save(model, folder)


@REWRITTEN("RR303", made_by="onnxruntime.transformers.float16", shows=is_loaded)
def explicit_bundle_in_float16(folder: Path) -> Path:
    with quiet():
        model = onnxruntime.transformers.float16.convert_float_to_float16(onnx.load(bundle_file("explicit", folder)))
    return save(model, folder)


# Opsets without kernels


@REWRITTEN(
    "RR103 RR105 RR106",
    made_by="onnx.version_converter",
    where={"RR106": ("/RandomUniform", "main graph")},
    shows=is_refused(NO_KERNEL),
)
def rand_at_opset_22(folder: Path) -> Path:
    return save(version_converter.convert_version(exported("uniform", dynamo=False), 22), folder)


@REWRITTEN("RR103 RR106", made_by="onnxscript.version_converter", shows=is_refused(NO_KERNEL))
def rand_at_opset_23(folder: Path) -> Path:
    return save(upgraded(exported("uniform_like", dynamo=True), 23), folder)


@REWRITTEN(
    "RR106",
    made_by="onnx.version_converter",
    where={"RR106": ("rr/.*RandomUniformLike", "main graph")},
    shows=is_refused(NO_KERNEL),
)
def bundle_at_opset_22(folder: Path) -> Path:
    return save(version_converter.convert_version(onnx.load(bundle_file("explicit", folder)), 22), folder)


# Defaults, and what tools make of them


@REWRITTEN("RR205", made_by="a default for rr_seed", where={"RR205": ("rr_seed", "main graph")}, shows=is_constant)
def default_seed(folder: Path) -> Path:
    return save(with_defaults(onnx.load(bundle_file("explicit", folder)), rr_seed=7), folder)


@REWRITTEN(
    "RR105 RR205", made_by="a default for rr_path", where={"RR205": ("rr_path", "main graph")}, shows=is_constant
)
def default_path(folder: Path) -> Path:
    return save(with_defaults(onnx.load(bundle_file("explicit", folder)), rr_path=[1, 0, 1]), folder)


@REWRITTEN(
    "RR105 RR303",
    made_by="onnxsim.simplify after defaults were added",
    where={"RR303": ("rr_path", "main graph")},
    shows=is_constant,
)
def defaults_folded_by_onnxsim(folder: Path) -> Path:
    model = with_defaults(onnx.load(bundle_file("explicit", folder)), rr_seed=7, rr_path=[1, 0, 1])
    return save(simplified(model), folder)


@REWRITTEN("RR301 RR303", made_by="onnxslim.slim after defaults were added", shows=is_constant)
def defaults_folded_by_onnxslim(folder: Path) -> Path:
    """Every If is gone; the manifest still promises three sites."""
    model = with_defaults(onnx.load(bundle_file("explicit", folder)), rr_seed=7, rr_path=[1, 0, 1])
    return save(slimmed(model), folder)


# The reduced format


@REWRITTEN("RR105 RR203", made_by="onnxruntime's converter to .ort", shows=always_agrees)
def bernoulli_in_ort_format(folder: Path) -> Path:
    return ort_format(exported("bernoulli", dynamo=False), folder)


@REWRITTEN("RR103 RR105", made_by="onnxruntime's converter to .ort", shows=first_runs_agree)
def rand_in_ort_format(folder: Path) -> Path:
    return ort_format(exported("uniform", dynamo=False), folder)


def ort_format(model: onnx.ModelProto, folder: Path) -> Path:
    """As ``python -m onnxruntime.tools.convert_onnx_models_to_ort`` does."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(folder / "model.ort"), 4
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return folder / "model.ort"


# Quantisers


class Once(onnxruntime.quantization.CalibrationDataReader):
    """One batch of normal numbers, both branches of the only site in turn."""

    def __init__(self) -> None:
        numbers = np.random.default_rng(0).standard_normal((3, WIDTH)).astype(np.float32)
        self.feeds = iter([{"input": numbers, "rr_seed": np.array(0), "rr_path": np.array([k])} for k in range(2)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.feeds, None)


def _forgets_the_activation(file: Path) -> None:
    """On the path that passes its input on, the quantised outputs are nearer to those without the activation."""
    numbers = np.random.default_rng(1).standard_normal((3, WIDTH)).astype(np.float32)
    fed = {"input": numbers, "rr_seed": np.array(0), "rr_path": np.array([1])}
    kept, lost = loaded("explicit", name="activated"), loaded("explicit", name="activated")
    (relu,) = (n for n in lost.graph.node if n.op_type == "Relu")
    relu.op_type = "Identity"
    right, wrong, got = (
        onnxruntime.InferenceSession(m, providers=["CPUExecutionProvider"]).run(None, fed)[0]
        for m in (kept.SerializeToString(), lost.SerializeToString(), file)
    )
    assert np.abs(got - wrong).max() < np.abs(got - right).max()


@REWRITTEN("RR208", made_by="onnxruntime.quantization.quantize_static", shows=_forgets_the_activation)
def activation_lost_in_quantisation(folder: Path) -> Path:
    target = folder / "quantised.onnx"
    with quiet():
        onnxruntime.quantization.quantize_static(bundle_file("explicit", folder, name="activated"), target, Once())
    return target
