"""What a specimen of the zoo is, and how ONNX Runtime shows that it misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

LAYERS, WIDTH = 5, 8
Path_ = tuple[int, ...]  # which layers of a stock model ran


@dataclass(frozen=True)
class Specimen:
    """One broken file.

    Attributes:
        name: of the function that makes it.
        codes: the errors and warnings that lint must report, and no others.
        made_by: the tool that broke it.
        make: writes the file into a folder and returns its path.
        where: for some codes, the node (a regular expression) and the place that a finding must name.
        shows: raises unless the file misbehaves as claimed.
        engine: that lint is told of.
    """

    name: str
    codes: frozenset[str]
    made_by: str
    make: Callable[[Path], Path]
    where: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    shows: Callable[[Path], None] | None = None
    engine: str = "onnxruntime"


class Gallery(dict[str, Specimen]):
    """Specimens by name; calling it gives the decorator that adds one."""

    def __call__(
        self,
        codes: str,
        *,
        made_by: str,
        where: Mapping[str, tuple[str, str]] | None = None,
        shows: Callable[[Path], None] | None = None,
        engine: str = "onnxruntime",
    ) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
        def add(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
            assert make.__name__ not in self
            found = frozenset(codes.split())
            self[make.__name__] = Specimen(make.__name__, found, made_by, make, where or {}, shows, engine)
            return make

        return add


def open_session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def feeds(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """Zeros for every required input, true for conditions, 3 where an axis is dynamic."""
    types = {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(int64)": np.int64,
        "tensor(bool)": np.bool_,
    }
    return {
        i.name: np.full([n if isinstance(n, int) else 3 for n in i.shape], i.type == "tensor(bool)", types[i.type])
        for i in session.get_inputs()
    }


def draw(file: Path, *, sessions: int, runs: int = 1) -> np.ndarray:
    """Returns the first output of every run, [sessions, runs, ...]; each session as if in a process of its own."""
    found = []
    for seed in range(sessions):
        onnxruntime.set_seed(1_000_003 * seed + 17)
        session = open_session(file)
        fed = feeds(session)
        found.append([session.run(None, fed)[0] for _ in range(runs)])
    return np.asarray(found)


def paths(file: Path, *, sessions: int, runs: int = 1) -> list[Path_]:
    """Which layers ran: layer i of a stock model adds 2^i to zeros."""
    sums = draw(file, sessions=sessions, runs=runs)
    codes = np.rint(sums.reshape(sessions * runs, -1)[:, 0].astype(np.float64)).astype(int)
    return [tuple(int(code >> i & 1) for i in range(LAYERS)) for code in codes]


def first_runs_agree(file: Path) -> None:
    """Independent layers with p = 1/2 would all agree in 6 % of first runs."""
    found = paths(file, sessions=200)
    assert np.mean([len(set(path)) == 1 for path in found]) > 0.95
    assert len(set(found)) >= 2


def always_agrees(file: Path) -> None:
    """Never one layer without the others, also in later runs."""
    assert set(paths(file, sessions=2, runs=100)) == {(0,) * LAYERS, (1,) * LAYERS}


def is_frozen(file: Path) -> None:
    """One path in 200 runs of 50 sessions; independent layers with p = 1/2 would take about 32."""
    assert len(set(paths(file, sessions=50, runs=4))) == 1


def is_inverted(file: Path) -> None:
    """Layers that should run with probability .9 run with probability .1."""
    assert np.mean(paths(file, sessions=1, runs=400)) == pytest.approx(0.1, abs=0.06)


def repeats(file: Path) -> None:
    """Sessions with other seeds give the same numbers; runs of one session differ."""
    found = draw(file, sessions=5, runs=3)
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert not np.array_equal(found[0, 0], found[0, 1])


def is_constant(file: Path) -> None:
    """Every run of every session gives the same."""
    found = draw(file, sessions=20, runs=3)
    assert np.array_equal(found, np.broadcast_to(found[0, 0], found.shape))


def is_random(file: Path) -> None:
    """Two runs on the same input differ."""
    found = draw(file, sessions=1, runs=8)[0]
    assert any(not np.array_equal(found[0], other) for other in found[1:])


def is_loaded(file: Path) -> None:
    """ONNX Runtime loads it, so nothing else tells."""
    open_session(file)


def is_refused(message: str) -> Callable[[Path], None]:
    """ONNX Runtime does not load it."""

    def shows(file: Path) -> None:
        with pytest.raises(Exception, match=message):
            open_session(file)

    return shows
