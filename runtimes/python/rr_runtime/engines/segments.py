"""Walks the path: every stretch between sites and every branch is a static file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime.bundle import Bundle
from rr_runtime.draws import draws_as_floats
from rr_runtime.engines.again import Copied
from rr_runtime.engines.engine import ELEMENTS, Arrays, Opening, Places, Rerun, Taken, compare, fixed
from rr_runtime.errors import BundleError
from rr_runtime.routes import Router
from rr_runtime.segment_program import Run, Step, walk
from rr_runtime.target import Target


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

    def __init__(self, bundle: Bundle, target: Target, opening: Opening) -> None:
        self.routed = bool(bundle.manifest.sites)
        self._program = target.program
        self._router = Router(bundle.manifest.sites)
        self._count = len(bundle.manifest.sites)
        self._outputs = [tensor.name for tensor in bundle.manifest.outputs]
        self._sessions: dict[str, Any] = {}
        for step in (step for step, _ in walk(target.program) if isinstance(step, Run)):
            if step.model not in self._sessions:
                self._sessions[step.model] = opening.open(bundle.path / step.model, spinning=False)
            _check(str(bundle.path / step.model), step, self._sessions[step.model])
        bundle.watched.check()
        self._check_types(bundle, target)

    def run(self, feeds: Arrays, seed: int | None, asked: NDArray[np.int64] | None) -> Taken:
        """Returns the outputs and the path taken."""
        values: dict[str, NDArray[Any]] = dict(feeds)
        taken = None
        if seed is not None:
            wanted = None if asked is None else asked.tolist()
            taken = self._router.taken(self._router.latent(draws_as_floats(seed, self._count), wanted))
        self._execute(self._program, values, taken)
        outputs: dict[str, NDArray[Any]] = {}
        handed = list(feeds.values())  # what a skip passes on must not be the caller's own array
        for name in self._outputs:
            value = values[name]
            outputs[name] = value.copy() if any(np.shares_memory(value, other) for other in handed) else value
            handed.append(outputs[name])
        return outputs, None if taken is None else np.array(taken, np.int64)

    def prepare(self, inputs: Arrays, places: Places) -> Rerun:
        """Returns what runs on these arrays: what passes between the files is as large as the path makes it."""
        return Copied(self, inputs, places)

    def _execute(self, steps: Sequence[Step], values: dict[str, NDArray[Any]], taken: Sequence[int] | None) -> None:
        """The values of the steps on this path are made.

        A loop of its own, as it is in every run: `segment_program.walk` costs up to .5 us more per step.
        """
        for step in steps:
            if isinstance(step, Run):
                made = self._sessions[step.model].run(list(step.outputs), {name: values[name] for name in step.inputs})
                values.update(zip(step.outputs, map(np.asarray, made), strict=True))
            else:
                assert taken is not None
                if taken[step.site] < 0:
                    raise BundleError(
                        f"program: expected a choice at a site that the path {taken} reaches, got site "
                        f"{step.site}; package the bundle again"
                    )
                branch = step.branches[taken[step.site]]
                self._execute(branch.steps, values, taken)
                values.update(zip(step.outputs, [values[name] for name in branch.results], strict=True))

    def _check_types(self, bundle: Bundle, target: Target) -> None:
        """Raises a BundleError where a value changes its type between files, or is not what the manifest says."""
        declared = {t.name: t for t in fixed([*bundle.manifest.inputs, *bundle.manifest.outputs], target.sizes)}
        found: dict[str, str] = {}

        def see(where: str, node: Any) -> None:
            if node.name in declared:
                compare(where, "value", [declared[node.name]], [node])
            if found.setdefault(node.name, node.type) != node.type:
                raise BundleError(
                    f"{where}: value {node.name!r}: expected {found[node.name]} as in another file, got {node.type}; "
                    "package the bundle again"
                )

        for step, _ in walk(target.program):
            if isinstance(step, Run):
                session, where = self._sessions[step.model], str(bundle.path / step.model)
                for node in (*session.get_inputs(), *session.get_outputs()):
                    see(where, node)
                continue
            for name, result in ((n, r) for b in step.branches for n, r in zip(step.outputs, b.results, strict=True)):
                kind = found.get(result) or _kind(declared[result].dtype)
                wanted = found.setdefault(name, _kind(declared[name].dtype) if name in declared else kind)
                if kind != wanted:
                    raise BundleError(
                        f"{bundle.path}: target {target.name!r}: value {name!r}: expected {wanted} of every "
                        f"branch, got {kind}; package the bundle again"
                    )


def _kind(dtype: str) -> str:
    """Returns onnxruntime's word for tensors of a dtype."""
    return f"tensor({ELEMENTS.get(dtype, dtype)})"


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
