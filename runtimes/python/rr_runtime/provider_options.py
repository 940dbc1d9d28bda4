"""Where a provider's options are decided: what each is told, what callers may tell it, and what that means.

`SETTINGS` is the table of what a provider is told where the caller says nothing, each option with its reason.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Setting:
    """One option of a provider.

    Attributes:
        provider: onnxruntime's name of the provider.
        option: the option's name.
        value: what it is set to.
        reason: why.
        machines: where it is set, by the processor's names in lower case; empty: everywhere.
    """

    provider: str
    option: str
    value: str
    reason: str
    machines: tuple[str, ...] = ()


SETTINGS = (
    Setting(
        "CUDAExecutionProvider",
        "use_tf32",
        "0",
        "TF32 keeps 10 bits of each factor; a float32 file promises float32",
    ),
    Setting(
        "CUDAExecutionProvider",
        "cudnn_conv_algo_search",
        "HEURISTIC",
        "the default tries every algorithm when a branch is first taken, which may be long after the start",
    ),
    Setting(
        "CoreMLExecutionProvider",
        "EnableOnSubgraphs",
        "1",
        "without it every branch of an If stays on the CPU",
    ),
    Setting(
        "CoreMLExecutionProvider",
        "ModelFormat",
        "MLProgram",
        "the older format has no float16 arithmetic and fewer operators",
    ),
    Setting(
        "OpenVINOExecutionProvider",
        "device_type",
        "CPU",
        "the device that every machine has; GPU and NPU must be asked for",
    ),
    Setting(
        "OpenVINOExecutionProvider",
        "precision",
        "FP32",
        "a processor with bfloat16 would be free to use it; a float32 file promises float32",
    ),
    Setting(
        "QNNExecutionProvider",
        "backend_type",
        "htp",
        "the NPU; the CPU's backend is not in the package, and asking for it leaves every node to onnxruntime",
    ),
    Setting(
        "QNNExecutionProvider",
        "soc_model",
        "69",
        "the emulator must be told which chip it is: without it And and Where fail to prepare; a device knows its own",
        machines=("x86_64", "amd64"),
    ),
    Setting(
        "WebGpuExecutionProvider",
        "enableInt64",
        "0",
        "64-bit integers are 32 bits wide on WebGPU: routes made there from a seed would be wrong",
    ),
)

# Options under which a provider computes wrongly without an error.
REFUSED = {
    ("WebGpuExecutionProvider", "enableInt64", "1"): "WebGPU has integers of 32 bits: larger ones would be cut off",
}

# Providers that have threads of their own, and the option that says how many; the others take the session's.
THREADS = {"OpenVINOExecutionProvider": "num_of_threads"}


def options_of(provider: str, given: Mapping[str, str] | None) -> dict[str, str]:
    """Returns the options of a provider on this machine: those of the table, and the given ones over them.

    Args:
        provider: onnxruntime's name of the provider.
        given: the caller's options, or None.

    Raises:
        TypeError: the given options are no mapping of strings to strings.
        ValueError: options are given for the CPU, which has none, or one is known to make results wrong.
    """
    if given is not None and not _is_strings(given):
        raise TypeError(
            f"provider_options: expected strings by name, such as {{'device_id': '0'}}, got {given!r}; "
            "write numbers and switches as strings"
        )
    if given and provider == CPU:
        raise ValueError(
            f"provider_options: expected none for cpu, got {', '.join(given)}; use threads or session_options"
        )
    for option, value in (given or {}).items():
        if (provider, option, value) in REFUSED:
            raise ValueError(
                f"provider_options: expected {option} other than {value!r}, got it; {REFUSED[provider, option, value]}"
            )
    machine = platform.machine().lower()
    chosen = [s for s in SETTINGS if s.provider == provider and (not s.machines or machine in s.machines)]
    return {s.option: s.value for s in chosen} | dict(given or {})


def thread_options(provider: str, threads: int) -> dict[str, str] | None:
    """Returns the options that give a provider so many threads; None where it takes those of the session."""
    return {THREADS[provider]: str(threads)} if provider in THREADS else None


def captures_graphs(provider: str, given: Mapping[str, str] | None) -> bool:
    """Returns whether the caller's options ask for CUDA graphs; they may be of any type."""
    options = given if isinstance(given, Mapping) else {}
    return provider == "CUDAExecutionProvider" and str(options.get("enable_cuda_graph", "0")).lower() in ("1", "true")


def check_heeded(active: Mapping[str, str], given: Mapping[str, str] | None, name: str) -> None:
    """Raises a ValueError where a provider that was added to the session options before has others than the given.

    Args:
        active: the options that the session has the provider with.
        given: the caller's options, or None.
        name: the short name of the provider.
    """
    for option, value in (given or {}).items():
        if active.get(option) != value:
            raise ValueError(
                f"provider_options: expected {option}={value}, got session_options that have {name} with "
                f"{option}={active.get(option)} already; pass new session options"
            )


def _is_strings(given: Any) -> bool:
    return isinstance(given, Mapping) and all(isinstance(text, str) for pair in given.items() for text in pair)
