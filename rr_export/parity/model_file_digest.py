"""What tells a model file from others: its content, and that of the files that hold its weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from rr_export.bundle.bundle_writer import sha256_of
from rr_export.lint.ort_format import ORT_SUFFIX


def model_file_digest(file: Path) -> str:
    """Returns the SHA-256 of a model file, and after it those of the files of its external data."""
    beside = [] if file.suffix == ORT_SUFFIX else sorted(set(_external(ir.load(file))))
    return "+".join(map(sha256_of, [file, *beside]))


def _external(model: ir.Model) -> Iterator[Path]:
    for graph in (*model.graphs(), *model.functions.values()):
        held = [value.const_value for value in getattr(graph, "initializers", {}).values()]
        held += [a.value for node in graph for a in node.attributes.values() if a.type == ir.AttributeType.TENSOR]
        yield from (Path(tensor.path) for tensor in held if isinstance(tensor, ir.ExternalTensor))
