"""What each execution provider wants of a routed model: one entry a target, all in one table.

A new target is a new entry here; where it wants a new form, a function in ``forms.py`` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass

# Tolerances of precisions that change values: a share of the standard deviation of each output. They say what a
# working file keeps; what a file really keeps is for its proof to measure.
SHARES = {"float32": 0.0, "float16": 0.02, "qdq": 0.3, "qdq16": 0.1}


@dataclass(frozen=True)
class ProviderNeeds:
    """How a model is lowered for one execution provider, and why.

    Attributes:
        name: of the target, and the short name of the execution provider.
        form: "routed" (one graph; a balanced tree of ``If`` per site) or "segments" (static files, no ``If``).
        interface: of a routed form: "explicit", "host" or "gates"; None for segments, whose runtime walks the path.
        weights: "outer" (what one branch alone uses is in the graph around its ``If``, from where ONNX Runtime
            prepacks it) or "leaf" (in the branch itself).
        opset: of the graph.
        static: whether every size must be fixed.
        precisions: what the provider takes; the first is the default, and the only one that changes no value.
        share: where above 0, the provider computes float32 less exactly: the root mean square of the differences is at
            most this share of the standard deviation of an output.
        reads_weight_file: whether it reads weights from the file that all forms share; else they are in each model.
        why: the reason for the form.
        faults: what is known not to work there.
    """

    name: str
    form: str
    interface: str | None
    weights: str
    opset: int
    static: bool
    precisions: tuple[str, ...]
    why: str
    faults: tuple[str, ...] = ()
    share: float = 0.0
    reads_weight_file: bool = True


_TABLE = (
    ProviderNeeds(
        name="cpu",
        form="routed",
        interface="explicit",
        weights="outer",
        opset=20,
        static=False,
        precisions=("float32",),
        why="The CPU decides, draws and computes one branch; one file needs no help from the runtime.",
        faults=("QDQ needs static files: package frozen paths or segments to have it",),
    ),
    ProviderNeeds(
        name="cuda",
        form="routed",
        interface="gates",
        weights="outer",
        opset=20,
        static=False,
        precisions=("float32", "float16"),
        why="Conditions are read on the CPU; made in the graph, each costs a copy from the device and a wait for it.",
        faults=("CUDA graphs need static files: package frozen paths to have them",),
    ),
    ProviderNeeds(
        name="xnnpack",
        form="routed",
        interface="explicit",
        weights="leaf",
        opset=20,
        static=True,
        precisions=("float32",),
        why="It takes convolutions, poolings and matrix products out of branches; the CPU does the rest.",
        faults=(
            "with a symbolic size it computes Gemm wrongly, without an error; the runtime refuses such files",
            "in float16 it computes convolutions wrongly, without an error (onnxruntime 1.21)",
            "weights outside their branch: convolutions fail to load, nested sites end the process (onnxruntime 1.21)",
            "RandomUniform crashes it on Android; files draw with RandomUniformLike",
        ),
    ),
    ProviderNeeds(
        name="nnapi",
        form="segments",
        interface=None,
        weights="leaf",
        opset=20,
        static=True,
        precisions=("float32", "qdq"),
        reads_weight_file=False,
        why="It takes nothing inside an If.",
        faults=("it cannot be run on this project's machines; the form is checked, its results are not",),
    ),
    ProviderNeeds(
        name="coreml",
        form="routed",
        interface="gates",
        weights="leaf",
        opset=20,
        static=True,
        precisions=("float32", "float16"),
        reads_weight_file=False,
        why="It takes the nodes of branches (EnableOnSubgraphs); integers of 64 bits stay outside.",
        faults=("it cannot be run on this project's machines; the form is checked, its results are not",),
    ),
    ProviderNeeds(
        name="qnn",
        form="segments",
        interface=None,
        weights="leaf",
        opset=20,
        static=True,
        precisions=("float32", "float16", "qdq", "qdq16"),
        share=0.02,
        why="It computes both branches of an If that it takes, and leaves one whose weights lie outside to the CPU.",
        faults=(
            "a convolution in a branch of an If that it takes is silently wrong; segments have no If",
            "it computes float32 in half precision",
            "integers of the model itself must stay below 2^31: beyond, they are wrong without an error",
        ),
    ),
    ProviderNeeds(
        name="openvino",
        form="segments",
        interface=None,
        weights="outer",
        opset=20,
        static=False,
        precisions=("float32", "float16", "qdq"),
        why="It takes an If whole or not at all: with one operator in a branch that it lacks, the file does not load.",
        faults=(
            "with a symbolic size it keeps the conditions of an If as they were in the first run, without an error",
            "it computes integers of 64 bits wrongly, without an error: a routed form must be `host` or `gates`, and "
            "integers of the model itself must stay below 2^31",
            "OpenVINO's own reader takes no explicit files: their random node draws doubles",
        ),
    ),
    ProviderNeeds(
        name="webgpu",
        form="routed",
        interface="gates",
        weights="outer",
        opset=20,
        static=False,
        precisions=("float32", "float16"),
        why="Random nodes and integers of 64 bits run on the CPU, and each costs copies; gates leave nothing of them.",
        faults=(
            "enableInt64=1 breaks 64-bit arithmetic",
            "float16 needs an adapter with shader-f16",
        ),
    ),
)
TARGETS = {needs.name: needs for needs in _TABLE}


def share_of(name: str, precision: str) -> float:
    """Returns the tolerance of a target in a precision as a share of the deviation, 0 where values do not change."""
    return max(SHARES[precision], TARGETS[name].share if name in TARGETS else 0.0)


def find_target(name: str) -> ProviderNeeds:
    """Returns what the target of that name needs.

    Raises:
        ValueError: there is none.
    """
    if name not in TARGETS:
        raise ValueError(f"target: expected one of {', '.join(TARGETS)}, got {name!r}; choose one")
    return TARGETS[name]
