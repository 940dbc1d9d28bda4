from __future__ import annotations

import sys

import pytest

from rr_export.capture.python.notes import Notes
from rr_export.capture.python.training_mode_routes import TrainingNoiseError, TrainingRoutes
from rr_export.capture.python.values import CHOOSES
from rr_export.capture.python.whereabouts import Whereabouts
from rr_export.errors import CaptureError
from tests.capture.python.setting import Setting


@pytest.mark.parametrize("name", ["self", "this"])
def test_line_is_that_of_the_interpreted_node_with_its_module(name: str) -> None:
    setting = Setting("pass\npass", {name: None})
    setting.variables[name] = setting.model
    setting.stack.top.node = setting.body[1]
    line = setting.whereabouts.line()
    assert (line.file, line.number, line.module) == ("model.py", 3, "")


def test_line_outside_interpreted_code_is_that_of_the_author() -> None:
    setting = Setting()
    setting.stack.frames.clear()
    line, here = setting.whereabouts.line(), sys._getframe().f_lineno
    assert (line.file, line.number) == (__file__, here)


def test_refusal_names_the_line() -> None:
    with pytest.raises(CaptureError, match=r"^model.py:1: expected a, got b; do c$"):
        Setting().whereabouts.refuse("a", "b", "do c")


def test_noise_of_a_module_in_training_is_told_from_other_refusals() -> None:
    setting = Setting()
    kept = Whereabouts(setting.model, setting.stack, Notes(), TrainingRoutes(("",)))
    with pytest.raises(TrainingNoiseError):
        kept.refuse(CHOOSES, "b", "do c")
    with pytest.raises(CaptureError) as other:
        kept.refuse("a", "b", "do c")
    assert not isinstance(other.value, TrainingNoiseError)
