"""What a user's function raises is told with its line and type; names that lead nowhere get a text that helps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rr_export.cli.model_options import load_case
from rr_export.cli.users_code import load_function

SOURCE = """\
import json

def missing_key(): return {}["encoder"]
def divides(): return 1 / 0
def opens(): open("/nowhere/weights.pt")
def library(): json.loads("{")
def leaves(): raise SystemExit("usage: ...")
def says_nothing(): raise ValueError
def needs(x): return x
def default(x=1): return x, ()
def prints(): print("loading"); return 1, ()
three = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "users_models.py").write_text(SOURCE)
    (tmp_path / "users_broken.py").write_text("import absent_package_of_theirs\n")
    (tmp_path / "users_typo.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("users_models", "users_broken", "users_typo"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "missing_key",
            r"users_models\.py:3: expected users_models:missing_key to return, got KeyError: 'encoder'; mend",
        ),
        ("divides", r"users_models\.py:4: .*got ZeroDivisionError: division by zero"),
        ("opens", r"users_models\.py:5: .*got FileNotFoundError: "),
        ("library", r"users_models\.py:6: .*got JSONDecodeError: "),
        ("leaves", r"users_models\.py:7: .*got SystemExit: usage: \.\.\.; mend it there$"),
        ("says_nothing", r"users_models\.py:8: .*got ValueError; mend it there$"),
        (
            "needs",
            r"expected users_models:needs to be called with no arguments, got needs\(x\); give the others defaults",
        ),
        ("three", r"expected 'users_models:three' to be a function, got int; name one"),
        ("dividse", r".*got no 'dividse' in it; name one of: missing_key, divides, opens, library, "),
    ],
)
def test_bug_what_a_function_raises_had_no_line(function: str, message: str) -> None:
    with pytest.raises(click.ClickException, match=f"^(model: )?{message}"):
        load_case(f"users_models:{function}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_models.py:divides", r"got a file in 'users_models\.py:divides'; write users_models:divides$"),
        ("./sub/models.py:f", r"write sub\.models:f$"),
        ("users_model:divides", r"got no 'users_model' from .* on; did you mean 'users_models'\?$"),
        ("nothing_alike:f", r"got no 'nothing_alike' from .* on; run where the module lies$"),
        ("users_models.inner:f", r"got ModuleNotFoundError|got no 'users_models.inner'"),
        (
            "users_broken:f",
            r"^users_broken\.py:1: expected 'users_broken' to be imported, got ModuleNotFoundError: No m",
        ),
        ("users_typo:f", r"^users_typo\.py:2: expected 'users_typo' to be imported, got SyntaxError: "),
    ],
)
def test_names_that_lead_nowhere(name: str, message: str) -> None:
    with pytest.raises(click.ClickException, match=message):
        load_function(name)


def test_what_is_right_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert load_case("users_models:default") == {"model": 1, "args": ()}
    assert load_function("users_models:needs", arguments=1)(7) == 7
    assert load_case("users_models:prints") == {"model": 1, "args": ()}
    assert capsys.readouterr() == ("", "loading\n")
