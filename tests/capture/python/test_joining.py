from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from rr_export.capture.python import diagram as dd
from rr_export.capture.python.joining import Joiner, Parting
from rr_export.capture.python.values import Poison, Varying, plain
from rr_export.capture.python.varied import Varied
from rr_export.errors import CaptureError
from tests.capture.python.setting import LINE, FakeLog, Setting


def joined(setting: Setting, log: FakeLog, *arms: Callable[[], Any], varied: Varied | None = None) -> Any:
    """Returns the joined result of these two branches of a coin."""
    which, before = setting.coin(), setting.memory.now()
    results, after = [], []
    for arm in arms:
        results.append(arm())
        after.append(setting.memory.now())
        setting.memory.go_back(before)
    parting = Parting(5, None, which, LINE, before, after)
    return Joiner(log, setting.memory, setting.aliases, varied or Varied(), parting, plain).join(results)


def test_tensors_become_results_of_one_marker() -> None:
    setting, log, varied = Setting(variables={"x": torch.zeros(2)}), FakeLog(), Varied()
    first, second = torch.ones(2), torch.full((2,), 3.0)

    def put(value: torch.Tensor) -> torch.Tensor:
        setting.variables["x"] = value
        return value + 1

    result = joined(setting, log, lambda: put(first), lambda: put(second), varied=varied)
    ((call, decided, operands, name),) = log.selected
    assert (call, decided, name) == (5, None, "model.py:7")
    assert [[t.tolist() for t in branch] for branch in operands] == [[[1, 1], [2, 2]], [[3, 3], [4, 4]]]
    assert setting.variables["x"].tolist() == [1, 1]
    assert result.tolist() == [2, 2]
    assert result in varied


def test_plain_values_vary_and_need_no_marker() -> None:
    setting, log = Setting(variables={"n": 0}), FakeLog()
    result = joined(setting, log, lambda: setting.variables.update(n=1), lambda: setting.variables.update(n=2))
    varying = setting.variables["n"]
    assert isinstance(varying, Varying)
    assert dd.leaves(varying.diagram) == [1, 2]
    assert (result, log.selected) == (None, [])


def test_what_one_branch_alone_sets_is_poison() -> None:
    setting = Setting()
    joined(setting, FakeLog(), lambda: setting.variables.update(late=1), lambda: None)
    assert setting.variables["late"] == Poison(
        "'late' to be set on every path", "one that only some branches of model.py:7 set", "set it before them"
    )


def test_list_that_is_longer_after_one_branch_knows_who_is_there() -> None:
    values: list[int] = [7]
    setting = Setting(variables={"values": values})
    with setting.tracing():
        joined(setting, FakeLog(), lambda: values.append(8), lambda: None)
    assert values == [7, 8]
    _, (always, maybe) = setting.memory.ragged[id(values)]
    assert always is True
    assert dd.leaves(maybe.diagram) == [True, False]


@pytest.mark.parametrize(
    ("arm", "what"),
    [
        (lambda model: model.seen.add(1), "a set"),
        (lambda model: model.log.append(1), r"a list \(self.log\) that is longer after one branch"),
        (lambda model: vars(model).pop("count"), "attribute 'count' of self, which only some branches set or delete"),
    ],
)
def test_side_effect_of_one_branch_is_refused(arm: Callable[[Any], None], what: str) -> None:
    setting = Setting()
    setting.model.seen, setting.model.log, setting.model.count = set(), [], 0  # type: ignore[assignment]
    setting.memory.lasting.update(setting.memory.now().reached.places)
    with pytest.raises(CaptureError, match=f"model.py:7: expected branches that leave the same.*{what}"):
        joined(setting, FakeLog(), lambda: arm(setting.model), lambda: None)
