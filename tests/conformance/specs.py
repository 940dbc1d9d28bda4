"""The cases: what each is, and from which model it is made. Which targets a case holds is in ``forms.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import rr_export as rr
from tests import nets
from tests.conformance import models
from tests.conformance.models import numbers, whole

BATCH = {"x": {0: "batch"}}
SIZES = {"x": {0: "batch", 1: "time"}}


@dataclass(frozen=True)
class Spec:
    """One case.

    Attributes:
        name: of its folder.
        summary: what is special about it, in a few words.
        model: a fresh model; its weights are settled by the maker.
        args: example arguments, and the inputs of its runs.
        others: arguments of other sizes, for runs of their own.
        dynamic: dynamic shapes, as for ``rr.export``.
        interface: of the default file.
        half: the model computes in float16.
        form: "folder"; "external" (weights of their own file); "int8" (quantised by onnxruntime); "ort".
        rtol: relative tolerance of its outputs.
        atol: absolute tolerance.
        fresh: also runs without seed and path, which may take any path.
        refusals: also calls that must be refused.
        ensemble: also an ensemble.
        alike: some paths give the same outputs on purpose.
    """

    name: str
    summary: str
    model: Callable[[], nn.Module]
    args: tuple[Tensor, ...]
    others: tuple[tuple[Tensor, ...], ...] = ()
    dynamic: Any = None
    interface: str = "explicit"
    half: bool = False
    form: str = "folder"
    rtol: float = 1e-4
    atol: float = 1e-5
    fresh: bool = False
    refusals: bool = False
    ensemble: bool = False
    alike: bool = False


_ROWS = numbers(2, 4)
_TIMES = numbers(2, 3, 4)
_TOKENS = (whole(2, 3, below=10), whole(2, 3, below=2, seed=2, dtype=torch.bool))
_THREE = partial(models.layers, 0.5, 0.7, 0.4)
_GRU, _LSTM = partial(models.Recurrent, nn.GRU), partial(models.Recurrent, nn.LSTM)

_ALL = (
    Spec("layer", "layers that are run or skipped", _THREE, (_ROWS,), fresh=True, refusals=True, ensemble=True),
    Spec("operation", "one of four operations", models.operation, (_ROWS,)),
    Spec("parameter", "one of four, and of two parameter sets", models.parameter, (_ROWS,)),
    Spec("nested2", "a site inside a branch, called twice there", partial(models.Nested, 2), (_ROWS,), fresh=True),
    Spec("nested3", "sites three deep", partial(models.Nested, 3), (_ROWS,)),
    Spec("gate", "gates that draw or take the likeliest, one inside a branch", models.Gated, (_ROWS,),
         ((numbers(1, 4, seed=2),), (numbers(3, 4, seed=3),)), BATCH, fresh=True, refusals=True, ensemble=True),
    Spec("gate-report", "a gate whose probabilities are an output", partial(models.Gated, report=True), (_ROWS,)),
    Spec("chain", "a Markov chain of three steps over three operations", partial(models.Chain, within=False), (_ROWS,)),
    Spec("chain-unreached", "a chain whose last step stands inside a layer", partial(models.Chain, within=True),
         (_ROWS,)),
    Spec("everything", "all kinds of sites, nested, chained, shared; two outputs", nets.everything,
         (numbers(2, nets.WIDTH),), dynamic=BATCH),
    Spec("outputs", "branches that return float32, int64 and bool", models.Counts, (_ROWS,)),
    Spec("shared", "one site called three times, its layer in another site too", models.Shared, (_ROWS,)),
    Spec("idle", "a site whose result nobody reads", models.Idle, (_ROWS,), alike=True),
    Spec("tree", "one of sixteen layers", models.tree, (_ROWS,)),
    Spec("zero", "branches of probability zero", models.impossible, (_ROWS,)),
    Spec("dynamic", "attention and LayerNorm at several sizes", models.Sequence, (numbers(2, 3, 8),),
         ((numbers(1, 1, 8, seed=2),), (numbers(3, 5, 8, seed=3),)), SIZES, refusals=True),
    Spec("static", "attention and LayerNorm, all sizes fixed", models.Sequence, (numbers(2, 3, 8),)),
    Spec("words", "int64 and bool inputs, an embedding", models.Words, _TOKENS,
         ((whole(1, 4, below=10), whole(1, 4, below=2, seed=2, dtype=torch.bool)),),
         {"tokens": {0: "batch", 1: "time"}, "mask": {0: "batch", 1: "time"}}, refusals=True),
    Spec("whole", "int32 and uint8 inputs, nothing but whole numbers", models.Whole,
         (whole(2, 3, below=100, dtype=torch.int32), whole(2, below=200, dtype=torch.uint8))),
    Spec("half", "a model in float16", partial(models.layers, 0.5, 0.7, layer=models.Mlp), (_ROWS.half(),), half=True,
         rtol=4e-3, atol=4e-3, refusals=True),
    Spec("images", "convolutions, a depthwise one, a pool, BatchNorm", models.Images, (numbers(1, 2, 6, 6),)),
    Spec("convs", "convolutions, run or skipped", models.Convs, (numbers(1, 2, 8, 8),)),
    Spec("gru", "a GRU that is run or skipped", partial(models.layers, 0.5, layer=_GRU), (_TIMES,)),
    Spec("lstm", "an LSTM that is run or skipped", partial(models.layers, 0.5, layer=_LSTM), (_TIMES,)),
    Spec("host", "interface host", _THREE, (_ROWS,), interface="host", fresh=True, refusals=True),
    Spec("host-nested", "interface host; a chain through unreached sites", partial(models.Chain, within=True), (_ROWS,),
         interface="host"),
    Spec("standalone", "interface standalone", _THREE, (_ROWS,), interface="standalone", fresh=True, refusals=True),
    Spec("plain", "a model without sites", models.without_sites, (_ROWS,), ((numbers(5, 4, seed=2),),), BATCH,
         refusals=True),
    Spec("external", "weights in a file of their own",
         partial(models.layers, 0.5, 0.7, layer=partial(models.Mlp, 16), width=16), (numbers(2, 16),), form="external"),
    Spec("int8", "weights in eight bits, quantised as it runs", partial(models.layers, 0.5, 0.6, layer=models.Mlp),
         (_ROWS,), form="int8", rtol=0.05, atol=0.1),
    Spec("ort", "a single .ort file", _THREE, (_ROWS,), form="ort"),
)  # fmt: skip
SPECS: Mapping[str, Spec] = {spec.name: spec for spec in _ALL}


def build(spec: Spec) -> nn.Module:
    """Returns the case's model, its weights settled."""
    model = models.settle(spec.model())
    return model.half() if spec.half else model


def export(spec: Spec, model: nn.Module) -> rr.Bundle:
    """Returns the case's default file as a bundle, with the case's tolerances."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "export: expected a model with sites")
        bundle = rr.export(model, spec.args, dynamic_shapes=spec.dynamic, interface=spec.interface)
    bundle.manifest["tolerances"] = {"rtol": spec.rtol, "atol": spec.atol}
    return bundle
