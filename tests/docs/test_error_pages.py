"""Every error has a page, whose quotes are texts that the sources hold; the command line names it."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import io
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

import rr_export.errors
import rr_runtime.errors
from rr_export.cli import cli, error_pages, main
from rr_export.cli import explain as command
from rr_export.cli.error_pages import MODEL_FAILED, PAGES, page_of
from rr_runtime.cli import docs_pages, run_command
from website.links import ROOT

FOLDER = ROOT / "docs" / "errors"
PACKAGES = {"rr_export": ROOT / "rr_export", "rr_runtime": ROOT / "runtimes" / "python" / "rr_runtime"}
ERRORS = {
    (package.__name__.partition(".")[0], name): error
    for package in (rr_export.errors, rr_runtime.errors)
    for name, error in inspect.getmembers(package, inspect.isclass)
    if issubclass(error, Exception)
}


@functools.cache
def texts() -> str:
    """All texts of both packages, what is computed in them as "..."."""
    found = []
    for package in PACKAGES.values():
        for file in sorted(package.rglob("*.py")):
            found += [text_of(node) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    return "\0".join(text for text in found if text)


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "..." for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def quotes(page: Path) -> list[str]:
    """What the first columns of a page's tables say."""
    cells = re.findall(r"^\| (`.+?`) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [quote for cell in cells for quote in re.findall("`(.+?)`", cell)]


def unknown(quote: str) -> list[str]:
    """The parts of a quote that no text holds."""
    parts = [part.strip() for part in quote.split("...")]
    return [part for part in parts if len(part) > 3 and part not in texts()]


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_quotes_are_texts_of_the_sources(page: Path) -> None:
    assert page.stem == "index" or quotes(page)
    assert {quote: unknown(quote) for quote in quotes(page) if unknown(quote)} == {}


# Whose wrong arguments a command line says: those of a run, and of the commands themselves.
RUNS = ("arguments", "asked", "command_runs", "designs", "ensemble", "file_places", "form_check", "given_inputs")
LISTED = (*RUNS, "array_files", "golden", "images", "output_files", "profile", "session", "texts")
RUNS_AND_COMMANDS = [
    *(PACKAGES["rr_runtime"] / f"{name}.py" for name in LISTED),
    *sorted((PACKAGES["rr_export"] / "cli").glob("*.py")),
]
OF_ARGUMENTS = ("ValueError", "TypeError", "click.UsageError")


def raised(files: Iterable[Path], *names: str) -> list[str]:
    """The texts with which errors of some names are raised, apart from those that are computed as a whole."""
    found = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                text = text_of(node.exc.args[0])
                computed = text.endswith("; ...") or not re.search(r"expected [\w-]", text)
                found += [text] if ast.unparse(node.exc.func) in names and not computed else []
    return found


def unquoted(texts: Iterable[str], *pages: str) -> list[str]:
    """The texts that no quote of the pages stands for: one all of whose parts are in the text."""
    said = [quote.split("...") for page in pages for quote in quotes(ROOT / "docs" / page)]
    return [text for text in texts if not any(all(part.strip() in text for part in quote) for quote in said)]


@pytest.mark.parametrize(("package", "name"), ERRORS, ids=lambda part: part)
def test_every_text_of_an_error_is_on_its_page(package: str, name: str) -> None:
    texts = raised(sorted(PACKAGES[package].rglob("*.py")), name)
    assert unquoted(texts, PAGES[package, name], MODEL_FAILED) == []


def test_wrong_arguments_of_the_command_line_are_on_their_page() -> None:
    texts = raised(RUNS_AND_COMMANDS, *OF_ARGUMENTS)
    assert len(texts) > 90 and unquoted(texts, error_pages.ARGUMENTS) == []


def test_texts_without_a_quote_are_found() -> None:
    text = "--mean: expected a colour, got none; name one"
    assert unquoted([text], error_pages.ARGUMENTS) == [text]


def test_quotes_that_no_text_holds_are_found() -> None:
    assert unknown("expected a model in evaluation mode, got training mode in ... and then some") == ["and then some"]


def test_every_error_has_its_page() -> None:
    assert ERRORS.keys() <= PAGES.keys()
    pages = {*PAGES.values(), MODEL_FAILED}
    assert {f"errors/{page.name}" for page in FOLDER.glob("*.md")} == pages
    for (_, name), page in PAGES.items():
        title = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()[0]
        assert name in title or page == error_pages.INDEX


def explain(page: str) -> str:
    """The command that prints a page."""
    return "rr-export explain" + ("" if page == error_pages.INDEX else f" {Path(page).stem}")


def test_an_error_names_its_page() -> None:
    for (package, name), error in ERRORS.items():
        assert page_of(error("text")) == explain(PAGES[package, name])
    assert page_of(UnicodeDecodeError("utf-8", b"", 0, 1, "")) == "rr-export explain arguments"
    assert page_of(OSError("text")) is None


def test_the_runtime_names_the_same_pages(capsys: pytest.CaptureFixture[str]) -> None:
    for (package, name), page in PAGES.items():
        kind = ERRORS.get((package, name)) or getattr(builtins, name)
        if package != "rr_export":
            assert docs_pages.page_of(kind("text")) == f"{explain(page)} (where rr-export is installed)"
    assert run_command(["info", "no_such_folder"]) == 2
    assert capsys.readouterr().err.endswith("\nsee rr-export explain runtime-bundle (where rr-export is installed)\n")


def test_a_site_that_is_published_is_named_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_pages, "_site", lambda: "https://host/docs/")
    assert page_of(rr_export.errors.PlanError("text")) == "https://host/docs/errors/plan.html"


def test_the_command_line_prints_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    for page in {*PAGES.values(), MODEL_FAILED}:
        shown = CliRunner().invoke(cli, explain(page).split()[1:])
        assert (shown.exit_code, shown.output) == (0, (ROOT / "docs" / page).read_text(encoding="utf-8"))
    monkeypatch.setattr(command, "out", Console(force_terminal=True, width=80, file=io.StringIO()))
    assert CliRunner().invoke(cli, ["explain", "plan"]).exit_code == 0
    shown = command.out.file.getvalue()
    assert "PlanError" in shown and "route_layers" in shown and "| `" not in shown


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        (["lint", "no_such.onnx"], "lint"),
        (["verify", "no_such"], "arguments"),
        (["lint"], "arguments"),
        (["run", "no_such"], "runtime-bundle"),
    ],
)
def test_bug_errors_named_no_page(arguments: list[str], page: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"\nsee rr-export explain {page}\n")


def test_the_command_line_names_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", "no_such_folder"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("\nsee rr-export explain bundle\n")
