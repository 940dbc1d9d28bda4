"""Holds the arrows between the modules: who may import whom, and who may import torch.

Imports are read from the source, wherever they stand: at the top, in a function, behind TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

import rr_export
import rr_runtime

EXPORTER = Path(rr_export.__file__).parent
RUNTIME = Path(rr_runtime.__file__).parent

# A part imports itself and the parts of the floors before its own. `rr_export` is the package's own __init__.py.
FLOORS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "extras", "content_digest", "late_sympy", "quiet_loggers"}),
    frozenset({"laws", "passes", "sweep", "report"}),
    frozenset({"eager", "bundle"}),
    frozenset({"capture", "training"}),
    frozenset({"wrap", "lowering"}),
    frozenset({"targets", "lint", "sources"}),
    frozenset({"parity", "tools"}),
    frozenset({"diff", "export", "packaging", "quality"}),
    frozenset({"rr_export", "demo", "overview"}),
    frozenset({"cli", "pytest_plugin"}),
    frozenset({"__main__"}),
)
IMPORT_TORCH = frozenset(
    {
        *("eager", "training", "capture", "wrap", "sources", "parity"),
        # Glue, which is handed modules and tensors by its callers:
        *("export", "demo"),
    }
)
TORCH = frozenset({"torch", "torchvision", "torchaudio", "transformers", "timm", "safetensors"})
MOST_LINES = 500  # of a file: above that it has more than one job
# names of files that mean the same thing in several folders
SAME_JOB = {
    "bench": "measures, and shows what was measured",
    "cli": "the command line of a package",
    "bundle": "what is shipped, as it is made and as it is opened",
    "divergence": "where two models part: found, and said",
    "doctor": "asks the providers of this machine, and shows what they said",
    "errors": "the errors of a package",
    "manifest": "what a bundle says about itself, written and read",
    "place": "finds where nodes run, and shows it",
    "profile": "another law over the sites of a bundle, written and read",
    "report": "what was found, for people and machines",
    "tools": "measures a bundle on this machine, and shows what was measured",
    "routes": "from draws to routes, in the graph and in numpy",
}
ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- the house: begin -->", "<!-- the house: end -->"
RUNTIME_IMPORTS = frozenset({"numpy", "onnxruntime", "rr_runtime", *sys.stdlib_module_names})
RUNTIME_EXTRAS = frozenset({"PIL.Image", "PIL.ImageOps", "tokenizers"})  # where they are there


def modules_in(package: Path) -> dict[str, Path]:
    """Returns the dotted name of every module in the package's folder, with its file."""
    modules = {}
    for file in sorted(package.rglob("*.py")):
        parts = [package.name, *file.relative_to(package).with_suffix("").parts]
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return modules


def imports_of(module: str, file: Path, known: Iterable[str]) -> set[str]:
    """Returns the dotted name of everything that a file imports, wherever in it the import stands.

    `from a import b` is `a.b` where that is one of the known modules, and `a` otherwise.
    """
    known = set(known)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        match node:
            case ast.Import(names=names):
                found |= {alias.name for alias in names}
            case ast.ImportFrom(module=source, names=names, level=level):
                parents = package.split(".")[: package.count(".") + 2 - level] if level else []
                origin = ".".join([*parents, *([source] if source else [])])
                inner = {f"{origin}.{alias.name}" for alias in names}
                found |= inner & known
                if inner - known:
                    found.add(origin)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found.add(name)
    return found


def imports_in(package: Path) -> dict[str, set[str]]:
    """Returns what every module of a package imports, by dotted name."""
    modules = modules_in(package)
    return {module: imports_of(module, file, modules) for module, file in modules.items()}


def cycles_among(imports: Mapping[str, set[str]]) -> list[str]:
    """Returns one line per cycle of modules that import each other."""
    cycles = []
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        if module in trail:
            cycles.append("cycle: " + " -> ".join([*trail[trail.index(module) :], module]))
        elif module not in done:
            for target in sorted(imports[module] & imports.keys()):
                visit(target, (*trail, module))
            done.add(module)

    for module in imports:
        visit(module, ())
    return cycles


