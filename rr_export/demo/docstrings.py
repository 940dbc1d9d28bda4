"""What the delta learns from: what functions and classes of installed packages say of themselves, and their names.

None of it is of the standard library, whose functions the demo searches.
"""

from __future__ import annotations

import ast
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    *("numpy", "scipy", "sklearn", "torch", "transformers", "matplotlib", "networkx", "sympy", "onnx", "PIL"),
    *("requests", "rich", "jinja2", "click"),
)  # those of them that are installed
WORDS = range(4, 25)  # of a sentence
SENTENCES, NAMES = 12000, 3000  # how many, of which so many are there with their names too
SHORT = 5  # letters of a name that says too little


@dataclass(frozen=True)
class Documented:
    """A function or class, and what it says of itself.

    Attributes:
        name: its own, without those of what it is in.
        docstring: without indentation; empty if there is none.
    """

    name: str
    docstring: str


def source_files(package: str) -> list[Path]:
    """Returns the Python files of an installed package, sorted; none if it is not installed. Nothing is imported."""
    spec = find_spec(package)
    folders = () if spec is None else spec.submodule_search_locations or ()
    return [file for folder in folders for file in sorted(Path(folder).rglob("*.py"))]


def documented(file: Path) -> list[Documented]:
    """Returns the functions and classes of a file, the outer ones first; none of a template, or what is not UTF-8."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return []
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [Documented(n.name, ast.get_docstring(n) or "") for n in _statements(tree) if isinstance(n, kinds)]


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yields in the order of ``ast.walk``, without the expressions, in which nothing is defined."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        for part in ("body", "handlers", "orelse", "finalbody", "cases"):
            waiting.extend(getattr(node, part, ()))


def read_texts(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Returns sentences and names without duplicates, in an order drawn from the seed 0."""
    found: dict[str, str] = {}
    for package in packages:
        for file in source_files(package):
            for sentence, name in _sentences(file):
                found.setdefault(sentence, name)
    items = list(found.items())
    random.Random(0).shuffle(items)
    chosen = items[:SENTENCES]
    names = [name.replace("_", " ").strip() for _, name in chosen[:NAMES] if len(name) > SHORT]
    return list(dict.fromkeys([*(sentence for sentence, _ in chosen), *names]))


def _sentences(file: Path) -> list[tuple[str, str]]:
    """The first sentence of every docstring in a file, with the name of what it describes."""
    found = []
    for item in documented(file):
        paragraph = " ".join(item.docstring.split("\n\n")[0].split())
        sentence = paragraph.split(". ")[0].strip().rstrip(".")
        if len(sentence.split()) in WORDS and sentence.isascii():
            found.append((sentence, item.name))
    return found
