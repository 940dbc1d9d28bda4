"""Which page of the documentation says more of an error: what the command line names beside its text."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata

from rr_export.cli.failures import failure_of_users

# By the package that raises an error and the name of its class; of what has no page of its own, that of its base.
PAGES = {
    ("rr_export", "PlanError"): "errors/plan.md",
    ("rr_export", "RunError"): "errors/run.md",
    ("rr_export", "CaptureError"): "errors/capture.md",
    ("rr_export", "LoweringError"): "errors/lowering.md",
    ("rr_export", "BundleError"): "errors/bundle.md",
    ("rr_export", "PackageError"): "errors/package.md",
    ("rr_export", "LintError"): "errors/lint.md",
    ("rr_export", "ParityError"): "errors/parity.md",
    ("rr_export", "SourceError"): "errors/source.md",
    ("rr_export", "SweepError"): "errors/sweep.md",
    ("rr_export", "RRExportError"): "errors/index.md",
    ("rr_runtime", "BundleError"): "errors/runtime-bundle.md",
    ("rr_runtime", "ProviderError"): "errors/provider.md",
    ("rr_runtime", "RuntimeFailure"): "errors/runtime-failure.md",
    ("builtins", "ValueError"): "errors/arguments.md",
    ("builtins", "TypeError"): "errors/arguments.md",
}
MODEL_FAILED = "errors/model-failed.md"
INDEX = "errors/index.md"


def page_of(error: BaseException) -> str | None:
    """Returns where the page of an error is, None where it has none."""
    if failure_of_users(error) is not None:
        return place_of(MODEL_FAILED)
    for kind in type(error).__mro__:
        page = PAGES.get((kind.__module__.partition(".")[0], kind.__name__))
        if page is not None:
            return place_of(page)
    return None


def place_of(page: str) -> str:
    """Returns where a page is: on the site, where the project's metadata name one, else in the repository.

    Args:
        page: its file, from ``docs/`` on.
    """
    site = _site()
    return f"docs/{page}" if site is None else f"{site.rstrip('/')}/{page.removesuffix('.md')}.html"


def _site() -> str | None:
    """The address of the documentation: ``Documentation`` of [project.urls] in pyproject.toml."""
    try:
        urls = metadata("rr-export").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a folder that is not installed
        return None
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation")
