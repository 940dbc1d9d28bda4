"""A run that is prepared for a loop: its inputs and outputs are arrays that stay, and nothing is checked twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from rr_runtime.asked import AskedCheck, Path
from rr_runtime.engines.engine import Rerun
from rr_runtime.errors import RuntimeFailure
from rr_runtime.one_line import cut_to_line, describe_arrays
from rr_runtime.results import Result


class PreparedRun:
    """Runs on arrays that stay where they are, made by `Session.prepare`; one run at a time.

    Write the inputs into `inputs`, then `run`. Each thread needs one of its own; a run while another one runs is
    refused.
    """

    def __init__(
        self,
        rerun: Rerun,
        asked: AskedCheck,
        failure: Callable[[Exception], RuntimeFailure],
        *,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, NDArray[Any]],
    ) -> None:
        self._rerun, self._asked, self._failure = rerun, asked, failure
        # views own no memory: they cannot be resized away from what is read and written
        self._inputs = MappingProxyType({name: array.view() for name, array in inputs.items()})
        self._outputs = MappingProxyType({name: array.view() for name, array in outputs.items()})
        self._free = threading.Lock()

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The arrays that every run reads, by name; zeros at first. They are filled, never replaced."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """The arrays that every run writes, by name; without outputs whose sizes are known after a run only."""
        return self._outputs

    def run(
        self,
        *,
        seed: int | None = None,
        path: Path | None = None,
        profile: str | None = None,
        budget: float | None = None,
        decision: str | None = None,
    ) -> Result:
        """Returns one run on what `inputs` hold now, equal to `Session.run` on them.

        The outputs of the result are those of `outputs`: the next run overwrites them; copy what you keep. Those that
        are not among these, the path and the seed are the run's own.

        Args:
            seed: as for `Session.run`.
            path: as for `Session.run`.
            profile: as for `Session.run`.
            budget: as for `Session.run`.
            decision: as for `Session.run`.

        Raises:
            TypeError: seed or path is of a wrong type.
            ValueError: seed or path is out of range, or the file takes none.
            RuntimeFailure: onnxruntime failed, or another thread is in a run of this.
        """
        number: int | None = 0
        if decision is None:
            number, routes = self._asked.check(seed, path, profile, budget)
        else:
            routes = self._asked.decide(decision, profile, budget, seed=seed, path=path)
        if not self._free.acquire(blocking=False):
            raise RuntimeFailure(
                "prepared run: expected one run at a time, got a second one while it runs; prepare one for each thread"
            )
        try:
            outputs, taken = self._rerun.run(number, routes)
        except (ValueError, RuntimeFailure):  # said in words already
            raise
        except Exception as error:  # onnxruntime's own exceptions have no common base
            raise self._failure(error) from error
        finally:
            self._free.release()
        return Result(outputs, taken, number if decision is None else None)

    def __repr__(self) -> str:
        """Shows names and sizes of the inputs."""
        return cut_to_line(f"PreparedRun({describe_arrays(self.inputs)})")
