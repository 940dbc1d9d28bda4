"""What an ensemble gathers: errors, early ends, quantiles, votes and scores, each against numpy on its single runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rr_runtime import EnsembleResult, RuntimeFailure, Session, ensemble
from rr_runtime.designs import Design
from rr_runtime.ensemble import check_wanted, gather, least_runs
from rr_runtime.manifest import Tensor
from rr_runtime.results import Result, Vote

from . import handmade
from .test_designs import LAW

INPUTS = handmade.example()
DESIGNS = {"independent": 1, "antithetic": 2, "stratified": 16, "latin": 16}
TENSORS = (Tensor("y", "float32", (2,)), Tensor("n", "int64", ()), Tensor("flag", "bool", (2,)))


def exact_mean(name: str) -> NDArray[np.float64]:
    """The mean of an output over all paths of the handmade model."""
    return sum(p * handmade.forward(INPUTS, handmade.reported(path))[name].astype(float) for path, p in LAW.items())  # type: ignore[return-value]


def single_runs(session: Session, result: EnsembleResult) -> list[dict[str, NDArray[Any]]]:
    assert result.paths is not None
    return [session.run(INPUTS, path=path).outputs for path in result.paths]


def fed(*values: Any, **asked: Any) -> EnsembleResult:
    """What is gathered from runs that give these values for ``y``, again and again."""

    def runs() -> Iterator[Result]:
        while True:
            for value in values:
                yield Result({"y": np.asarray(value)}, None, None)

    given: dict[str, Any] = dict.fromkeys(("block", "until", "quantiles", "vote", "score"))
    outputs = [Tensor("y", str(np.asarray(values[0]).dtype), np.shape(values[0]))]
    wanted = check_wanted(outputs, **{"runs": len(values), "draws": "independent", **given, **asked})
    return gather(runs(), wanted, where="here")


# Errors


@pytest.mark.parametrize("draws", DESIGNS)
@pytest.mark.parametrize("interface", handmade.ROUTED)
def test_the_error_is_that_of_the_means_of_blocks(sessions: dict[str, Session], interface: str, draws: str) -> None:
    session, block = sessions[interface], DESIGNS[draws]
    result = session.ensemble(INPUTS, runs=96, seed=11, draws=draws)
    runs = single_runs(session, result)
    assert result.runs == len(runs) == 96 and result.error is not None
    for name in ("y", "large", "count"):
        stacked = np.stack([run[name] for run in runs]).astype(np.float64)
        blocks = stacked.reshape(96 // block, block, *stacked.shape[1:]).mean(1)
        np.testing.assert_allclose(result.mean[name], stacked.mean(0), rtol=1e-12)
        np.testing.assert_allclose(result.std[name], stacked.std(0), rtol=1e-9, atol=1e-12)
        expected = blocks.std(0, ddof=1) / math.sqrt(len(blocks))
        np.testing.assert_allclose(result.error[name], expected, rtol=1e-9, atol=1e-12)
    assert result.largest_error == result.error["y"].max()


@pytest.mark.parametrize("draws", DESIGNS)
def test_the_mean_is_off_by_two_errors_as_seldom_as_told(explicit: Session, draws: str) -> None:
    """Unbiased, with an error of the right size: of 120 ensembles about 5 % are further off (seeds are fixed).

    A right error is exceeded by Student's law in 5 to 12 % (at least 7 degrees of freedom); more than 25 % of 120 would
    have a probability below 1e-4.
    """
    off = []
    for seed in range(120):
        result = explicit.ensemble(INPUTS, runs=128, seed=10**6 * seed, draws=draws)
        assert result.error is not None
        off.append(np.abs(result.mean["y"] - exact_mean("y"))[0, 0] > 2 * result.error["y"][0, 0] + 1e-12)
    assert np.mean(off) < 0.25


@pytest.mark.parametrize("draws", ["stratified", "latin"])
def test_designs_bring_the_mean_nearer(explicit: Session, draws: str) -> None:
    """The squared distance of the mean, averaged over 60 ensembles, is less than half of that of independent draws."""

    def squared(draws: str) -> float:
        means = [explicit.ensemble(INPUTS, runs=64, seed=10**6 * s, draws=draws).mean["count"] for s in range(60)]
        return float(np.mean((np.array(means) - exact_mean("count")) ** 2))

    assert squared(draws) < 0.5 * squared("independent")


def test_numbers_that_are_not_finite_have_no_error() -> None:
    for value in (np.inf, np.nan):
        result = fed(np.array([1.0, value]), np.array([2.0, 0.0]), runs=8, draws="latin", block=2)
        assert result.error is not None and result.error["y"][0] == 0.0
        assert np.isnan(result.error["y"][1]) and np.isnan(result.largest_error)


def test_an_error_needs_two_blocks(explicit: Session) -> None:
    for runs, draws in ((1, "independent"), (2, "antithetic"), (16, "latin")):
        result = explicit.ensemble(INPUTS, runs=runs, seed=1, draws=draws)
        assert result.error is None and result.largest_error is None
    result = explicit.ensemble(INPUTS, runs=4, seed=1, draws="latin", block=2)
    assert result.error is not None and list(result.error) == ["y", "large", "count"]


def test_more_runs_go_on_where_fewer_end(explicit: Session) -> None:
    for draws in DESIGNS:
        few, many = (explicit.ensemble(INPUTS, runs=runs, seed=2**63 - 9, draws=draws) for runs in (32, 64))
        assert few.paths is not None and many.paths is not None
        assert many.paths[:32].tolist() == few.paths.tolist()


@pytest.mark.parametrize("interface", handmade.UNROUTED)
@pytest.mark.parametrize("draws", ["antithetic", "stratified", "latin"])
def test_files_that_draw_by_themselves_take_no_design(sessions: dict[str, Session], interface: str, draws: str) -> None:
    with pytest.raises(ValueError, match=rf"^draws: expected none for .*, got one; a file of interface '{interface}'"):
        sessions[interface].ensemble(INPUTS, runs=32, draws=draws)
    result = sessions[interface].ensemble(INPUTS, runs=32, draws="independent")
    assert result.runs == 32 and result.error is not None and result.seeds is None


# until


def test_no_more_runs_are_made_than_the_error_needs(explicit: Session) -> None:
    most = explicit.ensemble(INPUTS, runs=2000, seed=3, until=1e-9)
    assert most.runs == 2000
    for draws, block in DESIGNS.items():
        asked = 4 * float(most.largest_error or 0)
        result = explicit.ensemble(INPUTS, runs=2048, seed=3, until=asked, draws=draws)
        assert result.largest_error is not None and result.largest_error <= asked
        assert result.runs % block == 0 and least_runs(Design(draws, block)) <= result.runs < 2000
        assert result.paths is not None and len(result.paths) == result.runs
        if result.runs > least_runs(Design(draws, block)):  # one block less is not enough
            before = explicit.ensemble(INPUTS, runs=result.runs - block, seed=3, draws=draws)
            assert before.largest_error is not None and before.largest_error > asked


def test_an_ensemble_that_always_gives_the_same_ends_at_the_least(explicit: Session) -> None:
    assert fed(1.0, runs=100, until=0.5).runs == 32
    assert fed(1.0, runs=512, until=0.5, draws="latin").runs == 128
    assert fed(1.0, runs=512, until=0.5, draws="latin", block=2).runs == 32
    assert fed(np.nan, runs=50, until=0.5).runs == 50  # no error is known


def test_only_floating_outputs_are_looked_at(explicit: Session) -> None:
    """`count` is off by more than `y` here."""
    inputs = {"x": INPUTS["x"] * np.float32(0.001), "offset": INPUTS["offset"]}
    result = explicit.ensemble(inputs, runs=512, seed=5, until=1e-2)
    assert result.error is not None and result.largest_error == result.error["y"].max()


# Quantiles


@pytest.mark.parametrize("draws", ["independent", "latin"])
def test_quantiles_are_order_statistics(explicit: Session, draws: str) -> None:
    shares = (0, 0.05, 0.07, 0.5, 0.95, 1)
    result = explicit.ensemble(INPUTS, runs=96, seed=4, quantiles=shares, draws=draws)
    runs = single_runs(explicit, result)
    assert result.quantiles is not None
    for name in ("y", "large", "count"):
        stacked = np.stack([run[name] for run in runs])
        found = result.quantiles[name]
        assert found.dtype == stacked.dtype and found.shape == (6, *stacked.shape[1:])
        for share, value in zip(shares, found, strict=True):
            reached = (stacked <= value).mean(0)
            assert (reached >= share - 1e-12).all()  # enough runs do not exceed it
            assert ((stacked < value).mean(0) < max(share, 1e-12)).all()  # and a smaller number would be exceeded
            assert (stacked == value).any(0).all()


def test_quantiles_of_hundred_runs_are_counted_exactly() -> None:
    found = fed(*np.arange(100.0), quantiles=[k / 100 for k in range(101)]).quantiles
    assert found is not None and found["y"].tolist() == [0, *range(100)]


def test_quantiles_are_nan_where_a_run_is() -> None:
    found = fed(np.array([1.0, 2.0]), np.array([np.nan, 1.0]), quantiles=(0.0, 1.0)).quantiles
    assert found is not None
    np.testing.assert_array_equal(found["y"], [[np.nan, 1.0], [np.nan, 2.0]])


def test_outputs_are_not_kept_beyond_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "MOST_KEPT", 79)
    with pytest.raises(
        ValueError, match=r"^quantiles: expected outputs of at most 79 bytes in all runs.*, got 80; ask"
    ):
        fed(*np.arange(10.0), quantiles=(0.5,))
    assert fed(*np.arange(9.0), quantiles=(0.5,)).quantiles is not None
    assert fed(*np.arange(10.0)).quantiles is None


# Votes


def test_votes_are_counted(explicit: Session) -> None:
    result = explicit.ensemble(INPUTS, runs=50, seed=6, vote="y")
    runs = single_runs(explicit, result)
    assert result.votes is not None and list(result.votes) == ["y"]
    found = result.votes["y"]
    for row in range(2):
        votes = [int(run["y"][row].argmax()) for run in runs]
        expected = [votes.count(k) for k in range(4)]
        assert found.counts[row].tolist() == expected
        assert found.winner[row] == expected.index(max(expected)) and found.share[row] == max(expected) / 50
    assert (found.winner.dtype, found.share.dtype, found.counts.dtype) == (np.int64, np.float64, np.int64)
    assert len(repr(found)) <= 120 and repr(found).startswith("Vote(winner [2] of 4 classes, share ")


def test_of_equal_votes_the_first_class_wins() -> None:
    votes = fed(np.array([0.0, 2.0, 1.0]), np.array([1.0, 0.0, 0.0]), vote=["y"]).votes
    assert votes is not None and (votes["y"].winner, votes["y"].share) == (0, 0.5)


@pytest.mark.parametrize(("value", "got"), [(np.array([1.0, np.nan]), "NaN"), (np.zeros((2, 0)), "no classes")])
def test_what_has_no_greatest_number_has_no_vote(value: NDArray[np.float64], got: str) -> None:
    with pytest.raises(RuntimeFailure, match=rf"^here: output 'y': expected numbers to vote with, got {got}; vote"):
        fed(value, vote="y")


# Scores


def test_best_and_worst_run_of_a_score(explicit: Session) -> None:
    def total(outputs: Mapping[str, NDArray[Any]]) -> float:
        return float(outputs["y"].sum())

    result = explicit.ensemble(INPUTS, runs=40, seed=8, score=total)
    scores = [total(run) for run in single_runs(explicit, result)]
    assert result.scores is not None and result.scores.tolist() == pytest.approx(scores, rel=1e-6)
    best, worst = result.best, result.worst
    assert best is not None and worst is not None and result.paths is not None
    for found, expected in ((best, max(result.scores)), (worst, min(result.scores))):
        assert found.score == expected and found.run == result.scores.tolist().index(expected)
        assert found.path == tuple(result.paths[found.run].tolist())
        assert len(repr(found)) <= 120 and "ScoredRun" in repr(found)
    assert explicit.ensemble(INPUTS, runs=2).best is None


@pytest.mark.parametrize("interface", handmade.UNROUTED)
def test_scores_of_files_that_tell_no_path(sessions: dict[str, Session], interface: str) -> None:
    result = sessions[interface].ensemble(INPUTS, runs=3, score=lambda outputs: np.float32(outputs["y"][0, 0]))
    assert result.best is not None and result.best.path is None


@pytest.mark.parametrize(
    ("score", "error", "text"),
    [
        (3, TypeError, r"^score: expected a function of the outputs, got int; pass one"),
        (lambda outputs: "much", TypeError, r"^score: expected a number, got str; return a float"),
        (lambda outputs: outputs["y"], TypeError, r"^score: expected a number, got ndarray; return a float"),
        (lambda outputs: math.nan, ValueError, r"^score: expected a number, got NaN; return one"),
    ],
)
def test_scores_that_are_none_are_refused(explicit: Session, score: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        explicit.ensemble(INPUTS, runs=2, score=score)


def test_an_error_of_the_score_is_the_users(explicit: Session) -> None:
    def score(outputs: Mapping[str, NDArray[Any]]) -> float:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        explicit.ensemble(INPUTS, runs=2, score=score)


# Arguments


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"until": "0.1"}, TypeError, r"^until: expected a number, got str; pass a standard error"),
        ({"until": 0}, ValueError, r"^until: expected a standard error above 0, got 0; pass one"),
        ({"until": math.nan}, ValueError, r"^until: expected a standard error above 0, got nan"),
        ({"until": math.inf}, ValueError, r"^until: expected a standard error above 0, got inf"),
        (
            {"until": 1, "runs": 31},
            ValueError,
            r"^until: expected at least 32 runs of independent draws, got 31; below",
        ),
        ({"until": 1, "runs": 112, "draws": "latin"}, ValueError, r"^until: expected at least 128 runs of latin draws"),
        ({"quantiles": ("0.5",)}, TypeError, r"^quantiles: expected numbers, got \('0.5',\); pass shares"),
        ({"quantiles": 3}, ValueError, r"^quantiles: expected shares from 0 to 1, got 3; pass some"),
        ({"quantiles": ()}, ValueError, r"^quantiles: expected shares from 0 to 1, got \(\); pass some"),
        ({"quantiles": (math.nan,)}, ValueError, r"^quantiles: expected shares from 0 to 1"),
        ({"vote": "logits"}, ValueError, r"^vote: expected an output of y, n, flag, got 'logits'; name one"),
        ({"vote": 3}, TypeError, r"^vote: expected names of outputs, got int 3; pass texts"),
        ({"vote": [3]}, TypeError, r"^vote: expected names of outputs, got int 3; pass texts"),
        ({"vote": "n"}, ValueError, r"^vote: expected an output with numbers for each class, got n: int64.*; name"),
        ({"vote": ["y", "flag"]}, ValueError, r"^vote: expected an output with numbers for each class, got flag: bool"),
        ({"draws": "sobol"}, ValueError, r"^draws: expected one of"),
        ({"runs": 20, "draws": "latin"}, ValueError, r"^runs: expected a multiple of 16"),
    ],
)
def test_wrong_arguments_are_refused_before_any_run(asked: dict[str, Any], error: type[Exception], text: str) -> None:
    given = {"runs": 64, "draws": "independent", **dict.fromkeys(("block", "until", "quantiles", "vote", "score"))}
    with pytest.raises(error, match=text):
        check_wanted(TENSORS, **{**given, **asked})


def test_until_needs_a_floating_output() -> None:
    given = {"runs": 64, "draws": "independent", **dict.fromkeys(("block", "quantiles", "vote", "score"))}
    with pytest.raises(ValueError, match=r"^until: expected a model with a floating output, got one without; leave"):
        check_wanted(TENSORS[1:], until=0.1, **given)  # type: ignore[arg-type]


def test_results_say_in_a_line_what_they_are(explicit: Session) -> None:
    said = repr(explicit.ensemble(INPUTS, runs=32, seed=0, draws="latin", quantiles=0.5, vote="y"))
    assert said.startswith("EnsembleResult(32 runs from seed 0, errors up to ") and len(said) <= 120
    assert repr(Vote(np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3), np.int64))) == "Vote(winner [0] of 3 classes)"


# The most probable path


@pytest.mark.parametrize("interface", handmade.ROUTED)
def test_the_most_probable_path_is_taken(sessions: dict[str, Session], interface: str) -> None:
    """P of a reported path is the sum over the latent routes that are not reached."""
    reported: dict[tuple[int, ...], float] = {}
    for latent, p in LAW.items():
        path = tuple(handmade.reported(latent))
        reported[path] = reported.get(path, 0) + p
    best = max(reported, key=lambda path: reported[path])
    result = sessions[interface].run(INPUTS, decision="most_probable")
    assert result.path is not None and tuple(result.path.tolist()) == best and result.seed is None
    handmade.assert_outputs(result.outputs, handmade.forward(INPUTS, best))
    step = sessions[interface].prepare({name: array.shape for name, array in INPUTS.items()})
    for name, array in INPUTS.items():
        step.inputs[name][...] = array
    again = step.run(decision="most_probable")
    assert again.path is not None and tuple(again.path.tolist()) == best and again.seed is None


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"decision": "best"}, ValueError, r"^decision: expected 'most_probable', got 'best'; pass it"),
        ({"decision": True}, TypeError, r"^decision: expected 'most_probable', got bool; pass a text"),
        ({"decision": "most_probable", "seed": 0}, ValueError, r"^decision: expected no seed beside it, got one"),
        ({"decision": "most_probable", "path": [0, 0, 0]}, ValueError, r"^decision: expected no path beside it"),
        (
            {"decision": "most_probable", "profile": "fast"},
            ValueError,
            r"^profile: expected a bundle with profiles",
        ),
    ],
)
def test_other_decisions_are_refused(explicit: Session, asked: Any, error: type[Exception], text: str) -> None:
    step = explicit.prepare({name: array.shape for name, array in INPUTS.items()})
    ways: list[Callable[..., Any]] = [lambda **asked: explicit.run(INPUTS, **asked), step.run]
    for way in ways:
        with pytest.raises(error, match=text):
            way(**asked)


@pytest.mark.parametrize("interface", handmade.UNROUTED)
def test_files_that_draw_by_themselves_take_no_decision(sessions: dict[str, Session], interface: str) -> None:
    with pytest.raises(ValueError, match=r"^decision: expected none for .*, got one; a file of interface"):
        sessions[interface].run(INPUTS, decision="most_probable")
