from __future__ import annotations

from typing import Any

import pytest
import torch

from rr_export.capture.python.values import Poison, Sifted
from rr_export.errors import CaptureError
from tests.capture.python.setting import LINE, Setting


def test_names_containers_and_attributes_go_back() -> None:
    kept: list[int] = [1]
    setting = Setting(variables={"x": 1, "kept": kept})
    before = setting.memory.now()
    setting.variables |= {"x": 2, "new": 3}
    kept.append(2)
    setting.model.extra = "new"  # type: ignore[assignment]
    setting.memory.writes(setting.model, "extra")
    after = setting.memory.now()
    setting.memory.go_back(before)
    assert (setting.variables["x"], "new" in setting.variables, kept) == (1, False, [1])
    assert not hasattr(setting.model, "extra")
    assert not setting.memory.state.written
    setting.memory.agree_on_written([after, before])
    assert not setting.memory.state.written
    setting.memory.agree_on_written([after, after])
    assert setting.memory.state.written == {(id(vars(setting.model)), "extra")}


def test_moment_is_not_changed_by_what_comes_after() -> None:
    there: list[Any] = [True]
    setting = Setting()
    setting.memory.ragged[1] = ([0], there)
    before = setting.memory.now()
    there.append(False)
    setting.memory.go_back(before)
    assert setting.memory.ragged[1] == ([0], [True])


def test_tensor_that_was_changed_in_place_is_refused() -> None:
    x = torch.ones(2)
    setting = Setting(variables={"x": x})
    before = setting.memory.now()
    setting.memory.check_untracked(before, LINE)
    x.add_(1)
    with pytest.raises(CaptureError, match=r"model.py:7: expected branches that change nothing in place, got .* x;"):
        setting.memory.check_untracked(before, LINE)


def test_poison_lies_around_and_is_not_read() -> None:
    setting = Setting("pass\npass")
    setting.stack.top.node = setting.body[1]
    with pytest.raises(CaptureError, match=r"^model.py:3: expected one shape, got two; mend it$"):
        setting.memory.read(Poison("one shape", "two", "mend it"))


def test_list_that_is_longer_on_some_paths_is_read_as_such() -> None:
    setting, values = Setting(), [1, 2]
    assert setting.memory.read(values) is values
    setting.memory.ragged[id(values)] = (values, [True, "maybe"])
    read = setting.memory.read(values)
    assert isinstance(read, Sifted)
    assert read.elements == [(True, 1), ("maybe", 2)]


def test_tensor_that_one_name_holds_is_renamed() -> None:
    x = torch.ones(2)
    setting = Setting(variables={"x": x, "y": torch.ones(2)})
    setting.memory.rename(x, "drawn")
    assert setting.variables["x"] == "drawn"
    for other in (setting.model.weight, torch.ones(4)[:2]):
        with pytest.raises(CaptureError, match="one that others hold too"):
            setting.memory.rename(other, "drawn")


@pytest.mark.parametrize("case", ["twice", "view", "input", "parameter"])
def test_in_place_change_that_something_else_sees_is_refused(case: str) -> None:
    own = torch.ones(2)
    Setting(variables={"x": own}).memory.check_own(own)
    setting = Setting(variables={"x": own} | {"twice": {"y": own}, "view": {"y": own[:1]}}.get(case, {}))
    if case == "input":
        setting.memory.inputs.append(own)
    with pytest.raises(CaptureError, match="also used elsewhere"):
        setting.memory.check_own(setting.model.weight if case == "parameter" else own)
