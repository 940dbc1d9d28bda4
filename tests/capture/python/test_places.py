"""What is captured does not depend on which folder of installed packages a model's code lies in."""

from __future__ import annotations

import importlib
import site
import sys
from pathlib import Path

import pytest
import torch

import rr_export as rr
from rr_export.capture.python.source_code import is_library_file

CODE = """
import torch
from torch import nn

def choose(x):
    return x if torch.rand(()) < 0.3 else x * 2

class Net(nn.Module):
    def forward(self, x):
        return choose(x) + 1
"""


@pytest.mark.parametrize(
    "folder", [site.getusersitepackages(), "/usr/lib/python3/dist-packages", "/other/lib/python3.12/site-packages"]
)
def test_bug_packages_elsewhere_counted_as_the_authors_code(folder: str) -> None:
    assert is_library_file(str(Path(folder) / "package" / "model.py"))


def test_code_of_the_author_is_no_library() -> None:
    assert not is_library_file(__file__)
    assert not is_library_file("/opt/somebody/site/model.py")


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages", "checkout"])
def test_the_same_decisions_are_found_in_every_place(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"placed_{folder.replace('-', '_')}"
    (tmp_path / folder / name).mkdir(parents=True)
    (tmp_path / folder / name / "__init__.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / folder)
    module = importlib.import_module(name)
    try:
        plan = rr.plan_of(module.Net().eval(), (torch.ones(2, 4),))
        assert [site.name for site in plan.sites] == ["__init__.py:6"]
        assert plan.path_count() == 2
    finally:
        del sys.modules[name]
