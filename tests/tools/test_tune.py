"""The search for a tuning: what is faster beyond the noise is kept, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rr_runtime.tools.tune import COPIES, Comparison, compare_on, find_tuning
from rr_runtime.tuning import Tuning
from tests.runtime import handmade

DEFAULT = Tuning(left_out=("SkipLayerNormFusion",))


class Costs:
    """Compares by costs that are known, without noise; keeps what was asked."""

    def __init__(self, *good: tuple[str, object], rematch: bool = True) -> None:
        self.good, self.rematch = dict(good), rematch
        self.asked: list[tuple[str, Tuning, Tuning]] = []

    def cost(self, tuning: Tuning) -> int:
        return -sum(getattr(tuning, name) == value for name, value in self.good.items())

    def __call__(self, setting: str, best: Tuning, tried: Tuning) -> Comparison:
        self.asked.append((setting, best, tried))
        faster = self.cost(tried) < self.cost(best) and (self.rematch or not setting.startswith("all"))
        return Comparison(setting, str(tried), 0.9 if faster else 1.1, faster)


def test_every_setting_that_is_faster_is_kept() -> None:
    costs = Costs(("threads", 4), ("spinning", False), ("arena", False), ("left_out", ()))
    found = find_tuning(DEFAULT, costs, spins=True, cores=6)
    assert found.tuning == Tuning(4, False, False, ())
    assert [step.setting for step in found.steps] == [
        *("SkipLayerNormFusion", "MatMulAddFusion", "NchwcTransformer"),
        *("threads 1", "threads 2", "threads 4", "threads 6"),
        *("no active waiting", "memory is not kept", "all against the default"),
    ]
    assert costs.asked[-1] == ("all against the default", DEFAULT, found.tuning)
    for _, best, tried in costs.asked[:-1]:
        names = ("threads", "spinning", "arena", "left_out")
        assert sum(getattr(best, name) != getattr(tried, name) for name in names) == 1


def test_where_nothing_is_faster_the_default_stays() -> None:
    costs = Costs()
    found = find_tuning(DEFAULT, costs, spins=False, cores=1)
    assert found.tuning == DEFAULT and not any(step.faster for step in found.steps)
    assert [step.setting for step in found.steps][-2:] == ["active waiting", "memory is not kept"]


def test_what_does_not_win_again_is_not_kept() -> None:
    found = find_tuning(DEFAULT, Costs(("threads", 2), rematch=False), spins=True, cores=2)
    assert found.tuning == DEFAULT and found.steps[-1].setting == "all against the default"
    assert found.to_json()["words"] == str(DEFAULT)


def test_one_thread_does_not_wait() -> None:
    costs = Costs(("threads", 1))
    assert find_tuning(DEFAULT, costs, spins=True, cores=2).tuning == Tuning(1, left_out=DEFAULT.left_out)
    assert not any("waiting" in setting for setting, _, _ in costs.asked)


@pytest.mark.parametrize("interface", ["explicit", "plain"])
def test_runs_are_compared(interface: str, tmp_path: Path) -> None:
    folder = handmade.write_bundle(tmp_path / "bundle", interface)
    compare = compare_on(folder, handmade.example(), first=2**63 - 2, rounds=3)
    found = compare("threads 1", DEFAULT, Tuning(1))
    assert found.ratio is not None and found.ratio > 0 and found.tried == "threads 1" and COPIES >= 3


def test_sabotage_a_tuning_whose_golden_cases_do_not_hold_is_not_faster(tmp_path: Path) -> None:
    folder = handmade.write_bundle(tmp_path / "bundle")
    content = handmade.content_of(folder)
    content["golden"][0]["taken"] = [2, -1, 0] if content["golden"][0]["taken"] != [2, -1, 0] else [0, -1, 0]
    handmade.write_manifest(folder, content)
    found = compare_on(folder, handmade.example(), first=0, rounds=3)("threads 1", DEFAULT, Tuning(1))
    assert found.ratio is None and not found.faster
