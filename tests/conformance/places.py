"""Where sessions of the cases run: in this process, or behind the agent of another language's runtime."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from rr_runtime import Session, faults
from rr_runtime.manifest import Manifest
from tests.conformance.agent import Agent, AgentSession
from tests.conformance.placement import CPU, Recorder, recording


class Opened(Protocol):
    """What of a session the cases ask."""

    @property
    def manifest(self) -> Manifest:
        """What the bundle says about itself."""

    def run(self, inputs: Mapping[str, NDArray[Any]], **asked: Any) -> Any:
        """Returns one run."""

    def ensemble(self, inputs: Mapping[str, NDArray[Any]], *, runs: int, **asked: Any) -> Any:
        """Returns an ensemble."""

    def check(self) -> Any:
        """Compares the bundle's recorded runs."""


class Here:
    """Python's own runtime, in this process.

    Args:
        provider: the short name of the execution provider.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._recorder: Recorder | None = None

    def __enter__(self) -> Here:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    def versions(self) -> dict[str, str]:
        """Returns what runs here."""
        return {
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "system": platform.system(),
        }

    @contextlib.contextmanager
    def cell(self) -> Iterator[None]:
        """In the block, nodes of sessions are counted."""
        with recording() as self._recorder:
            yield

    def open(self, path: Path, target: str, *, refuse_faults: bool = True) -> Opened:
        """Returns a session on the target of a bundle.

        Args:
            path: the bundle's folder or file.
            target: its name.
            refuse_faults: False: what the runtime knows to be computed wrongly there is opened all the same.
        """
        with contextlib.nullcontext() if refuse_faults else _faults_ignored(self._provider):
            return Session(path, provider=self._provider, target=target)

    def nodes(self, session: Opened) -> dict[str, int]:
        """Returns how many nodes each provider has, of the sessions of the block, by onnxruntime's name."""
        assert self._recorder is not None
        return self._recorder.counts()


class There:
    """The runtime of another language, behind its agent.

    Args:
        provider: the short name of the execution provider.
        command: what starts the agent.
        folder: in which.
    """

    def __init__(self, provider: str, command: Sequence[str], folder: Path) -> None:
        self._provider, self._agent = provider, Agent(command, folder)

    def __enter__(self) -> There:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The agent is ended."""
        self._agent.close()

    def versions(self) -> dict[str, str]:
        """Returns what runs there."""
        return self._agent.versions()

    def cell(self) -> contextlib.AbstractContextManager[None]:
        """An agent counts by itself."""
        return contextlib.nullcontext()

    def open(self, path: Path, target: str, *, refuse_faults: bool = True) -> Opened:
        """As :meth:`Here.open`."""
        return AgentSession(self._agent, path, provider=self._provider, target=target, refuse_faults=refuse_faults)

    def nodes(self, session: Opened) -> dict[str, int]:
        """As :meth:`Here.nodes`; all are the CPU's where there is no other provider and the agent cannot count."""
        assert isinstance(session, AgentSession)
        return session.nodes() or ({CPU: 1} if self._provider == "cpu" else {})


@contextlib.contextmanager
def _faults_ignored(provider: str) -> Iterator[None]:
    """In the block the runtime refuses nothing for known faults of the provider."""
    known = faults.FAULTS.pop(provider, ())
    try:
        yield
    finally:
        faults.FAULTS[provider] = known
