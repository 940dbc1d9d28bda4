"""The interpreter is composed: no part of it is another one, with more."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

import rr_export.capture.python

FOLDER = Path(rr_export.capture.python.__file__).parent
# values that vary share their operators, fields are all dictionaries, and what is unset may not be read, like other
# poison: a caller holds any of the kinds
KINDS = {
    **{name: {"_Operators"} for name in ("Varying", "UniformDraw", "Drawn")},
    "Unset": {"Poison"},
    **{name: {"Fields"} for name in ("SlotFields", "ClassFields", "CellFields", "GlobalFields")},
}


def inherited_in(folder: Path) -> list[str]:
    """Returns one line for each class of a folder that derives from another class of it, but for errors and kinds."""
    classes = {
        node.name: node
        for file in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    return [
        f"{name} derives from {base}"
        for name, node in classes.items()
        for base in sorted(set(_names(node.bases)) & classes.keys() - KINDS.get(name, set()))
        if not name.endswith("Error")
    ]


def _names(bases: Iterable[ast.expr]) -> Iterable[str]:
    for base in bases:
        for node in ast.walk(base):
            if isinstance(node, ast.Name | ast.Attribute):
                yield node.id if isinstance(node, ast.Name) else node.attr


def test_no_part_derives_from_another() -> None:
    assert inherited_in(FOLDER) == []


def test_kinds_still_derive() -> None:
    """The list of exceptions holds nothing that is no exception any more."""
    text = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("values.py", "fields.py", "state.py"))
    assert all(f"class {name}({base}):" in text for name, bases in KINDS.items() for base in bases)


@pytest.mark.parametrize("base", ["Flow", "flow.Flow", "Generic[Flow]"])
def test_tower_is_rejected(base: str, tmp_path: Path) -> None:
    (tmp_path / "syntax").mkdir()
    (tmp_path / "flow.py").write_text("class Flow:\n    pass\n", encoding="utf-8")
    (tmp_path / "syntax" / "statements.py").write_text(f"class Statements({base}):\n    pass\n", encoding="utf-8")
    assert inherited_in(tmp_path) == ["Statements derives from Flow"]


def test_errors_may_derive(tmp_path: Path) -> None:
    source = "class NoiseError(Exception):\n    pass\nclass OtherNoiseError(NoiseError):\n    pass\n"
    (tmp_path / "noise.py").write_text(source, encoding="utf-8")
    assert inherited_in(tmp_path) == []
