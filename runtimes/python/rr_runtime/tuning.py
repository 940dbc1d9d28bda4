"""How a session computes: what changes the time of a run, and its numbers by rounding at most.

`default_tuning` is the table of what is faster where the caller says nothing, each with its reason.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnxruntime

from rr_runtime.arguments import check_count
from rr_runtime.one_line import cut_to_line
from rr_runtime.provider_options import CPU

X86 = ("x86_64", "amd64")  # the processor's names in lower case
# Rewritings of onnxruntime that may be left out. The kernel of the first one is slower than what it replaces: on x86 an
# addition and a LayerNormalization take .3 to .75 of its time (python -m benchmarks fusions).
FUSIONS = ("SkipLayerNormFusion", "MatMulAddFusion", "NchwcTransformer")
LEFT_OUT = "optimization.disable_specified_optimizers"
SPINNING = "session.intra_op.allow_spinning"


@dataclass(frozen=True)
class Tuning:
    """How a session computes.

    Attributes:
        threads: the number of threads inside one operator, >= 1; None leaves it to onnxruntime.
        spinning: whether threads wait actively for their next work; None: they do, except where a form has many files.
        arena: whether memory is kept for later runs.
        left_out: the rewritings of onnxruntime, of those in `FUSIONS`, that are left out.
    """

    threads: int | None = None
    spinning: bool | None = None
    arena: bool = True
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises a TypeError or ValueError where a field is of another type or out of range."""
        if self.threads is not None:
            check_count(self.threads, "threads")
        if self.spinning is not None and not isinstance(self.spinning, bool):
            raise TypeError(f"spinning: expected True, False or None, got {self.spinning!r}; pass one of these")
        if not isinstance(self.arena, bool):
            raise TypeError(f"arena: expected True or False, got {self.arena!r}; pass one of these")
        if not isinstance(self.left_out, tuple) or len(set(self.left_out)) != len(self.left_out):
            raise TypeError(f"left_out: expected a tuple of different names, got {self.left_out!r}; pass a tuple")
        for name in self.left_out:
            if name not in FUSIONS:
                raise ValueError(f"left_out: expected names of {', '.join(FUSIONS)}, got {name!r}; pass one of these")

    def options(self, *, spinning: bool = True) -> onnxruntime.SessionOptions:
        """Returns onnxruntime's options that say so; `spinning` is what None means."""
        options = onnxruntime.SessionOptions()
        if self.threads is not None:
            options.intra_op_num_threads = self.threads
        if not (spinning if self.spinning is None else self.spinning):
            options.add_session_config_entry(SPINNING, "0")
        options.enable_cpu_mem_arena = self.arena
        self.leave_out(options)
        return options

    def leave_out(self, options: onnxruntime.SessionOptions) -> None:
        """The options leave the rewritings out that this tuning leaves out."""
        if self.left_out:
            options.add_session_config_entry(LEFT_OUT, ";".join(self.left_out))

    def to_json(self) -> dict[str, Any]:
        """Returns what `read_tuning` reads."""
        return {
            "threads": self.threads, "spinning": self.spinning, "arena": self.arena, "left_out": list(self.left_out)
        }  # fmt: skip

    def __repr__(self) -> str:
        """Shows the tuning in words."""
        return cut_to_line(f"Tuning({self})")

    def __str__(self) -> str:
        """The tuning in words."""
        waits = {None: "", True: ", threads wait actively", False: ", threads do not wait actively"}[self.spinning]
        threads = "threads as onnxruntime has them" if self.threads is None else f"threads {self.threads}"
        without = f", without {', '.join(self.left_out)}" if self.left_out else ""
        return f"{threads}{waits}{'' if self.arena else ', memory is not kept'}{without}"


def default_tuning(provider: str) -> Tuning:
    """Returns what a session takes where its caller says nothing.

    On x86 the CPU provider's kernel of SkipLayerNormalization is slower than the nodes that it replaces. Elsewhere that
    is not measured, and onnxruntime's own defaults stay; so they do for threads, waiting and memory, where nothing was
    found that is faster beyond the noise.

    Args:
        provider: onnxruntime's name of the provider.
    """
    on_x86 = provider == CPU and platform.machine().lower() in X86
    return Tuning(left_out=("SkipLayerNormFusion",) if on_x86 else ())


def read_tuning(found: object) -> Tuning:
    """Returns the tuning of `to_json`'s dictionary, which may come from a stranger.

    Raises:
        ValueError: it is something else, or has more threads than this machine has cores.
    """
    known = Tuning().to_json().keys()
    if not isinstance(found, Mapping) or found.keys() != known:
        raise ValueError(f"a tuning: expected {', '.join(known)}, got {found!r:.80}")
    left_out = found["left_out"]
    if not isinstance(left_out, list) or not all(isinstance(name, str) for name in left_out):
        raise ValueError(f"left_out: expected a list of names, got {left_out!r:.80}")
    try:
        tuning = Tuning(found["threads"], found["spinning"], found["arena"], tuple(left_out))
    except TypeError as error:
        raise ValueError(str(error)) from error
    if tuning.threads is not None and tuning.threads > (os.cpu_count() or 1):
        raise ValueError(f"threads: expected at most {os.cpu_count()}, got {tuning.threads}")
    return tuning
