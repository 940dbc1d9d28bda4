"""Models -> ONNX Runtime's own format, and the list of operators that a reduced build of it needs to run them.

before:  qnn.0.onnx, qnn.1.onnx, ...
after:   qnn.0.ort, qnn.1.ort, ..., and one line per domain and opset: ai.onnx;13;Add,Gemm{"inputs": {"0": ["float"]}}
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from rr_export.bundle.weights import EXTERNAL_ABOVE, inlined, weight_bytes
from rr_export.errors import PackageError
from rr_export.targets.onnxruntime_tools import quiet_tools

# What the tool calls each style, and what it puts into the names of its files.
STYLES = {"fixed": ("Fixed", ""), "runtime": ("Runtime", ".with_runtime_opt")}
CONFIG = "required_operators_and_types"


def to_ort(models: Mapping[str, ir.Model], optimization: str) -> tuple[dict[str, bytes], str]:
    """Returns the models in ONNX Runtime's format, and the operators and types that a reduced build needs for them all.

    The format has no external data: the weights are inside each file, so those that several files share are stored
    several times. Metadata such as ``rr.manifest`` stays. The list is what ONNX Runtime's ``build.py`` takes as
    ``--include_ops_by_config``; it covers branches, and of "runtime" also what the saved optimisations may become.

    Args:
        models: by file name, each ending in ``.onnx``; the results end in ``.ort``.
        optimization: "fixed": all optimisations of the CPU are in the file. "runtime": only the basic ones are, and the
            others are saved for nodes that no other provider takes, which a session replays where its entry
            ``session.enable_saved_runtime_optimizations`` is set; for NNAPI, CoreML and QNN.

    Raises:
        ValueError: the optimisation or a name is wrong, or there is no model.
        PackageError: a file would be too large, or ONNX Runtime does not convert it.
    """
    if optimization not in STYLES:
        raise ValueError(f"optimization: expected one of {', '.join(STYLES)}, got {optimization!r}; choose one")
    if not models:
        raise ValueError("models: expected at least one, got none; pass some")
    for name, model in models.items():
        if not name.endswith(".onnx") or Path(name).name != name:
            raise ValueError(f"models: expected file names that end in .onnx, got {name!r}; rename it")
        if weight_bytes(model) > EXTERNAL_ABOVE:
            raise PackageError(
                f"{name}: expected weights of at most {EXTERNAL_ABOVE} bytes, as ONNX Runtime's format holds them "
                f"in the file, got {weight_bytes(model)}; package segments, or use format 'onnx'"
            )
    with tempfile.TemporaryDirectory(prefix="rr_export.") as folder:
        return _converted(models, optimization, Path(folder))


def _converted(models: Mapping[str, ir.Model], optimization: str, folder: Path) -> tuple[dict[str, bytes], str]:
    style, mark = STYLES[optimization]
    source, target = folder / "onnx", folder / "ort"
    source.mkdir()
    for name, model in models.items():
        (source / name).write_bytes(ir.to_proto(inlined(model)).SerializeToString())
    with quiet_tools():
        from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

        try:
            convert_onnx_models_to_ort(
                source, target, optimization_styles=[OptimizationStyle[style]], enable_type_reduction=True
            )
        except Exception as error:
            raise PackageError(
                f"{', '.join(models)}: expected models that ONNX Runtime converts to its own format, got "
                f"{type(error).__name__}: {error}; use format 'onnx'"
            ) from error
    made = {name: target / f"{name.removesuffix('.onnx')}{mark}.ort" for name in models}
    config = target / f"{CONFIG}{mark}.config"
    missing = [file.name for file in [*made.values(), config] if not file.exists()]
    if missing:
        found = ", ".join(sorted(file.name for file in target.iterdir()))
        raise PackageError(
            f"{missing[0]}: expected ONNX Runtime's converter to write it, got {found}; unset "
            "ORT_CONVERT_ONNX_MODELS_TO_ORT_OPTIMIZATION_LEVEL"
        )
    # its comments name temporary files
    lines = [line for line in config.read_text().splitlines() if not line.startswith("#")]
    listed = "".join(f"# - {file}\n" for file in sorted(_renamed(name) for name in models))
    text = f"# Operators and types of:\n{listed}" + "".join(f"{line}\n" for line in lines)
    return {_renamed(name): file.read_bytes() for name, file in made.items()}, text


def _renamed(name: str) -> str:
    return f"{name.removesuffix('.onnx')}.ort"
