"""The benchmark of ensembles: its figures against other ways to compute them, and its page, shortened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import steadiness
from benchmarks.digits import digits, routed
from benchmarks.steadiness import DESIGNS, Scale, drawn_into, losses, measured, opened, squared_errors
from rr_export.quality.calibration import accuracy, auroc, expected_calibration_error, log_loss

pytest.importorskip("sklearn", reason="the digits need the extra demo")

TINY = Scale(epochs=1, ensembles=2, ends=1, errors=(0.05,), trainings=1, runs=16)
SURE = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
Y = np.array([0, 1, 1, 0])


@pytest.fixture(autouse=True)
def seeds_as_they_were() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def test_figures_of_probabilities_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, roc_auc_score
    from sklearn.metrics import log_loss as sklearn_log_loss

    rng = np.random.default_rng(0)
    known, unlike = rng.integers(0, 6, 50) / 5, rng.integers(0, 5, 40) / 5  # many are equal
    expected = roc_auc_score([1] * 50 + [0] * 40, [*known, *unlike])
    assert auroc(known, unlike) == pytest.approx(expected) and auroc(known, known) == pytest.approx(0.5)
    assert log_loss(SURE, Y) == pytest.approx(sklearn_log_loss(Y, SURE))
    assert accuracy(SURE, Y) == accuracy_score(Y, SURE.argmax(1))


def test_calibration_error_is_that_of_the_formula() -> None:
    """Five bins: .9 right; .8 wrong and .7 right share a bin, .6 right lies on the border of the one below."""
    expected = (abs(0.9 - 1) + 2 * abs(0.75 - 0.5) + abs(0.6 - 1)) / 4
    assert expected_calibration_error(SURE, Y, bins=5) == pytest.approx(expected)
    certain = np.eye(10)[[3, 4]]
    assert expected_calibration_error(certain, np.array([3, 4])) == 0
    assert expected_calibration_error(certain, np.array([4, 3])) == 1


def test_what_is_unlike_the_digits_is_another_input() -> None:
    data = digits(0)
    unlike = data.unlike(0)
    assert len(unlike) == 3
    for x in unlike.values():
        assert x.dtype == np.float32 and x.shape == data.x_test.shape and not np.array_equal(x, data.x_test)
        assert x.min() >= 0 and x.max() <= 1
    turned = unlike["turned by 90 degrees"][0].reshape(8, 8)
    assert turned[7].tolist() == data.x_test[0].reshape(8, 8)[:, 0].tolist()


def test_variances_are_measured_against_the_exact_mean(tmp_path: Path) -> None:
    """64 independent runs: the mean square of the error is the variance over 64, within .4 for 40 ensembles (fixed)."""
    torch.manual_seed(0)
    data = digits(0)
    case = opened("blocks", routed().eval(), data.x_test[:4], tmp_path / "out")
    wide = case.session.ensemble(case.inputs, runs=600, seed=1)
    np.testing.assert_allclose(wide.mean["output"], case.exact, atol=5 * float(wide.largest_error or 0))
    error, told = squared_errors(case, "independent", None, 40)
    assert error == pytest.approx(np.mean(wide.std["output"] ** 2) / 64, rel=0.4)
    assert told == pytest.approx(error, rel=0.4)


def test_the_page_is_measured(tmp_path: Path) -> None:
    part = measured(tmp_path, TINY)
    page = drawn_into(f"before\n{steadiness.BEGIN}\nEARLIER\n{steadiness.END}\nafter\n", part)
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "EARLIER" not in page
    rows = [line for line in part.splitlines() if line.startswith("|")]
    assert len(rows) == (2 + len(DESIGNS)) + (2 + 4) + (2 + 12)
    for row in rows:
        assert "nan" not in row
    assert len(re.findall(r"^- Against .* the ensemble loses: ", part, re.MULTILINE)) == 3
    written = steadiness.PAGE.read_text(encoding="utf-8").splitlines()
    first = [{line.split(" | ")[0] for line in lines if line.startswith("| ")} for lines in (rows, written)]
    assert len(first[0]) > 15 and first[0] <= first[1]  # the page has these rows


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^page: expected <!-- measured: begin --> and"):
        drawn_into("nothing", "part")


def test_losses_are_told() -> None:
    good = {"accuracy": np.array([0.9, 0.9]), "log loss": np.array([0.1, 0.1])}
    bad = {"accuracy": np.array([0.8, 0.95]), "log loss": np.array([0.2, 0.3])}
    full, off, drawn = losses({"a": good, "b": bad, "c": bad, "d": {"log loss": np.array([0.5, 0.5])}})
    assert "accuracy (0.025, in 1 of 2 trainings)" in full and "log loss (0.150, in 2 of 2 trainings)" in full
    assert "in none of these figures" in off and "in none of these figures" in drawn
