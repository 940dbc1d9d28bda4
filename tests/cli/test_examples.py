"""The examples of the helps work, one after the other, in a folder that has what they name."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rr_export.cli.examples import EXAMPLES
from rr_runtime.tools.machine import about_machine

MODELS = """
import torch
from torch import nn

import rr_export as rr


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return x


def encoder():
    torch.manual_seed(0)
    model = Encoder().eval()
    rr.route_layers(model, "layers.*", keep=0.8)
    return {"model": model, "args": (torch.randn(4, 8),), "dynamic_shapes": {"x": {0: "batch"}}}


def score(path):
    return sum(path)


def rows():
    return [({"x": torch.randn(4, 8, generator=torch.Generator().manual_seed(k)).numpy()}, k) for k in range(2)]


def hits(outputs, target):
    return next(iter(outputs.values()))[:, 0] > target
"""
TRIED_ELSEWHERE = {"demo"}  # tests/demo


def prepare(place: Path) -> None:
    """What the examples of export begin with is there."""
    transformers = pytest.importorskip("transformers")
    (place / "my_models.py").write_text(MODELS)
    np.save(place / "x.npy", np.ones((4, 8), np.float32))
    sizes = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = transformers.BertConfig(**sizes, intermediate_size=16, max_position_embeddings=32)
    transformers.BertModel(config).save_pretrained(place / "minilm")


def go_on(place: Path) -> None:
    """What the other examples name beside the first bundle is there."""
    shutil.copytree(place / "out", place / "released")
    for name in ("model.onnx", "quantised.onnx"):
        shutil.copy(place / "out" / "model.onnx", place / name)
    costs = [{"site": f"layers.{i}", "branch": b, "cost_ms": c} for i in range(4) for b, c in (("skip", 0), ("run", 2))]
    model = {"base_ms": 2, "branches": costs, "paths": 4, "error_mean": 0.01, "error_worst": 0.02}
    about = {"name": "cpu", "target": "default", "provider": "cpu", "law": {"samples_ms": [2, 4, 6]}}
    told = {"tool": "bench", "runs": 3, "machine": about_machine(), "subjects": [{**about, "model": model}]}
    (place / "bench.json").write_text(json.dumps(told))


@pytest.mark.slow
def test_examples_work_one_after_the_other(tmp_path: Path) -> None:
    prepare(tmp_path)
    ended = {}
    for command, examples in EXAMPLES.items():
        for _, call in [] if command in TRIED_ELSEWHERE else examples:
            arguments = [sys.executable, "-m", "rr_export", *shlex.split(call)[1:]]
            done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
            ended[call] = (done.returncode, done.stderr[-1000:] if done.returncode else "")
        if command == "export":
            go_on(tmp_path)
    assert {call: end for call, end in ended.items() if end[0]} == {}
