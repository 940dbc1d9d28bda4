"""What is known to be computed wrongly without an error, and is therefore refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rr_runtime.bundle import Bundle
from rr_runtime.errors import ProviderError
from rr_runtime.targets import Target


@dataclass(frozen=True)
class _Routed:
    """A graph with ``If`` nodes, as far as faults depend on it: its interface, and whether a size is symbolic."""

    interface: str
    symbolic: bool


@dataclass(frozen=True)
class _Fault:
    """What an engine computes wrongly.

    Attributes:
        hits: tells whether a graph is such that it happens.
        what: what happens, with the version that it was seen in.
    """

    hits: Callable[[_Routed], bool]
    what: str


FAULTS: dict[str, tuple[_Fault, ...]] = {
    "openvino": (
        _Fault(
            lambda graph: graph.symbolic,
            "OpenVINO freezes the conditions of an If with symbolic sizes at the first run (onnxruntime-openvino 1.24)",
        ),
        _Fault(
            lambda graph: graph.interface in ("explicit", "standalone"),
            "OpenVINO computes integers of 64 bits wrongly, so that seeds take other paths (onnxruntime-openvino 1.24)",
        ),
    ),
    "qnn": (
        _Fault(
            lambda graph: True,
            "QNN computes integers of 64 bits, and convolutions inside an If, wrongly (onnxruntime-qnn 2.7)",
        ),
    ),
}


def refuse_faults(bundle: Bundle, target: Target | None, provider: str) -> None:
    """Raises a ProviderError where the provider is known to compute this form wrongly without an error."""
    interface = bundle.manifest.interface if target is None else target.interface
    if interface in (None, "plain"):
        return
    sizes = {} if target is None else target.sizes
    symbolic = any(isinstance(d, str) and d not in sizes for tensor in bundle.manifest.inputs for d in tensor.shape)
    for fault in FAULTS.get(provider, ()):
        if fault.hits(_Routed(str(interface), symbolic)):
            advice = f"rr-export package --target {provider}"
            raise ProviderError(
                f"{bundle.path}: expected a form that {provider} computes rightly, got {interface!r}"
                f"{' with symbolic sizes' if symbolic else ''}; {fault.what}: make the form for it ({advice}), or run "
                "on another provider"
            )
