"""What runs a model, one engine per form: a routed graph, static segments, or frozen paths."""

from __future__ import annotations

from rr_runtime.bundle import Bundle
from rr_runtime.engines.engine import Engine, Opening
from rr_runtime.engines.frozen import Frozen
from rr_runtime.engines.graph import Graph
from rr_runtime.engines.segments import Segments
from rr_runtime.errors import ProviderError
from rr_runtime.target import Target

__all__ = ["Engine", "Opening", "open_engine"]


def open_engine(bundle: Bundle, target: Target | None, opening: Opening, *, loaded_paths: int) -> Engine:
    """Returns what runs the bundle's own model (None) or one of its targets.

    Args:
        bundle: the bundle.
        target: the target, or None.
        opening: provider and options of its sessions.
        loaded_paths: how many paths of a frozen target stay loaded at a time, >= 1.

    Raises:
        BundleError: a file does not say what the manifest says.
        ProviderError: the provider does not work, or CUDA graphs are asked for where the form is not static paths.
    """
    if opening.captures and (target is None or target.form != "frozen"):
        got = "default" if target is None else repr(target.name)
        raise ProviderError(
            f"{bundle.path}: expected a frozen target for CUDA graphs, got {got}; package one "
            "(rr-export package --target cuda --frozen N), or leave enable_cuda_graph away"
        )
    if target is None:
        assert bundle.model is not None
        return Graph(bundle, bundle.model, bundle.manifest.interface, opening)
    if target.form == "segments":
        return Segments(bundle, target, opening)
    if target.form == "frozen":
        return Frozen(bundle, target, opening, loaded_paths=loaded_paths)
    assert target.model is not None and target.interface is not None
    return Graph(bundle, bundle.path / target.model, target.interface, opening, sizes=target.sizes)
