"""What ONNX Runtime executes of a file: its own form of the graph, with one name for each node, and the nodes that ran.

Operators without a kernel are functions of others (``HardSwish``, ``Mish``): ONNX Runtime puts their bodies in their
place when it loads a file, as nodes without names. So its own form of the file is saved, every node of it gets a name,
and that is what runs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from rr_export.passes.unique_names import name_uniquely

LEVELS = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Executable:
    """ONNX Runtime's own form of a file at one level of its optimisations.

    Attributes:
        path: where it lies.
        model: the same, read.
        origins: what each of its nodes was called before, by its name.
    """

    path: Path
    model: ir.Model
    origins: dict[str, str]

    def run(self, feeds: Sequence[dict[str, NDArray[Any]]]) -> list[set[str]]:
        """Returns the names of the nodes that ran for each of the feeds."""
        options = proving_options(LEVELS["disabled"])
        options.enable_profiling = True
        options.profile_file_prefix = str(self.path.parent / "profile")
        session = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        for fed in feeds:
            session.run(None, fed)
        return _by_run(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))


@contextmanager
def made_executable(source: str | bytes, level: int) -> Iterator[Executable]:
    """Yields what ONNX Runtime makes of a file, or of a model's content, at one level."""
    mapped = sys.platform == "win32"  # which removes no file that a session or an array still reads
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=mapped) as scratch:
        saved, named = Path(scratch) / "saved.onnx", Path(scratch) / "named.onnx"
        options = proving_options(level)
        options.optimized_model_filepath = str(saved)
        # weights beside it: together they may be more than a protobuf can hold
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        model = ir.load(saved)
        origins: dict[str, str] = {}
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            name = f"{len(origins)}:{node.name or node.op_type}"
            origins[name] = node.name or ""
            node.name = name
        # ONNX Runtime names what it makes anew for each graph, so that a branch may repeat a name from around it
        name_uniquely(model)
        ir.save(model, named)
        yield Executable(named, model, origins)


def _by_run(events: Sequence[dict[str, Any]]) -> list[set[str]]:
    """The kernels of a profile, told apart by the run in whose time they lie."""
    runs = sorted(((e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == "model_run"), key=lambda r: r[0])
    found: list[set[str]] = [set() for _ in runs]
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            run = next(i for i, (start, end) in enumerate(runs) if start <= event["ts"] <= end)
            found[run].add(event["name"].removesuffix(_KERNEL))
    return found


def proving_options(level: int = LEVELS["all"]) -> onnxruntime.SessionOptions:
    """Returns options for one level of onnxruntime's optimisations, of sessions that print nothing.

    What fails is raised, and sizes that fail are tried on purpose. Threads that have nothing to do wait, and do not
    spin: the eager model runs in between.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def kernels(profile: Path) -> Iterator[tuple[str, str]]:
    """Yields name and operator of every node that ran."""
    for event in json.loads(profile.read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            yield event["name"].removesuffix(_KERNEL), event["args"]["op_name"]
