"""What a routed model is compared with: models of each size, one that was trained without routing, pruning, int8."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn
from torch.nn.utils import prune

import rr_export as rr
from examples.tasks.task import Inputs, Task

Run = Callable[[Inputs], Inputs]


def export_static(task: Task, model: nn.Module, file: Path) -> Path:
    """The model, without any routing, is an ONNX file; returns its name."""
    axes = {name: dict(named) for name, named in task.axes.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="export: expected a model with sites")  # a rival has none
        return rr.export(model.eval(), (), task.example(), dynamic_shapes=axes).save(file, overwrite=True)


def open_static(file: Path) -> Run:
    """Returns what runs a file of ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Inputs) -> Inputs:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def pruned(model: nn.Module, share: float) -> nn.Module:
    """Returns the model without this share of its weights, the smallest over all layers (Han et al. 2015)."""
    made = copy.deepcopy(model)
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase)
    weights = [
        (module, name)
        for module in made.modules()
        if isinstance(module, kinds)
        for name, _ in module.named_parameters(recurse=False)
        if name.startswith("weight")
    ]
    prune.global_unstructured(weights, pruning_method=prune.L1Unstructured, amount=share)
    for module, name in weights:
        prune.remove(module, name)
    return made


def quantised(file: Path) -> Path:
    """Returns the file with 8-bit weights, and products in 8 bits (onnxruntime's dynamic quantisation)."""
    made = file.with_name(f"{file.stem}.int8.onnx")
    quantize_dynamic(file, made, weight_type=QuantType.QInt8)
    return made


def skipping(task: Task, model: nn.Module) -> nn.Module:
    """Returns a copy of a model that was trained without routing, whose layers can be skipped anyway."""
    made = copy.deepcopy(model)
    route_quietly(task, made)
    return made.eval()


def route_quietly(task: Task, model: nn.Module, keep: float = 0.75) -> None:
    """The layers of the model are routed; what ``rr.route_layers`` prints is not shown."""
    patterns = (task.pattern,) if isinstance(task.pattern, str) else task.pattern
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        for pattern in patterns:
            rr.route_layers(model, pattern, keep=keep, skip=task.skip, args=(), kwargs=task.example())
