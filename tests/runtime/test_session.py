"""The session: seeds, paths, ensembles, threads, and one error for each wrong argument."""

from __future__ import annotations

import json
import pickle
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest

import rr_runtime
from rr_runtime import RuntimeFailure, Session

from . import handmade
from .handmade import INTERFACES, ROUTED, UNROUTED, assert_outputs

# Runs


@pytest.mark.parametrize("interface", ROUTED)
def test_seed_gives_the_path_and_outputs_of_the_reference(sessions: dict[str, Session], interface: str) -> None:
    for seed in (*range(100), 2**31, 2**53 + 1, 2**63 - 1):
        result = sessions[interface].run(handmade.example(), seed=seed)
        assert result.seed == seed
        assert result.path is not None
        assert result.path.dtype == np.int64
        assert result.path.tolist() == handmade.reported(handmade.routes(seed))
        assert_outputs(result.outputs, handmade.forward(handmade.example(), result.path.tolist()))


@pytest.mark.parametrize("interface", ROUTED)
@pytest.mark.parametrize("path", handmade.paths(), ids=str)
def test_every_path_can_be_forced_and_fed_back(sessions: dict[str, Session], interface: str, path: list[int]) -> None:
    forced = [max(route, 0) for route in path]
    result = sessions[interface].run(handmade.example(), path=forced)
    assert result.path is not None
    assert result.path.tolist() == path
    assert_outputs(result.outputs, handmade.forward(handmade.example(), path))
    again = sessions[interface].run(handmade.example(), path=result.path)
    assert_outputs(again.outputs, result.outputs)


@pytest.mark.parametrize("interface", ROUTED)
@pytest.mark.parametrize("path", [[-1, -1, 0], [1, -1, -1], [-1, 1, -1], [-1, 0, -1], [2, -1, 1]], ids=str)
def test_seed_and_path_combine(sessions: dict[str, Session], interface: str, path: list[int]) -> None:
    for seed in range(30):
        result = sessions[interface].run(handmade.example(), seed=seed, path=path)
        assert result.path is not None
        assert result.path.tolist() == handmade.reported(handmade.routes(seed, path))


@pytest.mark.parametrize("interface", ROUTED)
def test_nothing_given_takes_a_fresh_path_that_its_seed_repeats(sessions: dict[str, Session], interface: str) -> None:
    results = [sessions[interface].run(handmade.example()) for _ in range(100)]
    assert len({result.seed for result in results}) == 100
    # All 8 paths have probability >= 1/64; fewer than 3 different ones in 100 runs: below 1e-14.
    assert len({str(result.path) for result in results}) >= 3
    for result in results[:10]:
        assert result.seed is not None
        assert result.path is not None
        again = sessions[interface].run(handmade.example(), seed=result.seed)
        assert again.path is not None
        assert again.path.tolist() == result.path.tolist()
        assert_outputs(again.outputs, result.outputs)


def test_fresh_runs_follow_the_law(explicit: Session) -> None:
    runs = 2000
    result = explicit.ensemble(handmade.example(), runs=runs)
    assert result.paths is not None
    counts = Counter(map(tuple, result.paths.tolist()))
    head = (0.5 * 0.75 + 0.5 * 0.125, 0.5 * 0.25 + 0.5 * 0.875)
    law = {(outer, -1, h): p * head[h] for outer, p in ((0, 0.25), (2, 0.5)) for h in (0, 1)}
    law |= {(1, i, h): 0.125 * (0.75, 0.25, 0.125, 0.875)[2 * i + h] for i in (0, 1) for h in (0, 1)}
    assert counts.keys() <= law.keys()
    chi2 = sum((counts[path] - runs * p) ** 2 / (runs * p) for path, p in law.items())
    assert chi2 < 41  # 7 degrees of freedom: false alarms below 1e-6


def test_same_draws_in_explicit_and_host(sessions: dict[str, Session]) -> None:
    for seed in range(50):
        one, two = (sessions[interface].run(handmade.example(), seed=seed) for interface in ROUTED)
        assert one.path is not None
        assert two.path is not None
        assert one.path.tolist() == two.path.tolist()


def test_plain_file_runs(sessions: dict[str, Session]) -> None:
    result = sessions["plain"].run(handmade.example())
    assert (result.path, result.seed) == (None, None)
    assert_outputs(result.outputs, handmade.forward(handmade.example(), [], plain=True))


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_symbolic_sizes_vary(explicit: Session, batch: int) -> None:
    inputs = handmade.example(batch=batch)
    result = explicit.run(inputs, path=[1, 1, 1])
    assert_outputs(result.outputs, handmade.forward(inputs, [1, 1, 1]))


