"""Routed over static on a CUDA device: a wide encoder is exported here on the CPU, and timed where CUDA is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console

import rr_export as rr
from benchmarks.models import Size, encoder_layers, routed_skips
from benchmarks.on_device import ROUTED, STATIC
from benchmarks.table import Row, Section
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
    wanted = [tuple(int(i * k // size.layers < (i + 1) * k // size.layers) for i in range(size.layers)) for k in kept]
    bundle = rr.package(bundle, "cuda", name=ROUTED)
    bundle = rr.package(bundle, "cuda", name=STATIC, frozen=len(wanted), best=lambda path: float(path in wanted))
    return bundle.save(folder)


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
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file, too.")
def main(python: Path, runs: int, json_file: Path | None) -> None:
    """Measure an encoder of width 1024, batch 8, on CUDA; without a CUDA device it says "not measured"."""
    console = Console()
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