def part_of(module: str) -> str:
    """Returns the name that FLOORS knows a module by: its first name below the package."""
    return module.split(".")[1] if "." in module else module


def floor_of(module: str) -> int | None:
    """Returns the index of the module's floor, None where FLOORS does not name it."""
    return next((index for index, floor in enumerate(FLOORS) if part_of(module) in floor), None)


def broken_arrows(package: Path) -> list[str]:
    """Returns one line for each import in an exporter's folder that its architecture forbids."""
    imports = imports_in(package)
    broken = cycles_among(imports)
    for module, targets in imports.items():
        floor = floor_of(module)
        if floor is None:
            broken.append(f"{module}: expected a module that FLOORS names; give it a floor")
            continue
        for target in sorted(targets):
            root = target.split(".")[0]
            if root == package.name:
                other = floor_of(target)
                if other is not None and other >= floor and part_of(target) != part_of(module):
                    broken.append(
                        f"{module}: imports {target}, which stands {'after' if other > floor else 'beside'} it"
                    )
            elif root in TORCH and part_of(module) not in IMPORT_TORCH:
                broken.append(f"{module}: imports {target}, where no torch is allowed")
    return broken


def twins_among(packages: Sequence[Path]) -> list[str]:
    """Returns one line for each file name that means several things.

    A command of the command line is called as the function that it calls, and a file of the runtime as the one of the
    exporter that does the same job there.
    """
    places: dict[str, list[str]] = {}
    for package in packages:
        for module in modules_in(package):
            name = module.rpartition(".")[2]
            if not name.startswith("__") and ".cli." not in module:
                places.setdefault(name, []).append(module)
    return [
        f"{name}: {', '.join(modules)}"
        for name, modules in sorted(places.items())
        if len(modules) > 1 and name not in SAME_JOB and not _is_face(modules)
    ]


def _is_face(modules: Sequence[str]) -> bool:
    """Whether these are a folder and the file of its name in it."""
    return len(modules) == 2 and modules[1] == f"{modules[0]}.{modules[0].rpartition('.')[2]}"


def defined_twice(package: Path) -> list[str]:
    """Returns one line for each public class or function that stands in several files; commands are called alike."""
    places: dict[str, list[str]] = {}
    for module, file in modules_in(package).items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != "_" and ".cli" not in module:
                places.setdefault(node.name, []).append(module)
    return [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1 and name != "main"]


def long_files(folders: Iterable[Path]) -> list[str]:
    """Returns one line for each file of code above ``MOST_LINES`` lines."""
    counts = {
        file: len(file.read_text(encoding="utf-8").splitlines())
        for folder in folders
        for file in sorted(folder.rglob("*.py"))
    }
    return [f"{file.name}: {count} lines; split it by job" for file, count in counts.items() if count > MOST_LINES]


