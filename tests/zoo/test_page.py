"""docs/python.md holds the table of what was measured, and its example works."""

from __future__ import annotations

import json
import re

import torch
from torch import Tensor, nn

import rr_export as rr
from tests.zoo.compare import DATA, PAGE, paged


def test_the_table_is_what_was_measured() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == paged(text, json.loads(DATA.read_text(encoding="utf-8")))


def test_rr_export_holds_in_every_row() -> None:
    data = json.loads(DATA.read_text(encoding="utf-8"))
    assert {row["cells"]["rr.export"]["outcome"] for row in data["rows"]} == {"holds"}


class Skips(nn.Module):
    """The example of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            if torch.rand(()) < 0.3:
                continue
            x = layer(x)
        return x


def test_the_example_of_the_page_works() -> None:
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    _, calls = example.split("\n\n")
    names = {"rr": rr, "model": Skips().eval(), "x": torch.ones(2, 3)}
    exec(compile(calls, "python.md", "exec"), names)
    assert names["bundle"].plan.path_count() == 8  # type: ignore[attr-defined]
