"""How many operators of each kind ran on a path, of a file and of the one that it came from."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import onnxruntime

from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.compare import Arrays
from rr_export.parity.executed import LEVELS, kernels, proving_options
from rr_export.parity.paths import paths_taking_everything
from rr_export.parity.subject import Candidate, Given, Original
from rr_export.report.report import Check

WEIGHTED = "operators with weights"
HEAVY = ("MatMul", "Gemm", "Conv", "Attention", "LSTM", "GRU", "RNN", "Einsum")  # parts of their names
LIGHT = frozenset(  # what tools add wherever they rewrite, and what onnxruntime makes of operators without a kernel
    {"Abs", "Add", "And", "Cast", "CastLike", "Clip", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Exp"}
    | {"Expand", "Flatten", "Gather", "Greater", "GreaterOrEqual", "Identity", "If", "IsNaN", "Less", "LessOrEqual"}
    | {"Log", "Max", "Min", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin"}
    | {"ReduceSum", "Reshape", "Round", "Shape", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose"}
    | {"Unsqueeze", "Where"}
)


def check_kinds_that_ran(original: Original, file: Candidate) -> Check:
    """Checks that on no path more runs than in the original: operators with weights in all, and each other kind alone.

    Arithmetic and data movement are not counted: tools add some of it wherever they rewrite.
    """
    paths = paths_taking_everything(file.plan)
    originals, rewritten = ([_kernels_on(f, original.inputs, path) for path in paths] for f in (original.file, file))
    kinds = sorted({WEIGHTED, *(kind for counts in originals for kind in counts)})
    failures = [
        f"path {list(path)}: expected at most {expected[kind]} of {kind} to run, got {got[kind]}"
        for path, expected, got in zip(paths, originals, rewritten, strict=True)
        for kind in kinds
        if got[kind] > expected[kind]
    ]
    counts = [got.total() for got in rewritten]
    return Check(
        "laziness",
        not failures,
        f"nodes that ran on {len(paths)} paths, arithmetic and data movement apart: {counts}; of no kind that "
        "the original has more than there",
        tuple(failures),
        {"profiled_paths": [list(p) for p in paths], "executed_nodes": counts},
    )


def _kernels_on(file: Given, inputs: Arrays, path: Path_) -> Counter[str]:
    """How many nodes of each kind ran on a path."""
    with tempfile.TemporaryDirectory() as scratch:
        options = proving_options(LEVELS["disabled"])
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        session = onnxruntime.InferenceSession(file.forcible, options, providers=["CPUExecutionProvider"])
        session.run(None, file.feeds(inputs, path))
        ran = [op for _, op in kernels(Path(session.end_profiling()))]
    kinds = (WEIGHTED if any(part in op for part in HEAVY) else op for op in ran)
    return Counter(kind for kind in kinds if kind not in LIGHT)
