"""Prepared runs: equal to those of the session on all paths, seeds and sizes; refused where they would be wrong."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from rr_runtime import PreparedRun, Result, RuntimeFailure, Session

from . import handmade
from .handmade import INTERFACES, ROUTED, UNROUTED, assert_outputs


def prepared(session: Session, batch: int = 2) -> PreparedRun:
    return session.prepare({"x": (batch, 4), "offset": (batch,)})


def fill(step: PreparedRun, inputs: handmade.Arrays) -> None:
    for name, array in inputs.items():
        step.inputs[name][...] = array


def assert_same(found: Result, expected: Result) -> None:
    assert list(found.outputs) == list(expected.outputs)
    for name, array in expected.outputs.items():
        np.testing.assert_array_equal(found.outputs[name], array)
        assert found.outputs[name].dtype == array.dtype
    assert (found.path is None) == (expected.path is None)
    if found.path is not None and expected.path is not None:
        assert found.path.tolist() == expected.path.tolist() and found.path.dtype == np.int64


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("interface", ROUTED)
def test_paths_and_seeds_give_what_the_session_gives(sessions: dict[str, Session], interface: str, batch: int) -> None:
    session, inputs = sessions[interface], handmade.example(batch)
    step = prepared(session, batch)
    fill(step, inputs)
    for seed in range(30):
        assert_same(step.run(seed=seed), session.run(inputs, seed=seed))
    for path in handmade.paths():
        assert_same(step.run(path=path, seed=3), session.run(inputs, path=path, seed=3))
        found = step.run(path=path)
        assert found.path is not None and found.path.tolist() == path
        assert_outputs(found.outputs, handmade.forward(inputs, path))


@pytest.mark.parametrize("interface", ROUTED)
def test_fresh_seeds_are_told_and_repeat(sessions: dict[str, Session], interface: str) -> None:
    step = prepared(sessions[interface])
    results = [step.run() for _ in range(50)]
    assert len({result.seed for result in results}) == 50
    for result in results:
        again = step.run(seed=result.seed)
        assert result.path is not None and again.path is not None
        assert again.path.tolist() == result.path.tolist()  # a path is a run's own


@pytest.mark.parametrize("interface", INTERFACES)
def test_every_run_reads_the_inputs_and_writes_the_outputs(sessions: dict[str, Session], interface: str) -> None:
    step = prepared(sessions[interface])
    asked: dict[str, Any] = {} if interface in UNROUTED else {"path": [0, 0, 0]}
    assert list(step.inputs) == ["x", "offset"] and list(step.outputs) == ["y", "large", "count"]
    assert not any(array.any() for array in step.inputs.values())
    for number in (1, 2, 5):
        step.inputs["x"][...] = np.arange(1, 9).reshape(2, 4) * number
        result = step.run(**asked)
        for name, array in result.outputs.items():
            assert np.shares_memory(array, step.outputs[name])
        if interface != "standalone":
            assert (step.outputs["y"] == 2 * step.inputs["x"]).all()
        else:
            assert handmade.path_of(step.outputs["y"], dict(step.inputs)) in handmade.paths()


def test_standalone_draws_anew(sessions: dict[str, Session]) -> None:
    step = prepared(sessions["standalone"])
    fill(step, handmade.example())
    paths = {tuple(handmade.path_of(step.run().outputs["y"], handmade.example())) for _ in range(60)}
    assert len(paths) > 1  # all on one path has a probability below 1e-32


def test_the_arrays_stay_where_they_are(explicit: Session) -> None:
    step = prepared(explicit)
    with pytest.raises(TypeError):
        step.inputs["x"] = np.ones((2, 4), np.float32)  # type: ignore[index]
    with pytest.raises(ValueError, match="does not own its data"):
        step.inputs["x"].resize((100, 4), refcheck=False)
    with pytest.raises(ValueError, match="does not own its data"):
        step.outputs["y"].resize((100, 4), refcheck=False)
    assert repr(step) == "PreparedRun(x: float32 [2, 4], offset: int64 [2])"


@pytest.mark.parametrize(
    ("shapes", "error", "message"),
    [
        ([(2, 4), (2,)], TypeError, r"^shapes: expected a mapping of names to shapes, got list; pass a dict$"),
        ({"x": (2, 4)}, ValueError, r"^input 'offset': expected .*, got 'x'; pass the missing offset$"),
        ({"x": (2, 4), "offset": (2,), "z": ()}, ValueError, r"^input 'z': expected only .*, got an unknown name"),
        ({"x": (2, 4), "offset": 2}, TypeError, r"^input 'offset': expected a shape of integers, got 2; pass a tuple"),
        ({"x": (2, 4), "offset": "2"}, TypeError, r"^input 'offset': expected a shape of integers, got '2'; pass"),
        ({"x": (2.0, 4), "offset": (2,)}, TypeError, r"^input 'x': expected a shape of integers, got \(2.0, 4\)"),
        ({"x": (True, 4), "offset": (1,)}, TypeError, r"^input 'x': expected a shape of integers, got \(True, 4\)"),
        ({"x": (-1, 4), "offset": (2,)}, ValueError, r"^input 'x': expected sizes >= 0, got \(-1, 4\); pass"),
        ({"x": (2, 5), "offset": (2,)}, ValueError, r"^input 'x': expected size 4 on axis 1 of \[batch, 4\], got 5"),
        ({"x": (2,), "offset": (2,)}, ValueError, r"^input 'x': expected rank 2, \[batch, 4\], got shape \(2,\)"),
        ({"x": (2, 4), "offset": (3,)}, ValueError, r"^input 'offset': expected batch = 2 on axis 0 .*, got 3"),
    ],
)
def test_wrong_shapes_are_named(explicit: Session, shapes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        explicit.prepare(shapes)


def test_sizes_may_be_of_any_integer_type(explicit: Session) -> None:
    step = explicit.prepare({"offset": np.array([2]), "x": [np.int32(2), 4]})  # type: ignore[dict-item]
    assert {name: array.shape for name, array in step.inputs.items()} == {"x": (2, 4), "offset": (2,)}


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"seed": -1}, ValueError, r"^seed: expected 0 <= seed"),
        ({"seed": 1.0}, TypeError, r"^seed: expected an integer, got float"),
        ({"path": [0]}, ValueError, r"^path: expected 3 integers"),
        ({"path": [0, 0, True]}, TypeError, r"^path\[2\], site 'head': expected an integer, got bool"),
        ({"path": [3, 0, 0]}, ValueError, r"^path\[0\], site 'outer': expected -1 \(draw\) or 0..2, got 3"),
    ],
)
def test_wrong_seeds_and_paths_are_named(
    explicit: Session, asked: dict[str, Any], error: type[Exception], message: str
) -> None:
    step = prepared(explicit)
    with pytest.raises(error, match=message):
        step.run(**asked)
    assert step.run(seed=7).seed == 7


@pytest.mark.parametrize("interface", UNROUTED)
def test_seeds_are_refused_where_the_file_takes_none(sessions: dict[str, Session], interface: str) -> None:
    with pytest.raises(ValueError, match=r"^seed: expected none for "):
        prepared(sessions[interface]).run(seed=7)


def test_a_second_run_while_one_runs_is_refused(explicit: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    step, inside, go = prepared(explicit), threading.Event(), threading.Event()
    run = step._rerun.run

    def slow(*arguments: Any) -> Any:
        inside.set()
        go.wait(10)
        return run(*arguments)

    monkeypatch.setattr(step._rerun, "run", slow)
    other = threading.Thread(target=step.run)
    other.start()
    inside.wait(10)
    with pytest.raises(RuntimeFailure, match=r"^prepared run: expected one run at a time, .*; prepare one for"):
        step.run()
    go.set()
    other.join()
    assert step.run(seed=7).seed == 7


def test_threads_with_one_each_give_what_one_gives(explicit: Session) -> None:
    found: dict[int, list[list[int]]] = {}

    def work(number: int) -> None:
        step, inputs = prepared(explicit, number + 1), handmade.example(number + 1)
        fill(step, inputs)
        found[number] = [handmade.path_of(step.run(seed=seed).outputs["y"], inputs) for seed in range(100)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [handmade.reported(handmade.routes(seed)) for seed in range(100)]
    assert [found[number] for number in range(6)] == [expected] * 6


def tiled(file: Path, *, size: str) -> Path:
    """A file whose output has as many elements as its input, or twice as many, by its path; the size is called so."""
    made = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["" : 20]>
        varying (float[n] x, float[1] rr_draws, int64[1] rr_path) => (float[{size}] y, int64[1] rr_path_taken) <
            float half = {{0.5}}, int64[1] one = {{1}}, int64[1] none = {{0}}
        > {{
            up = GreaterOrEqual(rr_draws, half)
            drawn = Cast<to: int = 7>(up)
            free = Less(rr_path, none)
            rr_path_taken = Where(free, drawn, rr_path)
            times = Add(rr_path_taken, one)
            y = Tile(x, times)
        }}""")
    content = handmade.manifest("host") | {
        "sites": [{**handmade.SITES[1], "calls": [[]]}],
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["n"]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [size]}],
    }
    made.metadata_props.add(key="rr.manifest", value=json.dumps(content))
    onnx.save_model(made, file)
    return file