def drawn_into(text: str) -> str:
    """Returns a page in which the table of parts is that of the exporter as it is."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{picture(EXPORTER)}{END}{after}"


def picture(package: Path) -> str:
    """Returns the parts of the exporter as a Markdown table: floor, part, purpose, what it depends on."""
    files, needs = modules_in(package), dict[str, set[str]]()
    for module, targets in imports_in(package).items():
        inner = {part_of(t) for t in targets if t.split(".")[0] == package.name}
        needs.setdefault(part_of(module), set()).update(inner - {part_of(module)})
    rows = ["| floor | part | purpose | depends on |", "|---|---|---|---|"]
    for number, floor in enumerate(FLOORS):
        for part in sorted(floor & needs.keys()):
            file = files[package.name if part == package.name else f"{package.name}.{part}"]
            purpose = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            others = sorted(needs[part], key=lambda p: (floor_of(f"{package.name}.{p}") or 0, p))
            shown = f"`{part}/`" if file.name == "__init__.py" and part != package.name else f"`{part}`"
            rows.append(
                f"| {number} | {shown} | {' '.join(purpose.partition(chr(10) * 2)[0].split())} | {', '.join(others)} |"
            )
    return "\n".join(rows) + "\n"


def foreign_imports(package: Path, allowed: frozenset[str]) -> list[str]:
    """Returns one line for each import of a package whose root is not allowed."""
    return [
        f"{module}: imports {target}"
        for module, targets in imports_in(package).items()
        for target in sorted(targets)
        if target.split(".")[0] not in allowed
    ]


def import_without(package: Path, blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Imports every module of a package in a new process in which the blocked ones cannot be imported."""
    script = "import importlib, sys\n"
    script += f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
    script += f"for module in {sorted(modules_in(package))!r}: importlib.import_module(module)\n"
    search = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def write_package(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes a package with these files, and an __init__.py in each of its folders; returns its folder."""
    for name, source in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    for inner in {file.parent for file in folder.rglob("*.py")} | {folder}:
        (inner / "__init__.py").touch()
    return folder


def test_exporter_keeps_its_arrows() -> None:
    assert broken_arrows(EXPORTER) == []


def test_runtime_imports_only_numpy_and_onnxruntime() -> None:
    found = foreign_imports(RUNTIME, RUNTIME_IMPORTS)
    assert [line for line in found if line.rpartition(" ")[2] not in RUNTIME_EXTRAS] == []


def test_runtime_has_no_cycles() -> None:
    assert cycles_among(imports_in(RUNTIME)) == []


def test_runtime_imports_without_torch_onnx_and_exporter() -> None:
    result = import_without(RUNTIME, ("torch", "onnx", "onnx_ir", "onnxscript", "rr_export", "PIL", "tokenizers"))
    assert result.returncode == 0, result.stderr


def test_sound_tree_passes(tmp_path: Path) -> None:
    tree = write_package(
        tmp_path / "rr_export",
        {
            "__init__.py": "from rr_export.bundle.bundle import Bundle\n",
            "laws/plan.py": "import numpy as np\nfrom . import policies\n",
            "laws/policies.py": "import numpy\n",
            "eager/sites.py": "import torch\nfrom rr_export.laws.plan import Plan\n",
            "lowering/sink.py": "from ..laws.plan import Plan\nfrom . import reach\nimport rr_export.capture.trace\n",
            "lowering/reach.py": "import onnx_ir\n",
            "capture/trace.py": "import torch\n",
            "bundle/bundle.py": "from rr_export.passes import simplify\n",
            "passes/simplify.py": "",
            "parity/paths.py": "import torch\nfrom rr_export.bundle.bundle import Bundle\n",
            "cli.py": "import rr_export as rr\n",
        },
    )
    assert broken_arrows(tree) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"laws/plan.py": "from rr_export.eager.sites import Site\n", "eager/sites.py": ""},
            ["rr_export.laws.plan: imports rr_export.eager.sites, which stands after it"],
            id="upward",
        ),
        pytest.param(
            {"laws/plan.py": "from ..eager.sites import Site\n", "eager/sites.py": ""},
            ["rr_export.laws.plan: imports rr_export.eager.sites, which stands after it"],
            id="upward, relative",
        ),
        pytest.param(
            {"lowering/sink.py": "from ..parity import paths\n", "parity/paths.py": ""},
            ["rr_export.lowering.sink: imports rr_export.parity.paths, which stands after it"],
            id="upward, from a folder",
        ),
        pytest.param(
            {"lint/dataflow.py": "from rr_export.targets.split import split\n", "targets/split.py": ""},
            ["rr_export.lint.dataflow: imports rr_export.targets.split, which stands beside it"],
            id="sideways",
        ),
        pytest.param(
            {
                "capture/trace.py": "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from rr_export.targets.split import split\n",
                "targets/split.py": "",
            },
            ["rr_export.capture.trace: imports rr_export.targets.split, which stands after it"],
            id="behind TYPE_CHECKING",
        ),
        pytest.param(
            {"lowering/sink.py": "def sink():\n    import rr_export.cli\n", "cli.py": ""},
            ["rr_export.lowering.sink: imports rr_export.cli, which stands after it"],
            id="in a function",
        ),
        pytest.param(
            {"laws/plan.py": "import importlib\nimportlib.import_module('torch')\n"},
            ["rr_export.laws.plan: imports torch, where no torch is allowed"],
            id="by import_module",
        ),
        pytest.param(
            {"bundle/bundle.py": "import rr_export\n"},
            ["rr_export.bundle.bundle: imports rr_export, which stands after it"],
            id="the package itself",
        ),
        pytest.param(
            {"eager/run.py": "from . import sites\n", "eager/sites.py": "from .run import Choice\n"},
            ["cycle: rr_export.eager.run -> rr_export.eager.sites -> rr_export.eager.run"],
            id="cycle in one part",
        ),
        pytest.param(
            {"laws/policies.py": "from torch import nn\n"},
            ["rr_export.laws.policies: imports torch, where no torch is allowed"],
            id="torch in policies",
        ),
        pytest.param(
            {"passes/fold.py": "import torch.nn\n"},
            ["rr_export.passes.fold: imports torch.nn, where no torch is allowed"],
            id="torch in a pass",
        ),
        pytest.param(
            {"helpers.py": ""},
            ["rr_export.helpers: expected a module that FLOORS names; give it a floor"],
            id="unknown module",
        ),
    ],
)
def test_broken_tree_is_rejected(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    assert broken_arrows(write_package(tmp_path / "rr_export", files)) == expected


def test_one_name_is_one_thing() -> None:
    assert twins_among([EXPORTER, RUNTIME]) == []


def test_twins_are_rejected(tmp_path: Path) -> None:
    tree = write_package(
        tmp_path / "rr_export",
        {"laws/paths.py": "", "parity/paths.py": "", "lint/lint.py": "", "cli/place.py": "", "tools/place.py": ""},
    )
    assert twins_among([tree]) == ["paths: rr_export.laws.paths, rr_export.parity.paths"]


@pytest.mark.parametrize("package", [EXPORTER, RUNTIME], ids=["rr_export", "rr_runtime"])
def test_one_definition_is_one_thing(package: Path) -> None:
    assert defined_twice(package) == []


def test_second_definition_is_rejected(tmp_path: Path) -> None:
    tree = write_package(
        tmp_path / "rr_export",
        {"laws/plan.py": "class Gate: ...", "lint/report.py": "class Gate: ...\ndef _own(): ..."},
    )
    assert defined_twice(tree) == ["Gate: rr_export.laws.plan, rr_export.lint.report"]


def test_no_file_is_too_long() -> None:
    assert long_files([folder for folder in ROOT.iterdir() if folder.is_dir() and folder.name[0] != "."]) == []


def test_long_file_is_rejected(tmp_path: Path) -> None:
    tree = write_package(tmp_path / "rr_export", {"laws/plan.py": "\n" * (MOST_LINES + 1)})
    assert long_files([tree]) == [f"plan.py: {MOST_LINES + 1} lines; split it by job"]


def test_page_shows_the_house() -> None:
    """``python -m tests.test_architecture`` writes it again."""
    text = PAGE.read_text(encoding="utf-8")
    assert drawn_into(text) == text


@pytest.mark.parametrize("name", ["torch", "rr_export.laws.plan", "onnx"])
def test_runtime_that_imports_more_is_rejected(name: str, tmp_path: Path) -> None:
    source = f"def late():\n    import {name}\n"
    tree = write_package(tmp_path / "rr_runtime", {"session.py": source})
    assert foreign_imports(tree, RUNTIME_IMPORTS) == [f"rr_runtime.session: imports {name}"]


def test_runtime_that_needs_torch_fails_without_it(tmp_path: Path) -> None:
    tree = write_package(tmp_path / "rr_runtime", {"session.py": "import torch\n"})
    result = import_without(tree, ("torch",))
    assert result.returncode == 1
    assert "import of torch halted" in result.stderr


if __name__ == "__main__":
    PAGE.write_text(drawn_into(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
