"""The page of the models of packages: what becomes of each, why some are refused, and where the time goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.packages.case import HOLDS, Case, Judged

PAGE = Path(__file__).resolve().parents[2] / "docs" / "packages.md"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")


def write_page(cases: Sequence[Case], found: Mapping[str, Judged]) -> str:
    """Returns the page."""
    held = [found[case.name].seconds for case in cases if case.outcome == HOLDS]
    exports, proofs = ([seconds[part] for seconds in held] for part in (0, 1))
    lines = [
        "# Models of packages",
        "",
        f"{len(cases)} models of third-party packages, unchanged, small, with random weights:",
        f"{len(held)} are exported and proven by `verify`, {len(cases) - len(held)} are refused, and why. What is",
        "routed is layers, by the patterns named below, or what the model's own code decides, always or in training.",
        "",
        "Made by `python -m tests.packages`; do not edit. `make test-packages` runs them as tests, in an environment",
        f"of its own: {', '.join(f'{name} {version(name)}' for name in packages())}.",
        "",
        f"CPU time of an export: median {median(exports):.1f} s, longest {max(exports):.1f} s; of a proof: median",
        f"{median(proofs):.1f} s, longest {max(proofs):.1f} s. Seconds below: export, then proof.",
    ]
    package = ""
    for case in cases:
        if case.name.partition("/")[0] != package:
            package = case.name.partition("/")[0]
            lines += ["", f"## {package}", "", "| model | routed | outcome | seconds |", "|---|---|---|---|"]
        lines.append(f"{row(case)} {' + '.join(f'{s:.1f}' for s in found[case.name].seconds if s)} |")
    return "\n".join([*lines, ""])


def row(case: Case) -> str:
    """Returns the row of a model without its seconds."""
    said = f"{case.outcome}, {case.paths} paths" if case.paths else case.outcome
    said += f": {case.reason}" if case.reason else ""
    return f"| {case.name.partition('/')[2]} | {case.routing} | {said} |"


def packages() -> list[str]:
    """Returns the names of the packages whose models are tried."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    return [line.partition("==")[0] for line in lines if not line.startswith("#")]
