"""A metric over a law: what torch gives, path by path, weighted by what the policies multiply to."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rr_export as rr
from rr_export.cli.users_code import load_function
from rr_export.errors import SweepError
from rr_export.quality.evaluation import BERNSTEIN, EXACT, GIVEN, MOST_PATHS, STUDENT
from rr_runtime import Session
from tests import nets
from tests.quality.routed import batches, eager_values, hits, macro_f1, margin, mean_margin, routed

KEEP = {0: 0.2, 1: 0.8}


def chance(path: tuple[int, ...]) -> float:
    """The probability of a path of the classifier, by hand; sites are first, second, op, op.deep."""
    first, second, op, inner = path
    chain = [0.3, 0.7][first] * [[0.1, 0.9], [0.6, 0.4]][first][second]
    return chain * [0.4, 0.6][op] * (KEEP[inner] if op else 1.0)


def subjects(place: Path) -> dict[str, Any]:
    return {"session": Session(place, threads=2), "folder": place, "bundle": rr.load(place), "eager": routed()}


@pytest.mark.parametrize("kind", ["session", "folder", "bundle", "eager"])
def test_the_exact_mean_is_that_of_torch(classifier: Path, kind: str) -> None:
    """Oracle: eager runs of all rows at once, and probabilities by hand."""
    found = rr.evaluate(subjects(classifier)[kind], batches(), margin)
    expected = {path: rows.mean() for path, rows in eager_values(routed()).items()}
    assert [site.name for site in found.plan.sites] == ["first", "second", "op", "op.branches.1.1"]
    assert {v.path: v.value for v in found.paths} == pytest.approx(expected, abs=1e-6)
    assert dict(zip((v.path for v in found.paths), found.weights, strict=True)) == pytest.approx(
        {path: chance(path) for path in expected}
    )
    mean = sum(chance(path) * value for path, value in expected.items())
    variance = sum(chance(path) * (value - mean) ** 2 for path, value in expected.items())
    assert (found.mean, found.std) == pytest.approx((mean, math.sqrt(variance)), abs=1e-6)
    assert found.worst.path == min(expected, key=expected.__getitem__)
    assert (found.method, found.runs, found.interval, found.below_worst) == (EXACT, None, None, 0.0)
    for percent, value in found.percentiles.items():
        below = sum(chance(p) for p, v in expected.items() if v < value - 1e-5)
        upto = sum(chance(p) for p, v in expected.items() if v <= value + 1e-5)
        assert below < percent / 100 <= upto + 1e-9


def test_the_sabotaged_law_has_another_mean(classifier: Path) -> None:
    even = rr.evaluate(classifier, batches(), margin, profile="even")
    assert abs(even.mean - rr.evaluate(classifier, batches(), margin).mean) > 1e-3
    values = {path: rows.mean() for path, rows in eager_values(routed()).items()}
    expected = sum((0.5 ** (3 + (path[2] == 1))) * value for path, value in values.items())
    assert even.mean == pytest.approx(expected, abs=1e-6)
    plan = rr.load(classifier).plan
    assert rr.evaluate(routed(), batches(), margin, profile=plan.with_policies([rr.Uniform(2)] * 4)).mean == (
        pytest.approx(even.mean, abs=1e-6)
    )
    one = rr.evaluate(classifier, batches(), margin, profile="one")
    assert len(one.paths) == 1 and one.std == 0.0 and one.paths[0].path == rr.load(classifier).profiles["one"].path


def test_numbers_of_batches_weigh_as_their_rows(classifier: Path) -> None:
    by_rows, by_batches = (rr.evaluate(classifier, batches(), metric) for metric in (margin, mean_margin))
    assert by_batches.mean == pytest.approx(by_rows.mean, abs=1e-6)
    assert by_rows.paths[0].rows == by_batches.paths[0].rows == (8, 8, 3)
    rows = eager_values(routed())[by_rows.paths[0].path]
    parts = [rows[:8].mean(), rows[8:16].mean(), rows[16:].mean()]
    deviation = math.sqrt(np.average((np.array(parts) - rows.mean()) ** 2, weights=[8, 8, 3]))
    assert by_rows.paths[0].deviation == pytest.approx(deviation, abs=1e-6)
    assert by_rows.data_error is not None and by_rows.data_error > 0


def test_the_data_part_is_the_error_of_a_mean_of_equal_batches(classifier: Path) -> None:
    found = rr.evaluate(classifier, batches()[:2], margin)
    values = eager_values(routed())
    means = [sum(chance(p) * values[p][part].mean() for p in values) for part in (slice(0, 8), slice(8, 16))]
    assert found.data_error == pytest.approx(np.std(means, ddof=1) / math.sqrt(2), abs=1e-6)


def test_a_metric_of_whole_data_sets_gets_all_at_once(classifier: Path) -> None:
    found = rr.evaluate(classifier, batches(), macro_f1)
    assert all(v.rows == (1,) and v.deviation is None for v in found.paths) and found.data_error is None
    session = Session(classifier)
    for value in found.paths:
        outputs = [session.run(inputs, path=value.path).outputs for inputs, _ in batches()]
        assert value.value == macro_f1(outputs, [target for _, target in batches()])


def test_paths_of_seeds_are_those_of_the_runtime_and_are_evaluated_once(classifier: Path) -> None:
    calls: list[int] = []

    def counted(outputs: Any, target: Any) -> Any:
        calls.append(len(target))
        return hits(outputs, target)

    found = rr.evaluate(classifier, batches(), counted, runs=40, seed=2**63 - 20, bounds=(0, 1))
    session = Session(classifier)
    taken = Counter(tuple(session.run(batches()[0][0], seed=(2**63 - 20 + i) % 2**63).path.tolist()) for i in range(40))
    assert {v.path: w for v, w in zip(found.paths, found.weights, strict=True)} == pytest.approx(
        {path: count / 40 for path, count in taken.items()}
    )
    assert len(calls) == 3 * len(taken) and len(taken) < 40
    exact = rr.evaluate(classifier, batches(), hits)
    assert found.method == BERNSTEIN and found.interval is not None
    assert found.interval[0] <= exact.mean <= found.interval[1]
    sample = [v.value for v in found.paths for _ in range(taken[v.path])]
    assert (found.mean, found.std) == pytest.approx((np.mean(sample), np.std(sample, ddof=1)))
    assert rr.evaluate(classifier, batches(), hits, runs=40).method == STUDENT


def test_many_paths_are_sampled_and_few_are_not() -> None:
    model, data = nets.layers(9), [({"input": nets.example().numpy()}, np.zeros(3))]

    def first(outputs: Any, target: Any) -> Any:
        return next(iter(outputs.values()))[:, 0]

    found = rr.evaluate(model, data, first)
    assert found.runs == MOST_PATHS and 100 < len(found.paths) <= MOST_PATHS
    with torch.no_grad():
        values = []
        for seed in range(MOST_PATHS):
            with rr.seeded(model, seed):
                values.append(float(model(nets.example())[:, 0].mean()))
    assert found.mean == pytest.approx(np.mean(values), abs=1e-5)
    assert rr.evaluate(nets.layers(3), data, first).method == EXACT


def test_given_paths_count_alike(classifier: Path) -> None:
    paths = [path for path in rr.load(classifier).plan.paths()][:2]
    found = rr.evaluate(classifier, batches(), margin, paths=[paths[0], paths[1], paths[0]])
    assert found.method == GIVEN and found.weights == pytest.approx((2 / 3, 1 / 3))
    assert found.mean == pytest.approx((2 * found.paths[0].value + found.paths[1].value) / 3)


def test_two_processes_find_what_one_does(classifier: Path) -> None:
    one, two = (rr.evaluate(classifier, batches(), margin, jobs=jobs) for jobs in (1, 2))
    assert one == two
    session = Session(classifier, threads=1)
    assert rr.evaluate(session, batches(), margin, jobs=2).mean == one.mean
    eager = rr.evaluate(routed(), batches(), margin, jobs=2)
    assert eager.mean == pytest.approx(one.mean, abs=1e-6)


class Stopping:
    """A metric that is interrupted after some batches."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, outputs: Any, target: Any) -> Any:
        self.after -= 1
        if self.after < 0:
            raise KeyboardInterrupt
        return margin(outputs, target)

    def __getstate__(self) -> None:
        """All are the same metric."""


