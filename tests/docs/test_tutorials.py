"""Every tutorial does what it says, from an empty folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.docs.tutorial import TRAINED, differs, reader, steps
from website.links import ROOT

FOLDER = ROOT / "docs" / "tutorials"
QUICK = ("device", "markov")  # the others by `make test-docs`
PAGES = [
    pytest.param(page, id=page.stem, marks=[] if page.stem in QUICK else [pytest.mark.slow])
    for page in sorted(FOLDER.glob("*.md"))
    if page.stem != "index"
]


@pytest.mark.skipif(sys.platform != "linux", reason="the pages call GNU's sed")
@pytest.mark.filterwarnings("default")  # a reader is told of warnings
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_does_what_it_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    trained = TRAINED in text
    assert any(step.kind == "command" for step in steps(text))
    with reader(tmp_path) as place:
        for step in steps(text):
            printed = place.do(step)
            assert step.kind != "command" or differs(step.printed, printed, trained=trained) == "", (
                f"$ {step.text}\n{printed}"
            )
            assert step.kind != "python" or differs(step.printed, printed, trained=trained) == "", printed


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        ("16 of 16 paths\n", "16 of 16 paths\n", ""),
        ("worst 1.2e-07", "worst 3.4e-08", ""),
        ("a  b\n", "│ a b │\n", ""),
        ("a [...]\n", "a b c\n", ""),
        ("16 of 16 paths\n", "8 of 16 paths\n", " -16 +8"),
        ("a [...]\n", "b c\n", " -a"),
        ("the same model\n", "NOT the same model\n", " +NOT"),
    ],
)
def test_outputs_that_differ_are_found(expected: str, got: str, said: str) -> None:
    assert differs(expected, got) == said


def test_what_was_trained_may_have_other_numbers() -> None:
    page = "3 paths\n│ 50% │ 0.881 │ 1,1,0 │\nout: profiles 25%, 50%; proven"
    assert differs(page, "2 paths\n│ 25% │ 0.9 │ 0,1,0 │\nout: profiles 25%, 50%, 75%; proven", trained=True) == ""
    assert differs(page, "3 paths\n│ 50% │ 0.881 │ 1,1,0 │\nout: no profiles 25%, 50%; proven", trained=True) == " +no"
    assert differs(page, page.replace("proven", ""), trained=True) == " -proven"


def test_steps_of_a_page() -> None:
    blocks = ['python title="a.py"\nx = 1', "console\n$ ls\na.py\n$ echo $?\n0", "python\nprint(1)", "text\n1"]
    page = "\n\n".join(f"```{block}\n```" for block in blocks)
    found = [(step.kind, step.text, step.title, step.printed) for step in steps(page)]
    assert found == [
        ("file", "x = 1\n", "a.py", ""),
        ("command", "ls", "", "a.py\n"),
        ("command", "echo $?", "", "0\n"),
        ("python", "print(1)\n", "", "1\n"),
    ]
