"""Which page of the documentation says more of an error: what the command line names beside its text, and its text."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from rr_export.cli.failures import failure_of_users

LINT = "errors/lint.md"
MODEL_FAILED = "errors/model-failed.md"
ARGUMENTS = "errors/arguments.md"
INDEX = "errors/index.md"
# By the package that raises an error and the name of its class; of what has no page of its own, that of its base.
PAGES = {
    ("rr_export", "PlanError"): "errors/plan.md",
    ("rr_export", "RunError"): "errors/run.md",
    ("rr_export", "CaptureError"): "errors/capture.md",
    ("rr_export", "LoweringError"): "errors/lowering.md",
    ("rr_export", "BundleError"): "errors/bundle.md",
    ("rr_export", "PackageError"): "errors/package.md",
    ("rr_export", "LintError"): LINT,
    ("rr_export", "ParityError"): "errors/parity.md",
    ("rr_export", "SourceError"): "errors/source.md",
    ("rr_export", "SweepError"): "errors/sweep.md",
    ("rr_export", "RRExportError"): INDEX,
    ("rr_runtime", "BundleError"): "errors/runtime-bundle.md",
    ("rr_runtime", "ProviderError"): "errors/provider.md",
    ("rr_runtime", "RuntimeFailure"): "errors/runtime-failure.md",
    ("builtins", "ValueError"): ARGUMENTS,
    ("builtins", "TypeError"): ARGUMENTS,
}
NAMES = sorted({Path(page).stem for page in (*PAGES.values(), MODEL_FAILED)})  # of the pages
CARRIED = Path(__file__).parents[1] / "error_pages"  # in what is installed: hatch_build.py
CHECKOUT = Path(__file__).parents[2] / "docs" / "errors"


def page_of(error: BaseException) -> str | None:
    """Returns where the page of an error can be read, None where it has none."""
    if failure_of_users(error) is not None:
        return place_of(MODEL_FAILED)
    for kind in type(error).__mro__:
        page = PAGES.get((kind.__module__.partition(".")[0], kind.__name__))
        if page is not None:
            return place_of(page)
    return None


def place_of(page: str) -> str:
    """Returns where a page can be read: on the site, where the project's metadata name one, else by which command.

    Args:
        page: its file, from ``docs/`` on.
    """
    site = _site()
    if site is not None:
        return f"{site.rstrip('/')}/{page.removesuffix('.md')}.html"
    return "rr-export explain" + ("" if page == INDEX else f" {Path(page).stem}")


def read_page(name: str) -> str:
    """Returns the text of a page, Markdown; of an installation that carries none, it is that of the checkout."""
    folder = CARRIED if CARRIED.is_dir() else CHECKOUT
    return (folder / f"{name}.md").read_text(encoding="utf-8")


def _site() -> str | None:
    """The address of the documentation: ``Documentation`` of [project.urls] in pyproject.toml."""
    try:
        urls = metadata("rr-export").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a folder that is not installed
        return None
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation")
