"""An agent on Python's own runtime: what agents of other languages are asked can be tried without any of them.

``python -m tests.conformance.python_agent``; README.md in this folder has the questions and answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import onnxruntime

import rr_runtime
from rr_runtime import BundleError, ProviderError, RuntimeFailure, Session
from tests.conformance.agent import from_wire, to_wire

KINDS = (BundleError, ProviderError, RuntimeFailure, TypeError, ValueError)  # the narrower ones first


class Answers:
    """Answers what an agent is asked."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def versions(self) -> Any:
        """Returns what runs here."""
        return {"versions": {"onnxruntime": onnxruntime.__version__, "runtime": f"python {rr_runtime.__version__}"}}

    def open(self, *, bundle: str, provider: str, target: str | None, refuse_faults: bool) -> Any:
        """One session is open, until the next one is."""
        self._session = session = Session(bundle, provider=provider, target=target)
        sites, manifest = session.sites, session.manifest
        return {
            "open": {
                "sites": [site.name for site in sites],
                "branches": [list(site.branches) for site in sites],
                "interface": manifest.interface,
                "profiles": list(session.profiles),
            }
        }

    def run(self, *, inputs: Any, **asked: Any) -> Any:
        """Returns one run."""
        assert self._session is not None
        result = self._session.run(_arrays(inputs), **_given(asked))
        path = None if result.path is None else result.path.tolist()
        seed = None if result.seed is None else str(result.seed)
        return {"seed": seed, "path": path, "outputs": {name: to_wire(array) for name, array in result.outputs.items()}}

    def ensemble(self, *, inputs: Any, **asked: Any) -> Any:
        """Returns an ensemble."""
        assert self._session is not None
        found = self._session.ensemble(_arrays(inputs), **_given(asked))
        return {
            "seeds": None if found.seeds is None else [str(seed) for seed in found.seeds.tolist()],
            "paths": None if found.paths is None else found.paths.tolist(),
            "mean": {name: to_wire(array) for name, array in found.mean.items()},
            "std": {name: to_wire(array) for name, array in found.std.items()},
        }

    def check(self) -> Any:
        """Compares the recorded runs."""
        assert self._session is not None
        self._session.check()
        return {"check": {}}

    def nodes(self) -> Any:
        """Nothing is counted."""
        return {"nodes": None}


def _arrays(inputs: Any) -> Any:
    if not isinstance(inputs, Mapping):
        return inputs
    return {name: from_wire(told) if isinstance(told, dict) else told for name, told in inputs.items()}


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A seed that is a text is a whole number."""
    return {name: int(value) if name == "seed" and isinstance(value, str) else value for name, value in asked.items()}


def main() -> None:
    """Answers until nothing comes any more."""
    answers = Answers()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(answers, request.pop("do"))(**request)
        except KINDS as error:
            name = next(kind.__name__ for kind in KINDS if isinstance(error, kind))
            answer = {"error": {"class": name, "message": str(error)}}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