def test_an_interrupted_evaluation_goes_on(classifier: Path, tmp_path: Path) -> None:
    results, told = tmp_path / "values.jsonl", []
    with pytest.raises(KeyboardInterrupt):
        rr.evaluate(classifier, batches(), Stopping(3 * 5 + 1), results=results)
    assert len(results.read_text().splitlines()) == 1 + 5
    later = Stopping(3 * 7)
    found = rr.evaluate(classifier, batches(), later, results=results, progress=lambda *stage: told.append(stage))
    assert later.after == 0 and told[-1] == ("paths", 12, 12)
    assert found == rr.evaluate(classifier, batches(), Stopping(999))
    assert found.mean == rr.evaluate(classifier, batches(), Stopping(0), results=results, profile=None).mean
    even = rr.evaluate(classifier, batches(), Stopping(0), results=results, profile="even")  # other weights alone
    assert even.mean != found.mean


@pytest.mark.parametrize("other", ["metric", "data", "subject"])
def test_results_of_something_else_are_refused(classifier: Path, tmp_path: Path, other: str) -> None:
    results = tmp_path / "values.jsonl"
    rr.evaluate(classifier, batches(), margin, results=results)
    data = batches()
    data[2][1][0] = (data[2][1][0] + 1) % 3
    given = {
        "metric": (classifier, batches(), hits),
        "data": (classifier, data, margin),
        "subject": (routed(), batches(), margin),
    }[other]
    with pytest.raises(SweepError, match="those of another one"):
        rr.evaluate(*given, results=results)


