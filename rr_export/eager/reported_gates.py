"""What gates report: their probabilities in the last run, under the names that an exported file gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rr_export.eager.blocks import recorded
from rr_export.eager.choice import sites_of
from rr_export.eager.code_sites import all_sites
from rr_export.eager.gate import Gate, gate_probabilities, reported_name


@contextmanager
def reported_gates(model: nn.Module) -> Iterator[Callable[[], dict[str, NDArray[Any]]]]:
    """Inside the block, yields what returns the probabilities of the last run, float32 [K] by the names of outputs.

    They are zeros where a gate was not reached.
    """
    gates = {n: s.law for n, s in sites_of(model).items() if isinstance(s.law, Gate) and s.law.report}
    with recorded(model) if gates else nullcontext() as record:

        def told() -> dict[str, NDArray[Any]]:
            if record is None:
                return {}
            names, last = list(all_sites(model)), record.logits[-1]
            found = {name: last.get(names.index(name)) for name in gates}
            return {
                reported_name(name): np.zeros(gates[name].branches, np.float32)
                if logits is None
                else gate_probabilities(logits.detach()).cpu().numpy()
                for name, logits in found.items()
            }

        yield told
