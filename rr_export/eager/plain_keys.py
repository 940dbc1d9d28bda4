"""The keys of the weights of a routed layer in a state dict: those that the layer has without its site.

before:  routed.state_dict() -> {"0.layer.weight": ...}
after:   routed.state_dict() -> {"0.weight": ...}

So a checkpoint of the plain model is one of the routed model, and the other way round. Parameters keep the names that
they are registered under, with ``.layer`` (``named_parameters``, the weights of an exported file); state dicts with
such keys still load.
"""

from __future__ import annotations

from collections.abc import Collection, MutableMapping, Sequence
from typing import Any

from torch import nn

from rr_export.eager.choice import Choice

INNER = "layer."  # what a site puts before the keys of its layer
LOGITS = "law.logits"  # the key of a learned policy's logits, which the plain model lacks


def save_plainly(saved: MutableMapping[str, Any], prefix: str) -> None:
    """The layer's entries have the keys of the plain model; they stay in order, after those of a learned policy.

    Args:
        saved: a state dict, in which the entries of the site came last.
        prefix: of the site, with its dot.
    """
    inner = prefix + INNER
    for key in [key for key in saved if key.startswith(inner)]:
        saved[prefix + key[len(inner) :]] = saved.pop(key)
    versions = getattr(saved, "_metadata", {})  # under both names: torch looks for those of a routed model
    for key in [key for key in versions if f"{key}.".startswith(inner)]:
        versions[prefix + key[len(inner) :] if key.startswith(inner) else prefix[:-1]] = versions[key]


def has_plain_keys(layer: nn.Module, given: Collection[str]) -> bool:
    """Tells whether entries below a site have the keys of the plain model, and not those with ``.layer``.

    Those with ``.layer`` all begin with it; the layer has nothing of that name, or more of them lead to something in it
    without.

    Args:
        layer: the site's layer.
        given: the keys, without the site's own name.
    """
    if not all(key.startswith(INNER) for key in given):
        return True
    as_they_are = sum(_leads(layer, key.split(".")) for key in given)
    without = sum(_leads(layer, key[len(INNER) :].split(".")) for key in given)
    return hasattr(layer, INNER[:-1]) and as_they_are >= without


def name_inner(given: MutableMapping[str, Any], keys: Sequence[str], prefix: str) -> None:
    """Entries of a state dict have the keys under which torch looks for them: with ``.layer`` after the site's name."""
    values = [given.pop(key) for key in keys]
    for key, value in zip(keys, values, strict=True):
        given[prefix + INNER + key[len(prefix) :]] = value


def _leads(module: nn.Module, parts: Sequence[str]) -> bool:
    """Tells whether a key leads to a weight of the module, with or without the ``.layer`` of the sites on the way."""
    if isinstance(module, Choice) and module.kind == "layer":
        inner = module.get_submodule("layer")
        if parts == LOGITS.split(".") and "law" in module._modules:
            return True
        return _leads(inner, parts) or (parts[0] == "layer" and len(parts) > 1 and _leads(inner, parts[1:]))
    head, *rest = parts
    if not rest:
        return head in module._parameters or head in module._buffers or head == "_extra_state"
    child = module._modules.get(head)
    return child is not None and _leads(child, rest)
