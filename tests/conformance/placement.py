"""Which nodes a provider has, or ran: what tells a provider that works from one that leaves all to the CPU.

From onnxruntime's own record of the assignment where a version has it (nodes of branches included), else from the
profiler, which lists the nodes that were executed. Needs onnxruntime only.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime

ASSIGNMENT = "session.record_ep_graph_assignment_info"
CPU = "CPUExecutionProvider"


class Recorder:
    """Sessions made while it records, and where their nodes are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sessions: list[Any] = []

    def prepare(self, model: Any, options: onnxruntime.SessionOptions) -> bool:
        """The options make a session keep its record; returns whether that is onnxruntime's record of the assignment.

        Files in onnxruntime's own format have none.
        """
        has_record = hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info")
        if has_record and not str(model).endswith(".ort"):
            options.add_session_config_entry(ASSIGNMENT, "1")
            return True
        options.enable_profiling = True
        options.profile_file_prefix = str(self._folder / f"profile{len(self._sessions)}")
        return False

    def add(self, session: Any) -> None:
        """The session is counted, if it runs."""
        self._sessions.append(session)

    def counts(self) -> dict[str, int]:
        """Returns how many nodes each provider has (assignment) or ran (profiler), by onnxruntime's name."""
        found: Counter[str] = Counter()
        for session in self._sessions:
            if session.has_run:
                found.update(_assigned(session) if session.has_assignment else _executed(session))
        return dict(found)

    def forget(self) -> None:
        """No session is held any more."""
        self._sessions.clear()


@contextlib.contextmanager
def recording() -> Iterator[Recorder]:
    """Yields a recorder of every session that is made in the block, by whatever code."""
    original = onnxruntime.InferenceSession
    with tempfile.TemporaryDirectory(prefix="conformance.") as folder:
        recorder = Recorder(Path(folder))

        class Recorded(original):  # type: ignore[misc, valid-type]
            def __init__(self, model: Any, sess_options: Any = None, *args: Any, **kwargs: Any) -> None:
                options = onnxruntime.SessionOptions() if sess_options is None else sess_options
                self.has_assignment, self.has_run = recorder.prepare(model, options), False
                super().__init__(model, options, *args, **kwargs)
                recorder.add(self)

            def run(self, *args: Any, **kwargs: Any) -> Any:
                self.has_run = True
                return super().run(*args, **kwargs)

        onnxruntime.InferenceSession = Recorded
        try:
            yield recorder
        finally:
            onnxruntime.InferenceSession = original
            recorder.forget()


def _assigned(session: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for subgraph in session.get_provider_graph_assignment_info():
        found[subgraph.ep_name] += len(subgraph.get_nodes())
    return found


def _executed(session: Any) -> Counter[str]:
    file = Path(session.end_profiling())
    nodes = {}
    for event in json.loads(file.read_text(encoding="utf-8")):
        provider = event.get("args", {}).get("provider")
        if event.get("cat") == "Node" and provider and event["name"].endswith("_kernel_time"):
            nodes[event["name"]] = provider
    return Counter(nodes.values())
