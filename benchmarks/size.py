"""The bytes of a file over the bytes of its model's weights, each counted once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

import rr_export as rr
from benchmarks.files import OPSET
from benchmarks.models import EncoderLayer, Size, encoder_layers, example, mlp_groups, routed_branches, routed_skips
from benchmarks.table import Row, Section
from rr_runtime.tools.timing import Spread, Tell

TARGET = 1.02
SMALL = Size(width=128, hidden=512, heads=4, layers=12, tokens=64)


def _nested(size: Size) -> nn.Module:
    """Sites within sites, which share their innermost layers."""
    (first, *others), head = encoder_layers(size)
    inner = [nn.Sequential(rr.LayerChoice(layer, 0.5), rr.LayerChoice(first, 0.5)) for layer in others]
    return nn.Sequential(rr.OperationChoice(inner, rr.Uniform(len(inner))), head).eval()


def _sets(size: Size) -> nn.Module:
    """One layer with many sets of parameters."""
    torch.manual_seed(0)
    copies = [EncoderLayer(size) for _ in range(size.layers)]
    return nn.Sequential(rr.ParameterChoice(copies[0], copies[1:], rr.Uniform(len(copies)))).eval()


MODELS: Mapping[str, Callable[[Size], nn.Module]] = {
    "layers that may be skipped": lambda size: routed_skips(*encoder_layers(size)),
    "layers of 4 branches": lambda size: routed_branches(*mlp_groups(size, 4)),
    "sets of parameters": _sets,
    "nested sites with shared layers": _nested,
}


def measure(
    *,
    runs: int = 1,
    progress: Tell | None = None,
    models: Mapping[str, Callable[[Size], nn.Module]] = MODELS,
) -> Section:
    """Returns the ratios, which are exact: ``runs`` makes no difference."""
    rows = []
    for number, (name, make) in enumerate(models.items()):
        model = make(SMALL)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        bundle = rr.export(model, (example(SMALL),), opset=OPSET)
        with TemporaryDirectory() as folder:
            single = bundle.save(Path(folder) / "model.onnx", external_data=False).stat().st_size
            parts = bundle.save(Path(folder) / "bundle", external_data=True).glob("model.onnx*")
            folded = sum(part.stat().st_size for part in parts)
        for form, written in (("single file", single), ("external data", folded)):
            ratio = written / weights
            rows.append(Row(f"{name}, {weights / 1e6:.1f} MB: {form}", Spread(ratio, ratio, ratio), TARGET))
        if progress is not None:
            progress("sizes", number + 1, len(models))
    return Section("Bytes of a file over bytes of weights", rows, f"torch {torch.__version__}")
