"""Routed over static on a CUDA device: a wide encoder is exported here on the CPU, and timed where CUDA is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import onnx_ir as ir
import torch
from rich.console import Console

import rr_export as rr
from benchmarks.models import Size, encoder_layers, routed_skips
from benchmarks.on_device import RECIPE, ROUTED, STATIC, WEIGHTS, weight
from benchmarks.table import Row, Section
from rr_export.bundle.weights import INLINE_BELOW, initializers
from rr_runtime.tools.timing import Spread

WIDE = Size(width=1024, hidden=4096, heads=16, layers=12, tokens=128)
BATCH = 8
TARGET = 1.03  # routed over static on one path
KEPT = (12, 8, 4)  # layers of the paths that are timed
SOURCES = Path(__file__).parents[1]
ENVIRONMENT = SOURCES / ".providers" / "cuda" / "run"


def make_bundle(folder: Path, size: Size = WIDE, *, batch: int = BATCH, kept: tuple[int, ...] = KEPT) -> Path:
    """Returns the folder, in which the encoder is, with a routed target for CUDA and its static paths."""
    layers, head = encoder_layers(size)
    torch.manual_seed(1)
    x = torch.randn(batch, size.tokens, size.width)
    bundle = rr.export(routed_skips(layers, head), (x,))
    for value in initializers(bundle.model):
        tensor = value.const_value
        if tensor is not None and tensor.nbytes >= INLINE_BELOW and tensor.dtype == ir.DataType.FLOAT:
            array = weight(value.name or "", tensor.size).reshape(tensor.shape.numpy())
            value.const_value = ir.tensor(array, name=value.name)
    bundle.golden = [replace(case, outputs={}) for case in bundle.golden]  # the eager model had other weights
    wanted = [tuple(int(i * k // size.layers < (i + 1) * k // size.layers) for i in range(size.layers)) for k in kept]
    bundle = rr.package(bundle, "cuda", name=ROUTED)
    bundle = rr.package(bundle, "cuda", name=STATIC, frozen=len(wanted), best=lambda path: float(path in wanted))
    return bundle.save(folder)


def carry(folder: Path) -> Path:
    """Returns the folder with all that a machine with CUDA and onnxruntime needs: a few MB, as weights are made there.

    There: ``PYTHONPATH=FOLDER python FOLDER/on_device.py FOLDER/bundle cuda 200``.
    """
    place = make_bundle(folder / "bundle")
    rows = [
        {"name": value.name, "count": value.const_value.size, "offset": value.const_value.offset}
        for value in initializers(ir.load(place / "model.onnx"))
        if isinstance(value.const_value, ir.ExternalTensor)
    ]
    (place / RECIPE).write_text(json.dumps(rows))
    (place / WEIGHTS).unlink()
    shutil.copytree(SOURCES / "runtimes" / "python" / "rr_runtime", folder / "rr_runtime")
    shutil.copy(SOURCES / "benchmarks" / "on_device.py", folder)
    return folder


def section_of(found: dict[str, Any], device: str) -> Section:
    """Returns what was measured as rows."""
    rows = []
    for path, ratios in found["ratios"].items():
        what = f"{ratios['kept']} of {path.count(',') + 1} layers ({ratios['static_ms']:.2f} ms static)"
        rows += [
            Row(f"{what}: {name}", Spread(**ratios[name]), TARGET if name == "routed" else None)
            for name in ("routed", "static again", "CUDA graph")
            if name in ratios
        ]
    copies = -1 if found["copies"] is None else len(found["copies"])
    rows.append(Row("copies between devices in the routed graph", Spread(copies, copies, copies), 0.0))
    return Section(f"Routed over static on {device}", rows, found["caption"])


@click.command()
@click.option("--python", type=click.Path(path_type=Path), default=ENVIRONMENT, help="What runs Python with CUDA.")
@click.option("--runs", type=click.IntRange(min=2), default=200, show_default=True)
@click.option("--carry", "carried", type=click.Path(path_type=Path), help="Only write what to carry to a GPU here.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def main(python: Path, runs: int, carried: Path | None, json_file: Path | None) -> None:
    """Measure an encoder of width 1024, batch 8, on CUDA; without a CUDA device it says "not measured"."""
    console = Console()
    if carried is not None:
        console.print(f"{carry(carried)}: carry it, and .providers/cuda, to the machine; see on_device.py")
        return
    if not python.exists():
        console.print(f"not measured: expected {python}, got none; make setup-cuda")
        sys.exit(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_bundle(Path(scratch) / "bundle")
        command = [str(python), str(SOURCES / "benchmarks" / "on_device.py"), str(folder), "cuda", str(runs)]
        search = os.pathsep.join([str(SOURCES / "runtimes" / "python"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True)
    if done.returncode:
        console.print(
            f"not measured: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        )
        sys.exit(0)
    found = json.loads(done.stdout.splitlines()[-1])
    console.print(section_of(found, "CUDA").table())
    if json_file is not None:
        json_file.write_text(json.dumps(section_of(found, "CUDA").to_json(), indent=1))


if __name__ == "__main__":
    main()
