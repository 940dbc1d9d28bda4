"""What is evaluated: a session, a bundle or an eager model, each forced to paths alike."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rr_export.bundle.bundle import Bundle
from rr_export.bundle.file_names import MANIFEST, MODEL, target_files
from rr_export.bundle.manifest import read_plan
from rr_export.laws.plan import Plan
from rr_export.laws.profile import Profile
from rr_export.lowering.deciding_slice import Path_
from rr_export.parity.model_file_digest import model_file_digest
from rr_export.quality.judge import Inputs
from rr_runtime import Session
from rr_runtime.bundle import bundle_folder
from rr_runtime.target import DEFAULT


class Evaluated(Protocol):
    """What takes paths.

    Attributes:
        plan: its sites.
        profiles: other laws over them, by name.
    """

    plan: Plan
    profiles: Mapping[str, Profile]

    def outputs(self, path: Path_, inputs: Inputs) -> Any:
        """Returns the outputs by name when it is forced to ``path``."""

    def digest(self) -> str:
        """Returns what tells it from others."""

    def opener(self) -> Callable[[], Evaluated]:
        """Returns what opens it in another process; cloudpickle takes it."""


class SessionRuns:
    """A session of the runtime, as what takes paths.

    Raises:
        ValueError: the file takes no path.
    """

    def __init__(self, session: Session) -> None:
        if session.sites and session.manifest.interface == "standalone":
            raise ValueError(
                "subject: expected a file that takes a path, got one of interface 'standalone'; export it with "
                "interface='explicit'"
            )
        self._session = session
        self.plan = read_plan({"sites": [asdict(site) for site in session.sites]})
        self.profiles: Mapping[str, Profile] = {
            name: Profile(read_plan({"sites": [asdict(site) for site in told.sites]}))
            if told.path is None
            else Profile(path=told.path)
            for name, told in session.profiles.items()
        }

    def outputs(self, path: Path_, inputs: Inputs) -> Any:
        """Returns the outputs by name when the file is forced to ``path``."""
        if not self.plan.sites:
            return self._session.run(inputs).outputs
        result = self._session.run(inputs, path=path)
        _check_taken(path, result.path)
        return result.outputs

    def digest(self) -> str:
        """Returns the hashes of the files that run, and where."""
        place, target = bundle_folder(self._session.opened_with["path"]), self._session.target
        files = [place]
        if place.is_dir():
            told = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
            names = [MODEL] if target == DEFAULT else sorted(target_files(told["targets"][target]))
            files = [place / name for name in names if not name.endswith(".config")]
        return f"{target} on {self._session.provider}, {'+'.join(map(model_file_digest, files))}"

    def opener(self) -> Callable[[], Evaluated]:
        """Returns what opens the same file in the same way.

        Raises:
            ValueError: it was opened with options that no other process can be given.
        """
        given = dict(self._session.opened_with)
        if given["session_options"] is not None:
            raise ValueError(
                "jobs: expected 1 for a session with session_options, which no other process can be given, got more; "
                "pass the bundle's folder"
            )
        return partial(_open_session, given | {"path": os.path.abspath(given["path"])})


class EagerRuns:
    """An eager model, as what takes paths.

    Args:
        model: the model; its inputs are keyword arguments of its ``forward``.
        inputs: those of a batch, with which it is traced for its plan.

    Raises:
        ValueError: the model is in training mode.
    """

    def __init__(self, model: Any, inputs: Inputs) -> None:
        from rr_export.wrap import plan_of

        training = [name or "the model itself" for name, module in model.named_modules() if module.training]
        if training:
            raise ValueError(
                f"subject: expected evaluation mode, got training mode in {training[0]}; call model.eval()"
            )
        self._model, self._inputs = model, dict(inputs)
        self.plan = plan_of(model, (), self._arguments(inputs))
        self.profiles: Mapping[str, Profile] = {}

    def outputs(self, path: Path_, inputs: Inputs) -> Any:
        """Returns what the model gives when forced to ``path``, under the names that an exported file has."""
        from rr_export.capture.request import bind
        from rr_export.eager.blocks import forced

        request = bind(self._model, (), self._arguments(inputs))
        with forced(self._model, list(path)) as record:
            outputs = request.outputs()
        if path:
            _check_taken(path, record.path)
        return outputs

    def digest(self) -> str:
        """Returns the digest of all that the model's modules hold, and of their sources."""
        from rr_export.parity.model_worker import model_digest

        return model_digest(self._model)

    def opener(self) -> Callable[[], Evaluated]:
        """Returns what makes it of the model."""
        return partial(EagerRuns, self._model, self._inputs)

    def _arguments(self, inputs: Inputs) -> dict[str, Any]:
        from rr_export.parity.user_data import as_tensor

        place = next((weight.device for weight in self._model.parameters()), None)
        return {n: as_tensor(v).to(place) if isinstance(v, np.ndarray) else v for n, v in inputs.items()}


@contextmanager
def opened(subject: Any, inputs: Inputs) -> Iterator[Evaluated]:
    """Yields what takes paths, of whatever a user evaluates.

    Args:
        subject: a session, a bundle, the folder or file of one, or an eager model. What is opened here computes with
            one thread: paths are what is spread over cores.
        inputs: those of a batch.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(subject, Session):
        yield SessionRuns(subject)
    elif isinstance(subject, Bundle):
        with subject.folder() as folder:
            yield SessionRuns(Session(folder, threads=1))
    elif isinstance(subject, str | os.PathLike):
        yield SessionRuns(Session(Path(subject), threads=1))
    elif _is_module(subject):
        yield EagerRuns(subject, inputs)
    else:
        raise TypeError(
            "subject: expected a session, a bundle, its folder or a torch.nn.Module, got "
            f"{type(subject).__name__}; pass one of these"
        )


def _open_session(given: dict[str, Any]) -> SessionRuns:
    return SessionRuns(Session(**given))


def _is_module(subject: Any) -> bool:
    torch = sys.modules.get("torch")  # without it nothing is a module
    return torch is not None and isinstance(subject, torch.nn.Module)


def _check_taken(path: Path_, taken: Any) -> None:
    if not np.array_equal(taken, path):
        raise ValueError(
            f"path: expected one that a run reports, got {list(path)}, on which {np.asarray(taken).tolist()} is taken; "
            "take one of plan.paths()"
        )
