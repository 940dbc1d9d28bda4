"""Runs the same arrays again and again: bound to a session once, or copied to their places after every run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.engines.engine import Arrays, Engine, Places, Taken
from rr_runtime.errors import RuntimeFailure


class Bound:
    """A session on the CPU that reads its inputs from fixed arrays and writes its outputs to fixed arrays.

    Args:
        session: onnxruntime's session.
        inputs: all that its graph takes, C-contiguous.
        places: where its outputs go, C-contiguous; where there is None, every run gives an array of its own.
    """

    def __init__(self, session: Any, inputs: Arrays, places: Places) -> None:
        self.session = session
        self._held = dict(inputs), dict(places)  # onnxruntime has their addresses only
        self._binding = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, place in places.items():
            if place is not None:
                self._binding.bind_output(name, "cpu", 0, place.dtype.type, place.shape, place.ctypes.data)
            else:
                self._binding.bind_output(name)
        self._fixed: Arrays = {name: place for name, place in places.items() if place is not None}
        self._open = [(i, name) for i, (name, place) in enumerate(places.items()) if place is None]

    def run(self) -> Arrays:
        """Returns the outputs by name: the arrays of their places, and new ones where there is none."""
        for _, name in self._open:
            self._binding.bind_output(name)  # else the array of the run before would be written to
        self.session.run_with_iobinding(self._binding)
        outputs = self._fixed.copy()
        if self._open:
            found = self._binding.get_outputs()
            outputs |= {name: found[i].numpy() for i, name in self._open}
        return outputs


class Copied:
    """An engine that runs on fixed arrays, and whose outputs are copied to their places.

    Args:
        engine: the engine.
        inputs: the model's own inputs.
        places: where the model's outputs go, or None where every run gives an array of its own.
    """

    def __init__(self, engine: Engine, inputs: Arrays, places: Places) -> None:
        self._engine, self._inputs, self._places = engine, inputs, places

    def run(self, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs and the path taken.

        Raises:
            RuntimeFailure: an output is of other sizes than its place.
        """
        outputs, taken = self._engine.run(self._inputs, seed, asked)
        for name, place in self._places.items():
            if place is not None:
                if outputs[name].shape != place.shape:
                    raise RuntimeFailure(
                        f"output {name!r}: expected the shape {place.shape} that the manifest says, got "
                        f"{outputs[name].shape}; take Session.run"
                    )
                np.copyto(place, outputs[name])
                outputs[name] = place
        return outputs, taken