def test_an_output_whose_size_depends_on_the_path_is_a_runs_own(tmp_path: Path) -> None:
    session = Session(tiled(tmp_path / "varying.onnx", size="m"))
    step = session.prepare({"x": (2,)})
    step.inputs["x"][...] = [1, 2]
    assert dict(step.outputs) == {}
    kept = [(step.run(path=[route]).outputs["y"], route) for route in (0, 1, 1, 0)]
    step.inputs["x"][...] = 0
    step.run(path=[0])
    for found, route in kept:
        assert found.tolist() == [1, 2] * (route + 1)


def test_sabotage_an_output_of_another_size_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    session = Session(tiled(tmp_path / "varying.onnx", size="n"))
    step = session.prepare({"x": (2,)})
    step.inputs["x"][...] = [1, 2]
    assert step.run(path=[0]).outputs["y"].tolist() == [1, 2]
    with pytest.raises(RuntimeFailure, match=r"varying.onnx: expected a run on cpu, got: .*shape"):
        step.run(path=[1])
    assert step.run(path=[0]).outputs["y"].tolist() == [1, 2]


def test_bug_its_arrays_cannot_be_exchanged(explicit: Session) -> None:
    step = prepared(explicit)
    for name in ("inputs", "outputs"):
        with pytest.raises(AttributeError):
            setattr(step, name, handmade.example())
