"""What the delta learns from: what functions and classes of installed packages say of themselves, and their names.

None of it is of the standard library, whose functions the demo searches.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

PACKAGES = (
    *("numpy", "scipy", "sklearn", "torch", "transformers", "matplotlib", "networkx", "sympy", "onnx", "PIL"),
    *("requests", "rich", "jinja2", "click"),
)  # those of them that are installed
WORDS = range(4, 25)  # of a sentence
SENTENCES, NAMES = 12000, 3000  # how many, of which so many are there with their names too
SHORT = 5  # letters of a name that says too little


def read_texts(packages: Sequence[str] = PACKAGES) -> list[str]:
    """Returns sentences and names without duplicates, in an order drawn from the seed 0."""
    found: dict[str, str] = {}
    for package in packages:
        spec = find_spec(package)
        for folder in () if spec is None else spec.submodule_search_locations or ():
            for file in sorted(Path(folder).rglob("*.py")):
                for sentence, name in _sentences(file):
                    found.setdefault(sentence, name)
    items = list(found.items())
    random.Random(0).shuffle(items)
    chosen = items[:SENTENCES]
    names = [name.replace("_", " ").strip() for _, name in chosen[:NAMES] if len(name) > SHORT]
    return list(dict.fromkeys([*(sentence for sentence, _ in chosen), *names]))


def _sentences(file: Path) -> list[tuple[str, str]]:
    """The first sentence of every docstring in a file, with the name of what it describes."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):  # templates, and what is not UTF-8
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            paragraph = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
            sentence = paragraph.split(". ")[0].strip().rstrip(".")
            if len(sentence.split()) in WORDS and sentence.isascii():
                found.append((sentence, node.name))
    return found