class Shuffled:
    """Batches in another order every time."""

    def __init__(self) -> None:
        self.times = 0

    def __iter__(self) -> Any:
        self.times += 1
        return iter(batches()[:: 1 if self.times < 3 else -1])


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"subject": 7}, TypeError, "subject: expected a session, a bundle, its folder or a torch.nn.Module, got int"),
        ({"subject": "train"}, ValueError, "subject: expected evaluation mode, got training mode in the model itself"),
        ({"metric": 7}, TypeError, "metric: expected a function of outputs and target, got int"),
        (
            {"metric": lambda o, t: "good"},
            TypeError,
            "metric, batch 0: expected a number, or one for each row, got <U4",
        ),
        ({"metric": lambda o, t: math.nan}, ValueError, "metric, batch 0: expected finite numbers, got nan"),
        ({"data": 7}, TypeError, "data: expected batches that can be gone through again for every path, got int"),
        ({"data": iter([])}, TypeError, "data: expected batches that can be gone through again .* got list_iterator"),
        ({"data": []}, ValueError, r"data: expected batches of \(inputs, target\), got none"),
        ({"data": [np.ones(3)]}, TypeError, r"data, batch 0: expected \(inputs, target\) .* got ndarray"),
        ({"data": [(np.ones(3), 1)]}, TypeError, r"data, batch 0: expected .* got a tuple of ndarray, int"),
        ({"data": Shuffled()}, ValueError, "data: expected the same batches every time, got others"),
        ({"paths": []}, ValueError, "paths: expected some, got none"),
        ({"paths": [[0, 0, 0, 0]]}, ValueError, "profile: expected a path that a run reports"),
        ({"paths": [[0, 0, 0, -1]], "runs": 3}, ValueError, "paths: expected no runs beside them, got both"),
        ({"paths": [[0, 0, 0, -1]], "profile": "one"}, ValueError, "paths: expected no profile beside them, got both"),
        ({"runs": 1}, ValueError, "runs: expected an integer of at least 2, got 1"),
        ({"confidence": 95}, ValueError, "confidence: expected a number between 0 and 1, got 95"),
        ({"bounds": (1, 0)}, ValueError, "bounds: expected the least and the largest number, got"),
        ({"bounds": (0, 0.01)}, ValueError, r"bounds: expected numbers in \[0, 0.01\], got"),
        ({"profile": "fast"}, ValueError, "profile: expected one of even, one, got 'fast'"),
        ({"profile": 7}, TypeError, "profile: expected a name or a plan, got int"),
        ({"seed": -1}, ValueError, "seed: expected 0 <= seed"),
        ({"jobs": 0}, ValueError, "jobs: expected a number of workers"),
    ],
)
def test_wrong_arguments_are_told(classifier: Path, given: dict[str, Any], error: type[Exception], text: str) -> None:
    if given.get("subject") == "train":
        given = {"subject": routed().train()}
    arguments = {"subject": classifier, "data": batches(), "metric": margin} | given
    with pytest.raises(error, match=text):
        rr.evaluate(**arguments)


def test_files_that_take_no_path_and_sessions_that_cannot_be_sent_are_refused(classifier: Path, tmp_path: Path) -> None:
    import onnxruntime

    example = torch.from_numpy(batches()[0][0]["x"])
    alone = rr.export(routed(), (example,), interface="standalone", dynamic_shapes={"x": {0: "batch"}})
    with pytest.raises(
        ValueError, match="subject: expected a file that takes a path, got one of interface 'standalone"
    ):
        rr.evaluate(alone, batches(), margin)
    own = Session(classifier, session_options=onnxruntime.SessionOptions())
    assert rr.evaluate(own, batches(), margin).method == EXACT
    with pytest.raises(ValueError, match="jobs: expected 1 for a session with session_options"):
        rr.evaluate(own, batches(), margin, jobs=2)


