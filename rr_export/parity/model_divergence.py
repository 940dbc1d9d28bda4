"""Where a bundle parts from the eager model: by what a capture of it gives now, and by what its modules return."""

from __future__ import annotations

import logging
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils import _pytree as pytree

from rr_export.bundle.bundle import Bundle
from rr_export.capture.request import Request
from rr_export.capture.trace import capture
from rr_export.lowering.deciding_slice import Path_
from rr_export.lowering.lower import lower
from rr_export.parity.divergence import Known, differing_weights, diverging, forcible
from rr_export.parity.eager_model import Eager
from rr_export.parity.subject import forcing_feeds
from rr_export.parity.terms import Terms
from rr_export.passes.place_weights import place_weights
from rr_export.passes.simplify import simplify
from rr_export.report.divergence import Divergence

logger = logging.getLogger(__name__)


def divergence_from_model(bundle: Bundle, request: Request, path: Path_ | None, terms: Terms) -> Divergence | None:
    """Returns where a bundle parts from the eager model; None where nothing was found.

    Args:
        bundle: the bundle.
        request: the eager model, with the arguments on which outputs differ.
        path: where they differ; None: only weights are compared.
        terms: what counts as equal.
    """
    try:
        now = captured_now(bundle, request)
    except Exception as error:  # the model cannot be captured any more, for whatever reason
        logger.debug("the model cannot be captured", exc_info=True)
        note = f"values inside were not compared: the model as it is now is not captured ({type(error).__name__})"
        return Divergence(tuple(path or ()), note=note)
    own = {name for name, _ in (*request.model.named_parameters(), *request.model.named_buffers())}
    weights = tuple(name for name in differing_weights(bundle.model, now) if name in own)
    if path is None:
        return Divergence((), weights) if weights else None
    known = Known(forcible(now, bundle), _returned_by_modules(Eager(request), path))
    feeds = forcing_feeds(bundle.manifest["interface"], request.inputs, path)
    return diverging(known, forcible(bundle.model, bundle), bundle.plan, feeds, path, weights, terms)


def captured_now(bundle: Bundle, request: Request) -> ir.Model:
    """Returns the graph that export would make of the model now."""
    manifest = bundle.manifest
    training = manifest.get("training_routes", ())
    captured = capture(request.with_axes_of(manifest), opset=manifest["opset"], training=training)
    model = lower(captured, interface=manifest["interface"])
    simplify(model)
    place_weights(model)
    return model


def _returned_by_modules(eager: Eager, path: Path_) -> dict[str, NDArray[Any]]:
    """What every module that is called once returns on a path, by its name: its first tensor."""
    returned: dict[str, list[NDArray[Any]]] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            leaves = pytree.tree_leaves(output)
            tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
            if tensors and tensors[0].dtype != torch.bfloat16:
                returned.setdefault(name, []).append(tensors[0].detach().numpy().copy())

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in eager.model.named_modules() if name]
    try:
        eager.on_path(path)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: arrays[0] for name, arrays in returned.items() if len(arrays) == 1}
