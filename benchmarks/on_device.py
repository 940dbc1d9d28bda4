"""Times a bundle's routed target against its static paths on one provider; needs onnxruntime, numpy and rr_runtime.

``python on_device.py FOLDER PROVIDER RUNS`` prints one line of JSON. It runs with the Python that has the provider,
which need not have torch: everything else comes with the folder. Its weights are random, and are made here where they
were not carried.
"""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rr_runtime import RuntimeFailure, Session
from rr_runtime.tools.place import place
from rr_runtime.tools.timing import Case, caption, interleave, paired_ratio

ROUTED, STATIC = "cuda", "static"  # names of the targets
WEIGHTS, RECIPE = "model.onnx.data", "weights.json"


def weight(name: str, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns the random weights of a tensor, float32 [count], always the same for one name."""
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(count, dtype=np.float32) * np.float32(0.02)


def fill_weights(folder: Path) -> None:
    """The file of weights is there, made by its recipe if it was not; the bundle's hash says whether it is right."""
    if (folder / WEIGHTS).exists() or not (folder / RECIPE).exists():
        return
    rows = json.loads((folder / RECIPE).read_text())
    with (folder / WEIGHTS).open("wb") as out:
        for row in sorted(rows, key=lambda row: row["offset"]):
            out.write(b"\0" * (row["offset"] - out.tell()))
            out.write(weight(row["name"], row["count"]).tobytes())


def measure(folder: Path, provider: str, runs: int) -> dict[str, Any]:
    """Returns the ratios on every packaged path, and the copies between devices (JSON-ready).

    Raises:
        RuntimeFailure: the provider does not work here, or outputs differ.
    """
    fill_weights(folder)
    routed = Session(folder, provider=provider, target=ROUTED, threads=1)
    paths = [list(row.path) for row in routed.manifest.targets[STATIC].paths]
    static = {name: _open(folder, provider, len(paths)) for name in ("static", "static again")}
    captured = _open(folder, provider, len(paths), {"enable_cuda_graph": "1"}) if provider == "cuda" else None
    inputs = _inputs(folder)
    ratios: dict[str, Any] = {}
    for path in paths:
        sessions = {"routed": routed, **static} | ({"CUDA graph": captured} if captured is not None else {})
        expected = static["static"].run(inputs, path=path).outputs
        for name, session in sessions.items():
            for output, array in session.run(inputs, path=path).outputs.items():
                if not np.allclose(array, expected[output], rtol=1e-3, atol=1e-4):
                    raise RuntimeFailure(f"{name}, path {path}: expected the outputs of the static file, got others")
        cases: dict[str, Case] = {n: lambda s=s, p=path: s.run(inputs, path=p) for n, s in sessions.items()}  # type: ignore[misc]
        times = interleave(cases, runs=runs)
        ratios[",".join(map(str, path))] = {
            "kept": sum(route == 1 for route in path),
            "static_ms": float(np.median(times["static"])) * 1e3,
            **{name: asdict(paired_ratio(times, name, "static")) for name in sessions if name != "static"},
        }
    found = place(folder, provider, target=ROUTED, runs=0)
    return {
        "ratios": ratios,
        "copies": found["copies"],
        "counts": found["counts"],
        "caption": caption(runs=runs, threads=1),
    }


def _open(folder: Path, provider: str, paths: int, options: dict[str, str] | None = None) -> Session:
    return Session(folder, provider=provider, target=STATIC, threads=1, loaded_paths=paths, provider_options=options)


def _inputs(folder: Path) -> dict[str, Any]:
    with np.load(folder / "golden.npz") as arrays:
        return {name.removeprefix("0/input/"): arrays[name] for name in arrays.files if name.startswith("0/input/")}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
