"""Walks the path: every stretch between sites and every branch is a static file of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.bundle import Bundle
from rr_runtime.draws import draws
from rr_runtime.engines.engine import Arrays, Opening, Taken
from rr_runtime.errors import BundleError
from rr_runtime.routes import Router
from rr_runtime.targets import Run, Step, Target


class Segments:
    """Static files and the program that says which of them a path needs.

    Args:
        bundle: the bundle.
        target: a target of form "segments".
        opening: provider and options. Threads of many sessions would wait actively for each other, so these do not,
            unless the caller gives session options.

    Raises:
        BundleError: a file has other inputs or outputs than the program says.
        ProviderError: the provider does not work.
    """

    routed = True

    def __init__(self, bundle: Bundle, target: Target, opening: Opening) -> None:
        self.routed = bool(bundle.manifest.sites)
        self._program = target.program
        self._router = Router(bundle.manifest.sites)
        self._count = len(bundle.manifest.sites)
        self._outputs = [tensor.name for tensor in bundle.manifest.outputs]
        self._sessions: dict[str, Any] = {}
        for step in _runs(target.program):
            if step.model not in self._sessions:
                self._sessions[step.model] = opening.open(bundle.path / step.model, spinning=False)
            _check(str(bundle.path / step.model), step, self._sessions[step.model])

    def run(self, feeds: Arrays, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs and the path taken."""
        values: dict[str, NDArray[Any]] = dict(feeds)
        taken = None
        if seed is not None and asked is not None:
            taken = self._router.taken(self._router.latent(draws(seed, self._count), asked))
        self._walk(self._program, values, taken)
        outputs: dict[str, NDArray[Any]] = {}
        handed = list(feeds.values())  # what a skip passes on must not be the caller's own array
        for name in self._outputs:
            value = values[name]
            outputs[name] = value.copy() if any(np.shares_memory(value, other) for other in handed) else value
            handed.append(outputs[name])
        return outputs, taken

    def _walk(self, steps: Sequence[Step], values: dict[str, NDArray[Any]], taken: NDArray[np.int64] | None) -> None:
        for step in steps:
            if isinstance(step, Run):
                made = self._sessions[step.model].run(list(step.outputs), {name: values[name] for name in step.inputs})
                values.update(zip(step.outputs, map(np.asarray, made), strict=True))
            else:
                assert taken is not None
                branch = step.branches[int(taken[step.site])]
                self._walk(branch.steps, values, taken)
                values.update(zip(step.outputs, [values[name] for name in branch.results], strict=True))


def _runs(steps: Sequence[Step]) -> Iterable[Run]:
    """Yields every step that runs a file, in every branch."""
    for step in steps:
        if isinstance(step, Run):
            yield step
        else:
            for branch in step.branches:
                yield from _runs(branch.steps)


def _check(where: str, step: Run, session: Any) -> None:
    for side, names, found in (
        ("input", step.inputs, session.get_inputs()),
        ("output", step.outputs, session.get_outputs()),
    ):
        if {node.name for node in found} != set(names):
            raise BundleError(
                f"{where}: expected the {side}s {', '.join(names)} of its program, "
                f"got {', '.join(node.name for node in found)}; package the bundle again"
            )