# Standalone


def test_standalone_runs_vary_and_tell_no_path(sessions: dict[str, Session]) -> None:
    inputs = handmade.example()
    results = [sessions["standalone"].run(inputs) for _ in range(100)]
    assert {(result.path, result.seed) for result in results} == {(None, None)}
    # As above: below 1e-14.
    assert len({tuple(handmade.path_of(result.outputs["y"], inputs)) for result in results}) >= 3


def first_paths(file: Path, sessions: int) -> set[tuple[int, ...]]:
    """Returns the different paths of the first runs of new sessions."""
    inputs = handmade.example()
    return {tuple(handmade.path_of(Session(file).run(inputs).outputs["y"], inputs)) for _ in range(sessions)}


@pytest.mark.parametrize("single", [True, False], ids=["file", "folder"])
def test_standalone_sessions_start_differently(bundles: dict[str, Path], single: bool) -> None:
    path = bundles["standalone"] / "model.onnx" if single else bundles["standalone"]
    # The likeliest path has probability .28; all of 24 first runs equal: below 1e-13.
    assert len(first_paths(path, 24)) > 1


def test_standalone_sessions_start_alike_without_reseeding(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime.set_seed(5)
    monkeypatch.setattr(onnxruntime, "set_seed", lambda seed: None)
    assert len(first_paths(bundles["standalone"], 5)) == 1


@pytest.mark.parametrize("interface", handmade.INTERFACES)
def test_only_standalone_sessions_set_the_seed_of_the_process(
    bundles: dict[str, Path], interface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(onnxruntime, "set_seed", seeds.append)
    for path in (bundles[interface], bundles[interface] / "model.onnx"):
        Session(path).run(handmade.example())
    assert len(set(seeds)) == (2 if interface == "standalone" else 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("interface", UNROUTED)
@pytest.mark.parametrize("given", [{"seed": 7}, {"path": [1, 0, 1]}, {"seed": 0, "path": []}], ids=str)
def test_seed_or_path_is_refused_where_the_file_takes_none(
    sessions: dict[str, Session], interface: str, given: dict[str, Any]
) -> None:
    advice = "draws by itself; export it with interface='explicit'" if interface == "standalone" else "has no sites; "
    message = rf"^{next(iter(given))}: expected none for .*, got one; a file of interface '{interface}' {advice}"
    with pytest.raises(ValueError, match=message):
        sessions[interface].run(handmade.example(), **given)


@pytest.mark.parametrize("interface", UNROUTED)
def test_ensemble_seed_is_refused_where_the_file_takes_none(sessions: dict[str, Session], interface: str) -> None:
    with pytest.raises(ValueError, match=r"^seed: expected none for "):
        sessions[interface].ensemble(handmade.example(), runs=2, seed=7)


# Ensembles


@pytest.mark.parametrize("interface", ROUTED)
@pytest.mark.parametrize("seed", [0, 2**63 - 3])
def test_ensemble_is_the_mean_and_spread_of_its_runs(sessions: dict[str, Session], interface: str, seed: int) -> None:
    inputs = handmade.example()
    result = sessions[interface].ensemble(inputs, runs=20, seed=seed)
    assert result.seeds is not None
    assert result.paths is not None
    assert result.seeds.dtype == result.paths.dtype == np.dtype(np.int64)
    assert result.paths.shape == (20, 3)
    assert result.seeds.tolist() == [(seed + i) % 2**63 for i in range(20)]
    runs = [sessions[interface].run(inputs, seed=one) for one in result.seeds.tolist()]
    assert result.paths.tolist() == [run.path.tolist() for run in runs if run.path is not None]
    assert list(result.mean) == list(result.std) == ["y", "large", "count"]
    for name in result.mean:
        stacked = np.stack([run.outputs[name] for run in runs]).astype(np.float64)
        assert result.mean[name].dtype == result.std[name].dtype == np.float64
        np.testing.assert_allclose(result.mean[name], stacked.mean(0), rtol=1e-12)
        np.testing.assert_allclose(result.std[name], stacked.std(0), rtol=1e-12, atol=1e-12)


def test_ensemble_without_a_seed_can_be_repeated(explicit: Session) -> None:
    one = explicit.ensemble(handmade.example(), runs=30)
    assert one.seeds is not None
    two = explicit.ensemble(handmade.example(), runs=30, seed=one.seeds[0])
    assert one.paths is not None
    assert two.paths is not None
    assert one.paths.tolist() == two.paths.tolist()
    np.testing.assert_array_equal(one.mean["y"], two.mean["y"])
    other = explicit.ensemble(handmade.example(), runs=30)
    assert other.seeds is not None
    assert other.seeds[0] != one.seeds[0]


def test_ensemble_of_one_run_has_no_spread(explicit: Session) -> None:
    result = explicit.ensemble(handmade.example(), runs=1, seed=3)
    assert not result.std["y"].any()
    np.testing.assert_allclose(
        result.mean["y"], handmade.forward(handmade.example(), handmade.reported(handmade.routes(3)))["y"]
    )


@pytest.mark.parametrize("interface", UNROUTED)
def test_ensemble_of_files_that_tell_no_path(sessions: dict[str, Session], interface: str) -> None:
    result = sessions[interface].ensemble(handmade.example(), runs=60)
    assert (result.paths, result.seeds) == (None, None)
    # Standalone: all 60 runs on one path has a probability below 1e-32.
    assert result.std["y"].any() == (interface == "standalone")


@pytest.mark.parametrize("runs", [0, -3])
def test_ensemble_without_runs_is_refused(explicit: Session, runs: int) -> None:
    with pytest.raises(ValueError, match=rf"^runs: expected an integer >= 1, got {runs}; pass"):
        explicit.ensemble(handmade.example(), runs=runs)


@pytest.mark.parametrize("runs", [True, 2.0, "3", None])
def test_ensemble_runs_of_other_types_are_refused(explicit: Session, runs: Any) -> None:
    with pytest.raises(TypeError, match=r"^runs: expected an integer >= 1, got \w+ .*; pass"):
        explicit.ensemble(handmade.example(), runs=runs)


def test_ensemble_checks_inputs_and_seed(explicit: Session) -> None:
    with pytest.raises(ValueError, match=r"^seed: expected 0 <= seed < 2\*\*63, got -1; "):
        explicit.ensemble(handmade.example(), runs=1, seed=-1)
    with pytest.raises(ValueError, match=r"^input 'x': expected x: float32"):
        explicit.ensemble({}, runs=1)


def test_ensemble_of_outputs_whose_shape_depends_on_the_path_is_refused(tmp_path: Path) -> None:
    made = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 20]>
        varying (float[n] x, float[1] rr_draws, int64[1] rr_path) => (float[m] y, int64[1] rr_path_taken) <
            float half = {0.5}
        > {
            up = GreaterOrEqual(rr_draws, half)
            rr_path_taken = Cast<to: int = 7>(up)
            y = Tile(x, rr_path_taken)
        }""")
    site = {**handmade.SITES[1], "calls": [[]]}
    content = handmade.manifest("host") | {
        "sites": [site],
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["n"]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": ["m"]}],
    }
    made.metadata_props.add(key="rr.manifest", value=json.dumps(content))
    onnx.save_model(made, tmp_path / "varying.onnx")
    session = Session(tmp_path / "varying.onnx")
    with pytest.raises(RuntimeFailure, match=r"output 'y': expected shape \(\d,\) in every run, got \(\d,\); take"):
        session.ensemble({"x": np.ones(2, np.float32)}, runs=20, seed=0)


def test_results_are_frozen_and_can_be_sent(explicit: Session) -> None:
    result = explicit.run(handmade.example(), seed=7)
    with pytest.raises(FrozenInstanceError):
        result.seed = 8  # type: ignore[misc]
    sent = pickle.loads(pickle.dumps(result))
    assert sent.seed == 7 and sent.path.tolist() == result.path.tolist()  # type: ignore[union-attr]
    assert replace(result, seed=8).outputs is result.outputs


@pytest.mark.parametrize("interface", ROUTED)
def test_outputs_belong_to_the_caller(sessions: dict[str, Session], interface: str) -> None:
    """What one run gave stays as it is in later runs, and changing it changes nothing there."""
    inputs = handmade.example()
    first = sessions[interface].run(inputs, path=[0, -1, 0], seed=1)
    kept = {name: array.copy() for name, array in first.outputs.items()}
    for seed in range(20):
        later = sessions[interface].run(inputs, seed=seed)
        assert later.path is not None
        assert later.path.tolist() == handmade.reported(handmade.routes(seed))
        for array in (*later.outputs.values(), later.path):
            array[...] = 0
    for name, array in first.outputs.items():
        np.testing.assert_array_equal(array, kept[name])


@pytest.mark.parametrize("interface", INTERFACES)
def test_bug_engines_add_nothing_to_what_they_are_given(sessions: dict[str, Session], interface: str) -> None:
    """`rr_runtime.tools` hand them the same dictionary again and again."""
    feeds = handmade.example()
    sessions[interface].engine.run(feeds, 7 if interface in ROUTED else None, None)
    assert list(feeds) == ["x", "offset"]


# Threads


@pytest.mark.parametrize("interface", ROUTED)
def test_many_threads_give_what_one_gives(sessions: dict[str, Session], interface: str) -> None:
    session = sessions[interface]
    inputs = [handmade.example(batch) for batch in (1, 2, 3, 4)]

    def run(seed: int) -> tuple[list[int], bytes]:
        result = session.run(inputs[seed % 4], seed=seed)
        assert result.path is not None
        return result.path.tolist(), result.outputs["y"].tobytes()

    serial = [run(seed) for seed in range(600)]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(run, range(600))) == serial


def test_threads_take_different_fresh_seeds(explicit: Session) -> None:
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: explicit.run(handmade.example()), range(300)))
    assert len({result.seed for result in results}) == 300


def test_standalone_sessions_made_in_threads_start_differently(bundles: dict[str, Path]) -> None:
    inputs = handmade.example()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: Session(bundles["standalone"], threads=1), range(24)))
    streams = [[tuple(handmade.path_of(s.run(inputs).outputs["y"], inputs)) for _ in range(30)] for s in made]
    # Two streams of 30 paths are equal with probability (sum of squares = .19)^30; 276 pairs: below 1e-18.
    assert len(set(map(tuple, streams))) == 24


# The session itself


def test_session_describes_itself(explicit: Session, bundles: dict[str, Path]) -> None:
    described = f"Session(default on cpu, sites outer[3], outer.b.inner[2], head[2]; {bundles['explicit']})"
    assert repr(explicit) == (described if len(described) <= 120 else described[:117] + "...")
    assert [site.name for site in explicit.sites] == ["outer", "outer.b.inner", "head"]
    assert [tensor.name for tensor in explicit.inputs] == ["x", "offset"]
    assert [tensor.name for tensor in explicit.outputs] == ["y", "large", "count"]
    assert explicit.manifest.interface == "explicit"
    assert explicit.provider == "cpu"


def test_threads_and_options_are_taken(bundles: dict[str, Path]) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for session in (Session(bundles["explicit"], threads=1), Session(bundles["explicit"], session_options=options)):
        assert session.run(handmade.example(), seed=7).seed == 7


@pytest.mark.parametrize(("threads", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)])
def test_wrong_threads_are_refused(bundles: dict[str, Path], threads: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^threads: expected an integer >= 1, got .*{threads}; pass"):
        Session(bundles["explicit"], threads=threads)


def test_threads_beside_options_are_refused(bundles: dict[str, Path]) -> None:
    with pytest.raises(
        ValueError, match=r"^threads: expected None beside session_options, got 2; set session_options\."
    ):
        Session(bundles["explicit"], threads=2, session_options=onnxruntime.SessionOptions())


def test_failing_run_is_a_runtime_failure(tmp_path: Path) -> None:
    made = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 20]>
        failing (float[n] x, int64[1] shape) => (float[m] y) { y = Reshape(x, shape) }""")
    content = handmade.manifest("plain") | {
        "inputs": [
            {"name": "x", "dtype": "float32", "shape": ["n"]},
            {"name": "shape", "dtype": "int64", "shape": [1]},
        ],
        "outputs": [{"name": "y", "dtype": "float32", "shape": ["m"]}],
    }
    made.metadata_props.add(key="rr.manifest", value=json.dumps(content))
    onnx.save_model(made, tmp_path / "failing.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = Session(tmp_path / "failing.onnx", session_options=options)
    message = rf"^{re.escape(str(tmp_path))}.*: expected a run on cpu, got: .*; check the values of the inputs$"
    with pytest.raises(RuntimeFailure, match=message):
        session.run({"x": [1.0, 2.0], "shape": [3]})


def test_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path(rr_runtime.__file__).parents[1] / "README.md"
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    handmade.write_bundle(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(blocks[0], str(readme), "exec"), names)
    assert names["many"].paths.shape == (100, 3)
    assert names["again"].path.tolist() == names["result"].path.tolist()


def test_a_session_says_what_opens_it_again(bundles: dict[str, Path]) -> None:
    session = Session(bundles["explicit"], threads=1, loaded_paths=3)
    again = Session(**session.opened_with)
    assert again.opened_with == session.opened_with and repr(again) == repr(session)
    assert (again.tuning, again.provider, again.target) == (session.tuning, session.provider, session.target)
    own = Session(bundles["explicit"], session_options=onnxruntime.SessionOptions())
    assert Session(**own.opened_with).tuning is None
