"""Every call of the two command lines in a block of a page is one that they take."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from rr_runtime.cli.parser import parser
from tests.cli.test_help import parsed
from tests.docs.test_links import PAGES
from website.links import ROOT

_BLOCK = re.compile(r"^```(?:bash|console|yaml|)(?: title=.*)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_BEFORE = r"(?:\$ |- run: |- (?:test -e \S+ \|\| )?)?(?:python -m )?"
_CALL = re.compile(rf"^ *{_BEFORE}(rr[-_]export|rr[-_]runtime) (?!\d)(.+?)(?: +#.*)?$", re.MULTILINE)


def calls(page: str) -> list[tuple[str, str]]:
    """The program and the arguments of each call in the blocks of a page."""
    found = [call for block in _BLOCK.findall(page) for call in _CALL.findall(block)]
    return [(program.replace("_", "-"), arguments) for program, arguments in found]


def refused(program: str, arguments: str) -> str:
    """Why the command line takes no such call, "" where it does."""
    try:
        if program == "rr-export":
            parsed(f"{program} {arguments}")
        else:
            parser().parse_args(shlex.split(arguments))
    except click.BadParameter as error:  # a file that the page is about need not be here
        return "" if "does not exist" in error.message else f"{program} {arguments}: {error.message}"
    except (click.UsageError, SystemExit, AssertionError) as error:
        return f"{program} {arguments}: {error}"
    return ""


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_calls_are_taken(page: str) -> None:
    found = calls((ROOT / page).read_text(encoding="utf-8"))
    assert [text for text in (refused(*call) for call in found) if text] == []


def test_calls_are_found() -> None:
    page = "```bash\nrr-export lint a.onnx  # b\n```\n\n```console\n$ rr-runtime check out\n```\n\n`rr-export run`\n"
    assert calls(page) == [("rr-export", "lint a.onnx"), ("rr-runtime", "check out")]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [("rr-export", "lint a --formt sarif"), ("rr-export", "lnt a"), ("rr-runtime", "check"), ("rr-runtime", "chk a")],
)
def test_calls_that_are_not_taken_are_found(program: str, arguments: str) -> None:
    assert refused(program, arguments)
