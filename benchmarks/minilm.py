"""``python -m benchmarks.minilm``: doctor, place and bench on a pretrained sentence encoder, on every engine here.

Writes ``docs/minilm.md``: what the commands print, engine by engine, with the commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

import rr_export as rr
from rr_export.bundle.atomic_write import write_atomically
from rr_export.demo import encoder

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "minilm.md"
TOKENS = 8
HEAD = """# A sentence encoder on every provider

all-MiniLM-L6-v2 (22 million parameters, six layers, each run with probability .8), two sentences of {tokens} tokens, in
the form that each provider wants; all forms share one file of weights ({megabytes:.0f} MB in all). Here is what the
commands print, on one machine of two shared cores where emulators (QNN's, qemu) and software (WebGPU on SwiftShader)
stand in for devices: times of one engine may be compared with each other, not with another engine's.
`python -m benchmarks.minilm` makes this page again.
"""


@dataclass(frozen=True)
class Engine:
    """Where commands run: a provider, the environment that has it (None: this one), and how many rounds are timed."""

    provider: str
    environment: str | None
    rounds: int
    what: str


ENGINES = (
    Engine("cpu", None, 50, "the CPU"),
    Engine("openvino", "openvino", 50, "OpenVINO on the CPU"),
    Engine("xnnpack", "xnnpack", 50, "XNNPACK, from Debian"),
    Engine("cpu", "aarch64", 10, "the CPU, 64-bit Arm by qemu-user"),
    Engine("ggml", "ggml", 20, "ggml on the CPU"),
    Engine("qnn", "qnn", 10, "Qualcomm's NPU, emulated"),
    Engine("webgpu", "webgpu", 10, "WebGPU on SwiftShader"),
)
TARGETS = ("cuda", "xnnpack", "qnn", "openvino", "webgpu")


def make_bundle(folder: Path) -> Path:
    """Returns the folder with the encoder and a target for every provider."""
    case = encoder()
    case["kwargs"] = {name: tensor[:, :TOKENS].contiguous() for name, tensor in case["kwargs"].items()}
    bundle = rr.export(**case)
    for name in TARGETS:
        sizes = {"batch": 2, "sequence": TOKENS}
        bundle = rr.package(bundle, name, sizes=sizes)
    return bundle.save(folder)


def commands(engine: Engine) -> list[list[str]]:
    """Returns what is run for an engine, with the bundle as ``out``."""
    python = [] if engine.environment is None else ["--python", f".providers/{engine.environment}/run"]
    target = ["--target", "cuda"] if engine.provider == "ggml" else []
    asked = ["out", "--provider", engine.provider]
    return [
        ["doctor", *asked, *target, *python],
        ["place", *asked, *target, "--runs", str(max(5, engine.rounds // 2)), *python],
        ["bench", *asked, *target, "--runs", str(engine.rounds), "--loads", "1", *python],
    ]


def run(command: Sequence[str], folder: Path) -> str:
    """Returns what a command prints, the bundle's place as ``out``."""
    done = subprocess.run(
        [sys.executable, "-m", "rr_export", *(str(folder) if word == "out" else word for word in command)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "110", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )
    said = done.stdout.rstrip()
    if done.returncode not in (0, 1) or not said:
        said = f"{said}\n{done.stderr.strip().splitlines()[-1]}".strip()
    said = said.replace(str(folder), "out").replace(str(ROOT), ".")
    return "\n".join(line.rstrip() for line in said.splitlines()) + (
        f"\n(exit status {done.returncode})" if done.returncode else ""
    )


@click.command()
@click.option("--engine", "names", multiple=True, help="Only these (a provider, or the name of an environment).")
@click.option("--output", type=click.Path(path_type=Path), default=PAGE, show_default=False)
def main(names: Sequence[str], output: Path) -> None:
    """Write the page for every engine that is set up."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_bundle(Path(scratch) / "minilm")
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        parts = [HEAD.format(tokens=TOKENS, megabytes=size)]
        for engine in ENGINES:
            if names and not {engine.provider, engine.environment} & set(names):
                continue
            parts.append(f"\n## {engine.what[0].upper()}{engine.what[1:]}\n")
            if engine.environment and not (ROOT / ".providers" / engine.environment / "run").exists():
                parts.append(f"\nNot run: `make setup-{engine.environment}` was not.\n")
                continue
            for command in commands(engine):
                console.print(f"{engine.what}: {command[0]}")
                parts.append(f"\n```\n$ rr-export {' '.join(command)}\n{run(command, folder)}\n```\n")
        parts.append("\n## CUDA, CoreML, NNAPI\n\nNot measured: no such machine was at hand.\n")
    write_atomically(output, "".join(parts).encode())


if __name__ == "__main__":
    main()
