"""What is known to be computed wrongly without an error, and is therefore refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rr_runtime.bundle import Bundle
from rr_runtime.errors import ProviderError
from rr_runtime.manifest import symbols
from rr_runtime.target import Target


@dataclass(frozen=True)
class _Form:
    """What faults depend on: the interface of a graph with ``If`` (None: there is none), symbolic sizes, precision."""

    interface: str | None
    symbolic: bool
    precision: str


@dataclass(frozen=True)
class _Fault:
    """What an engine computes wrongly.

    Attributes:
        hits: tells whether a form is such that it happens.
        what: what happens, with the version that it was seen in.
    """

    hits: Callable[[_Form], bool]
    what: str


FAULTS: dict[str, tuple[_Fault, ...]] = {
    "openvino": (
        _Fault(
            lambda form: form.interface is not None and form.symbolic,
            "OpenVINO keeps the conditions of an If as they were in the first run (onnxruntime-openvino 1.24)",
        ),
        _Fault(
            lambda form: form.interface in ("explicit", "standalone"),
            "OpenVINO cuts seeds to 32 bits, so that they take other paths (onnxruntime-openvino 1.24)",
        ),
    ),
    "qnn": (
        _Fault(
            lambda form: form.interface in ("explicit", "standalone"),
            "QNN cuts seeds to 32 bits, so that they take other paths (onnxruntime-qnn 2.7)",
        ),
        _Fault(
            lambda form: form.interface is not None,
            "QNN computes a convolution inside an If wrongly (onnxruntime-qnn 2.7)",
        ),
    ),
    "xnnpack": (
        _Fault(lambda form: form.symbolic, "XNNPACK computes a Gemm of symbolic size wrongly (onnxruntime 1.21)"),
        _Fault(
            lambda form: form.precision == "float16",
            "XNNPACK computes convolutions in half precision wrongly (onnxruntime 1.21)",
        ),
    ),
}


def refuse_faults(bundle: Bundle, target: Target | None, provider: str) -> None:
    """Raises a ProviderError where the provider is known to compute this form wrongly without an error."""
    interface = bundle.manifest.interface if target is None else target.interface
    sizes = {} if target is None else target.sizes
    named = [name for tensor in bundle.manifest.inputs for size in tensor.shape for name in symbols(size)]
    symbolic = [name for name in named if name not in sizes]
    precision = "float32" if target is None else target.precision
    form = _Form(None if interface == "plain" else interface, bool(symbolic), precision)
    for fault in FAULTS.get(provider, ()):
        if fault.hits(form):
            fixed = "".join(f" --size {axis}=N" for axis in dict.fromkeys(symbolic))
            raise ProviderError(
                f"{bundle.path}: expected a form that {provider} computes rightly, got "
                f"{'no If' if form.interface is None else f'interface {form.interface!r}'}"
                f"{' with symbolic sizes' if symbolic else ''}; {fault.what}: make the form for it "
                f"(rr-export package --target {provider}{fixed}), or run on another provider"
            )
