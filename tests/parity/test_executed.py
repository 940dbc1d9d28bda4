"""What ONNX Runtime makes of a file can be run again, whatever names it gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

import rr_export as rr
from rr_export.parity.executed import LEVELS, made_executable
from rr_export.passes.unique_names import shared_names


def test_bug_a_name_that_onnxruntime_gave_in_the_graph_and_in_a_branch(tmp_path: Path) -> None:
    # what it puts around a linear layer on three axes is called the same in every graph
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(3)]).eval()
    rr.route_layers(model, "[12]", keep=0.5)
    bundle = rr.export(model, (torch.ones(2, 3, 4),))
    file = bundle.save(tmp_path / "bundle") / "model.onnx"
    feeds = {"input": np.ones((2, 3, 4), np.float32), "rr_seed": np.array(0)}
    with made_executable(str(file), LEVELS["all"]) as executable:
        run, skipped = executable.run([{**feeds, "rr_path": np.array([k, k])} for k in (1, 0)])
    assert {executable.origins[name] for name in run - skipped} >= {
        "node_MatMul_3/MatMulAddFusion",
        "gemm_input_reshape",
    }
    assert not shared_names(executable.model)
