"""Tools that must not change what a model computes: optimisers, converters of version and format, shape inference."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx

from survival.files import BATCH, HEADS, WIDTH
from survival.tool import Tool

Run = Callable[[Path, Path], None]
ORT, ONNX, IR, SCRIPT = ("onnxruntime",), ("onnx",), ("onnx-ir",), ("onnxscript",)


def copy(source: Path, target: Path) -> None:
    """The target is the source: for engines that read it as it is."""
    shutil.copyfile(source, target)


def on_proto(change: Callable[[onnx.ModelProto], onnx.ModelProto | None]) -> Run:
    """Returns an adapter that loads, changes (in place where None is returned) and saves."""

    def run(source: Path, target: Path) -> None:
        model = onnx.load(source)
        changed = change(model)
        onnx.save(model if changed is None else changed, target)

    return run


def _onnxruntime_saved(level: str) -> Run:
    def run(source: Path, target: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])

    return run


def _pre_process(*, skip_symbolic_shape: bool) -> Run:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        quant_pre_process(str(source), str(target), skip_symbolic_shape=skip_symbolic_shape)

    return run


def _symbolic_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    return SymbolicShapeInference.infer_shapes(model, auto_merge=True)  # type: ignore[no-any-return]


def _fix_batch(model: onnx.ModelProto) -> None:
    from onnxruntime.tools.onnx_model_utils import fix_output_shapes, make_dim_param_fixed

    make_dim_param_fixed(model.graph, "batch", BATCH)
    fix_output_shapes(model)


def _ort_format(style: str) -> Run:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

        folder = target.parent / f"{target.stem}.ort-format"
        convert_onnx_models_to_ort(source, folder, [OptimizationStyle[style]])
        written = next(p for p in folder.iterdir() if p.suffix == ".ort")
        shutil.copyfile(written, target)

    return run


def _transformers_optimizer(model_type: str, opt_level: int) -> Run:
    def run(source: Path, target: Path) -> None:
        from onnxruntime.transformers.optimizer import optimize_model

        done = optimize_model(str(source), model_type, num_heads=HEADS, hidden_size=WIDTH, opt_level=opt_level)
        done.save_model_to_file(str(target))

    return run


def _script_optimize(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxscript.optimizer

    return onnxscript.optimizer.optimize(model)


def _script_rewrite(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxscript.rewriter

    return onnxscript.rewriter.rewrite(model)


def _script_version(opset: int) -> Run:
    def run(source: Path, target: Path) -> None:
        import onnx_ir as ir
        import onnxscript.version_converter

        model = ir.load(source)  # given a ModelProto, onnxscript 0.7 leaves its opset as it was
        onnxscript.version_converter.convert_version(model, opset, fallback=False)
        ir.save(model, target)

    return run


def _onnx_version(opset: int) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        import onnx.version_converter

        return onnx.version_converter.convert_version(model, opset)

    return change


def _inline(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model)


def _infer_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.shape_inference

    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def _prefix(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.compose

    return onnx.compose.add_prefix(model, "one/", rename_inputs=False, rename_outputs=False)


def _extract(source: Path, target: Path) -> None:
    import onnx.utils

    graph = onnx.load(source, load_external_data=False).graph
    onnx.utils.extract_model(source, target, [v.name for v in graph.input], [v.name for v in graph.output])


def _external(source: Path, target: Path) -> None:
    onnx.save(onnx.load(source), target, save_as_external_data=True, location=f"{target.name}.data")


def _text(source: Path, target: Path) -> None:
    text = target.with_suffix(".onnxtxt")
    onnx.save(onnx.load(source), text)
    onnx.save(onnx.load(text), target)


def _ir_passes(*names: str) -> Run:
    def run(source: Path, target: Path) -> None:
        import onnx_ir as ir
        import onnx_ir.passes.common as common

        model = ir.load(source)
        model = ir.passes.Sequential(*(getattr(common, f"{name}Pass")() for name in names))(model).model
        ir.save(model, target)

    return run


def _simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxsim

    done, ok = onnxsim.simplify(model)
    if not ok:
        raise RuntimeError("onnxsim: the simplified model could not be validated")
    return done  # type: ignore[no-any-return]


def _slim(source: Path, target: Path) -> None:
    import onnxslim

    onnxslim.slim(str(source), str(target))


def _onnxoptimizer(passes: str, *, fixed_point: bool) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def change(model: onnx.ModelProto) -> onnx.ModelProto:
        import onnxoptimizer

        names = {"default": None, "all": onnxoptimizer.get_fuse_and_elimination_passes()}[passes]
        return onnxoptimizer.optimize(model, names, fixed_point=fixed_point)  # type: ignore[no-any-return]

    return change


def _graphsurgeon(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx_graphsurgeon

    graph = onnx_graphsurgeon.import_onnx(model)
    graph.fold_constants().cleanup().toposort()
    return onnx_graphsurgeon.export_onnx(graph)  # type: ignore[no-any-return]


def command(function: str, *arguments: str) -> Run:
    """Returns an adapter that runs a console script, given as ``module:function``, with SOURCE and TARGET put in.

    The last line that it writes is the error, where it exits with another code than 0.
    """

    def run(source: Path, target: Path) -> None:
        module, _, name = function.partition(":")
        code = f"import sys, {module}; sys.exit({module}.{name}())"
        places = {"SOURCE": str(source), "TARGET": str(target)}
        found = subprocess.run(
            [sys.executable, "-c", code, *(places.get(a, a) for a in arguments)], capture_output=True, text=True
        )
        if found.returncode:
            raise RuntimeError((found.stderr or found.stdout).strip().splitlines()[-1])

    return run


def _onnxruntime_tools() -> list[Tool]:
    def row(name: str, summary: str, run: Run, packages: Sequence[str] = ORT, **options: Any) -> Tool:
        return Tool(f"onnxruntime {name}", tuple(packages), summary, run, **options)

    models = ("bert", "gpt2", "bart", "vit", "clip")
    return [
        row(
            "unoptimised",
            "runs the file with ORT_DISABLE_ALL",
            copy,
            kind="reader",
            engine="onnxruntime unoptimised",
        ),
        *(
            row(
                f"saved {level}",
                f"SessionOptions.optimized_model_filepath at ORT_ENABLE_{level}",
                _onnxruntime_saved(level),
            )
            for level in ("BASIC", "EXTENDED", "LAYOUT", "ALL")
        ),
        row(
            "pre-process",
            "quant_pre_process: shapes, then optimised",
            _pre_process(skip_symbolic_shape=False),
            (*ORT, "sympy"),
        ),
        row(
            "pre-process, no symbols",
            "quant_pre_process(skip_symbolic_shape=True)",
            _pre_process(skip_symbolic_shape=True),
        ),
        row("symbolic shapes", "symbolic_shape_infer(auto_merge=True)", on_proto(_symbolic_shapes), (*ORT, "sympy")),
        row("fixed shapes", f"make_dynamic_shape_fixed: batch = {BATCH}", on_proto(_fix_batch), fixes_batch=True),
        *(
            row(f".ort {style}", f"convert_onnx_models_to_ort, style {style}", _ort_format(style), suffix=".ort")
            for style in ("Fixed", "Runtime")
        ),
        *(
            row(
                f"transformers {model_type}, level {level}",
                f"transformers.optimizer.optimize_model(model_type={model_type!r}, opt_level={level})",
                _transformers_optimizer(model_type, level),
            )
            for model_type, level in [("bert", 0), ("bert", 1), ("bert", 2), *((m, 0) for m in models[1:])]
        ),
    ]


def _onnx_tools() -> list[Tool]:
    script = [
        Tool("onnxscript optimizer", SCRIPT, "optimizer.optimize: folding, rewriting", on_proto(_script_optimize)),
        Tool("onnxscript rewriter", SCRIPT, "rewriter.rewrite with its default rules", on_proto(_script_rewrite)),
        *(
            Tool(f"onnxscript to opset {opset}", SCRIPT, "version_converter.convert_version", _script_version(opset))
            for opset in (21, 22, 23)
        ),
    ]
    core = [
        *(
            Tool(f"onnx to opset {opset}", ONNX, "version_converter.convert_version", on_proto(_onnx_version(opset)))
            for opset in (21, 22, 23)
        ),
        Tool("onnx inliner", ONNX, "inliner.inline_local_functions", on_proto(_inline)),
        Tool("onnx shape inference", ONNX, "infer_shapes(strict_mode, data_prop)", on_proto(_infer_shapes)),
        Tool("onnx prefix", ONNX, "compose.add_prefix on all inner names, as merge_models does", on_proto(_prefix)),
        Tool("onnx extract_model", ONNX, "utils.extract_model from all inputs to all outputs", _extract),
        Tool(
            "onnx external data", ONNX, "save_as_external_data, weights from 1 KB on in a file of their own", _external
        ),
        Tool("onnx text", ONNX, "saved as text, read back", _text),
    ]
    passes = {
        "CommonSubexpressionElimination": "merges equal nodes",
        "IdentityElimination": "drops Identity",
        "DeduplicateInitializers": "merges equal weights",
        "LiftConstantsToInitializers": "Constant nodes become initializers",
        "LiftSubgraphInitializersToMainGraph": "weights leave the branches",
        "RemoveUnusedNodes": "dead code",
        "TopologicalSort": "order of nodes",
        "ShapeInference": "shapes",
        "AddDefaultAttributes": "writes default attributes",
        "AddInitializersToInputs": "weights become inputs with defaults",
        "ClearMetadataAndDocString": "drops metadata",
    }
    bundle = ("LiftConstantsToInitializers", "DeduplicateInitializers", "CommonSubexpressionElimination")
    everything = (*bundle, "IdentityElimination", "RemoveUnusedNodes", "TopologicalSort", "NameFix")
    return [
        *script,
        *core,
        *(Tool(f"onnx-ir {name}", IR, text, _ir_passes(name)) for name, text in passes.items()),
        Tool("onnx-ir bundle", IR, ", ".join(everything), _ir_passes(*everything)),
    ]


def _others() -> list[Tool]:
    surgeon = ("surgeon", "sanitize", "SOURCE", "-o", "TARGET")
    folding = ("--fold-constants", "--cleanup", "--toposort")
    return [
        Tool("onnxsim", ("onnxsim",), "simplify", on_proto(_simplify)),
        Tool("onnxslim", ("onnxslim",), "slim", _slim),
        Tool(
            "onnxoptimizer",
            ("onnxoptimizer",),
            "default passes",
            on_proto(_onnxoptimizer("default", fixed_point=False)),
        ),
        Tool(
            "onnxoptimizer, all",
            ("onnxoptimizer",),
            "all passes that fuse and eliminate, to a fixed point",
            on_proto(_onnxoptimizer("all", fixed_point=True)),
        ),
        Tool(
            "onnx-graphsurgeon",
            ("onnx-graphsurgeon",),
            "fold_constants().cleanup().toposort()",
            on_proto(_graphsurgeon),
        ),
        Tool(
            "polygraphy",
            ("polygraphy", "onnx-graphsurgeon"),
            "surgeon sanitize",
            command("polygraphy.tools:main", *surgeon),
        ),
        Tool(
            "polygraphy folding",
            ("polygraphy", "onnx-graphsurgeon"),
            "surgeon sanitize --fold-constants --cleanup --toposort",
            command("polygraphy.tools:main", *surgeon, *folding),
        ),
    ]


REWRITERS = (*_onnxruntime_tools(), *_onnx_tools(), *_others())
