"""A runtime of another language as a session: a program that is asked in lines of JSON, and answers in such lines.

README.md in this folder says what an agent is asked. Needs numpy and rr_runtime only.
"""

from __future__ import annotations

import base64
import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rr_runtime import BundleError, ProviderError, Result, RuntimeFailure
from rr_runtime.bundle import open_bundle
from rr_runtime.manifest import Manifest

CLASSES: Mapping[str, type[Exception]] = {
    "TypeError": TypeError,
    "ValueError": ValueError,
    "RuntimeFailure": RuntimeFailure,
    "BundleError": BundleError,
    "ProviderError": ProviderError,
}


class AgentError(BaseException):
    """The agent ended, or answered something that is no answer: nobody may take that for a refusal."""


@dataclass(frozen=True)
class Averaged:
    """What an agent says of an ensemble, named as :class:`rr_runtime.Ensemble` names it.

    Attributes:
        seeds: int64 [runs], or None.
        paths: int64 [runs, S], or None.
        mean: float64 by name.
        std: float64 by name.
    """

    seeds: NDArray[np.int64] | None
    paths: NDArray[np.int64] | None
    mean: dict[str, NDArray[Any]]
    std: dict[str, NDArray[Any]]


class Agent:
    """The program of one agent, while it runs.

    Args:
        command: what starts it.
        folder: in which it is started.
        limit: how many seconds it may take for an answer.
    """

    def __init__(self, command: Sequence[str], folder: Path, *, limit: float = 120.0) -> None:
        self._limit = limit
        self._process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """The program is told that nothing comes any more, and waited for."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._ended()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        """Every line is there to be taken; an empty one is the end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _ended(self) -> int:
        """The exit code of the program, which has ten seconds to end."""
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Returns the answer.

        Raises:
            AgentError: there is none.
            Exception: of the class that the answer names, with its message.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=self._limit)
        except queue.Empty:
            self._process.kill()
            raise AgentError(f"agent: expected an answer within {self._limit:g} s, got none; it was ended") from None
        if not line:
            code = self._ended()
            raise AgentError(f"agent: expected an answer, got its end with {code}; look at its errors")
        try:
            answer = json.loads(line)
        except ValueError:  # that would be taken for a refusal
            raise AgentError(f"agent: expected JSON, got {line[:80]!r}; look at what it prints") from None
        if not isinstance(answer, dict):
            raise AgentError(f"agent: expected an object, got {line[:80]!r}; look at what it prints")
        if "error" in answer:
            told = answer["error"]
            raise CLASSES[told["class"]](told["message"])
        return answer

    def versions(self) -> dict[str, str]:
        """Returns what runs there."""
        return dict(self.ask(do="versions")["versions"])


class AgentSession:
    """The part of :class:`rr_runtime.Session` that cases ask of, answered by an agent.

    Args:
        agent: the agent; it has one session at a time.
        path: the bundle's folder or file.
        provider: the short name of the execution provider.
        target: of the bundle.
        refuse_faults: False: what the runtime knows to be computed wrongly there is opened all the same.
    """

    def __init__(
        self, agent: Agent, path: Path, *, provider: str, target: str | None = None, refuse_faults: bool = True
    ) -> None:
        self._agent, self._path = agent, path
        agent.ask(do="open", bundle=str(path), provider=provider, target=target, refuse_faults=refuse_faults)

    @cached_property
    def manifest(self) -> Manifest:
        """What the bundle says about itself, as Python reads it: whether it is sound is the agent's to say before."""
        return open_bundle(self._path).manifest

    def run(self, inputs: Mapping[str, NDArray[Any]], **asked: Any) -> Result:
        """Returns one run; the arguments are those of ``Session.run``."""
        told = self._agent.ask(do="run", inputs=_all_out(inputs), **_asked(asked))
        seed = None if told["seed"] is None else int(told["seed"])
        return Result(_all_in(told["outputs"]), _integers(told["path"]), seed)

    def ensemble(self, inputs: Mapping[str, NDArray[Any]], *, runs: int, **asked: Any) -> Averaged:
        """Returns an ensemble; the arguments are those of ``Session.ensemble``."""
        told = self._agent.ask(do="ensemble", inputs=_all_out(inputs), runs=runs, **_asked(asked))
        seeds = None if told["seeds"] is None else np.array([int(seed) for seed in told["seeds"]], np.int64)
        return Averaged(seeds, _integers(told["paths"]), _all_in(told["mean"]), _all_in(told["std"]))

    def check(self) -> None:
        """The agent compares the bundle's recorded runs with its own."""
        self._agent.ask(do="check")

    def nodes(self) -> dict[str, int]:
        """Returns how many nodes ran on each provider, by ONNX Runtime's name; empty where the agent cannot tell."""
        return dict(self._agent.ask(do="nodes")["nodes"] or {})


def to_wire(array: NDArray[Any]) -> dict[str, Any]:
    """Returns an array as an agent is given it: little-endian bytes, row by row, in base64."""
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "data": base64.b64encode(content).decode("ascii"),
    }


def from_wire(told: Mapping[str, Any]) -> NDArray[Any]:
    """Returns an array that an agent gives.

    Raises:
        ValueError: more or fewer bytes than its dtype and shape have, or characters that are not base64.
    """
    dtype = np.dtype(told["dtype"])
    content = base64.b64decode(told["data"], validate=True)
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype).reshape(told["shape"])


def _all_out(inputs: Any) -> Any:
    """Inputs by name; what is no mapping of arrays goes as it is, to be refused there."""
    if not isinstance(inputs, Mapping):
        return inputs
    return {name: to_wire(value) if isinstance(value, np.ndarray) else value for name, value in inputs.items()}


def _all_in(told: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: from_wire(array) for name, array in told.items()}


def _asked(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What beside the inputs is asked for: seeds as texts, as JSON's numbers are float64 in many languages."""
    return {name: str(value) if name == "seed" and type(value) is int else value for name, value in asked.items()}


def _integers(told: Any) -> NDArray[np.int64] | None:
    return None if told is None else np.array(told, np.int64)
