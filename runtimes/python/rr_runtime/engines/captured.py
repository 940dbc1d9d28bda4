"""Runs a static file whose kernels the device captures once and replays: a CUDA graph.

A captured graph reads and writes fixed addresses, so inputs and outputs keep their place on the device between runs:
what is fed is copied there, what comes out is copied back, and nothing else moves. One graph per set of shapes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from rr_runtime.engines.engine import Arrays

GRAPHS = 4  # sets of shapes of which the places are kept; the least recently used one goes


class Captured:
    """A session on a static file, called like onnxruntime's own.

    Args:
        session: onnxruntime's session.
        device: where inputs and outputs lie: "cuda", or "cpu", where nothing is captured.
    """

    def __init__(self, session: Any, device: str = "cuda") -> None:
        self._session, self._device = session, device
        self._places: OrderedDict[tuple[Any, ...], _Places] = OrderedDict()
        self._made = 0

    def run(self, outputs: Sequence[str], feeds: Arrays) -> list[Any]:
        """Returns the outputs; one run at a time."""
        key = (tuple(outputs), *((name, array.shape, str(array.dtype)) for name, array in feeds.items()))
        places = self._places.get(key)
        if places is None:
            while len(self._places) >= GRAPHS:
                self._places.popitem(last=False)
            self._made += 1
            places = self._places[key] = _Places(self._session, self._device, outputs, feeds, self._made)
        self._places.move_to_end(key)
        return places.run(feeds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class _Places:
    """Where the inputs and outputs of one set of shapes lie."""

    def __init__(self, session: Any, device: str, outputs: Sequence[str], feeds: Arrays, number: int) -> None:
        self._session = session
        self._options = onnxruntime.RunOptions()
        self._binding = session.io_binding()
        # a run outside of any graph (-1) tells the shapes of the outputs
        self._options.add_run_config_entry("gpu_graph_id", "-1")
        found = session.run(list(outputs), dict(feeds), self._options)
        self._inputs = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0)
            for name, array in feeds.items()
        }
        self._outputs = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a), device, 0) for a in found]
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in zip(outputs, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(number))

    def run(self, feeds: Arrays) -> list[Any]:
        for name, array in feeds.items():
            self._inputs[name].update_inplace(np.ascontiguousarray(array))
        self._session.run_with_iobinding(self._binding, self._options)
        return [np.array(value.numpy()) for value in self._outputs]