@pytest.mark.filterwarnings("ignore:export. expected a model with sites:UserWarning")
def test_a_model_without_sites_has_one_path() -> None:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3).eval()
    data = [({"input": batches()[0][0]["x"]}, batches()[0][1])]
    bundle = rr.export(model, (torch.from_numpy(data[0][0]["input"]),))
    eager, file = rr.evaluate(model, data, margin), rr.evaluate(bundle, data, margin)
    assert eager.paths[0].path == file.paths[0].path == () and eager.mean == pytest.approx(file.mean, abs=1e-6)


def test_costs_of_the_law_and_what_is_shown(classifier: Path) -> None:
    costs = rr.Costs("ms", 1.0, ((0.0, 1.0), (0.0, 1.0), (0.5, 1.0), (0.0, 1.0)))
    found = rr.evaluate(classifier, batches(), margin)
    measured = found.measured(costs)
    expected = sum(chance(v.path) * (costs.of(v.path)) for v in found.paths) / 5.0
    assert (measured.cost, measured.quality, measured.spread) == pytest.approx((expected, found.mean, found.std))
    assert measured.metric == "margin"
    bundle = rr.load(classifier).with_profile("all", rr.load(classifier).plan, measured=measured)
    assert bundle.profiles["all"].measured == measured
    text, told = str(rr.evaluate(classifier, batches(), margin, runs=9)), json.loads(json.dumps(found.to_json()))
    assert "Student's t, over paths" in text and "paths worse than that, 95%" in text
    assert told["format"] == "rr.evaluation" and len(told["paths"]) == 12 and told["interval"] is None
    assert repr(found).startswith("Evaluation(margin ") and len(repr(found)) <= 120
    assert repr(found.paths[0]).startswith("PathValue(")


def test_targets_are_evaluated_as_themselves(tmp_path: Path) -> None:
    """Each has results of its own, and other processes open the same one."""
    example = torch.from_numpy(batches()[0][0]["x"])
    place = rr.export(routed(), (example,), target=["cuda", "qnn"]).save(tmp_path / "out")
    data, found = batches()[:2], {}
    for target in ("default", "cuda", "qnn"):
        session, results = Session(place, target=target, threads=1), tmp_path / f"{target}.jsonl"
        found[target] = rr.evaluate(session, data, margin, results=results)
        assert rr.evaluate(session, data, margin, results=results, jobs=2) == found[target]
        assert found[target].mean == pytest.approx(found["default"].mean, abs=1e-6)
    with pytest.raises(SweepError, match="those of another one"):
        rr.evaluate(Session(place, target="qnn"), data, margin, results=tmp_path / "cuda.jsonl")


def test_bug_a_batch_without_rows_is_refused(classifier: Path) -> None:
    inputs, target = batches()[0]
    empty = ({name: rows[:0] for name, rows in inputs.items()}, target[:0])
    for data in ([*batches(), empty], [empty]):
        with pytest.raises(ValueError, match=r"data, batch \d: expected one row at least, got none; leave empty"):
            rr.evaluate(classifier, data, hits)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    (
        ({"jobs": True}, TypeError, "jobs: expected a number of workers, got bool"),
        ({"jobs": 1.5}, TypeError, "jobs: expected a number of workers, got float"),
        ({"results": "."}, ValueError, "results: expected a file in a folder that is there"),
        ({"results": "nowhere/at/all"}, ValueError, "results: expected a file in a folder that is there"),
    ),
)
def test_bug_raw_errors(classifier: Path, given: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        rr.evaluate(classifier, batches(), hits, **given)


def test_bug_a_metric_is_the_same_through_a_command(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_hits.py").write_text(
        "from tests.quality.routed import hits\n\ndef worth(outputs, target):\n    return hits(outputs, target)\n"
    )
    metric = load_function("my_hits:worth", where="--metric", arguments=2)
    results = tmp_path / "kept.jsonl"
    first = rr.evaluate(classifier, batches(), metric, results=results)
    import my_hits  # type: ignore[import-not-found]

    kept = results.read_bytes()
    assert rr.evaluate(classifier, batches(), my_hits.worth, results=results).mean == first.mean
    assert results.read_bytes() == kept
