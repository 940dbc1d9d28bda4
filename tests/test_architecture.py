"""Holds the arrows between the modules: who may import whom, and who may import torch.

Imports are read from the source, wherever they stand: at the top, in a function, behind TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import rr_export
import rr_runtime

EXPORTER = Path(rr_export.__file__).parent
RUNTIME = Path(rr_runtime.__file__).parent

# A layer imports itself and the layers before it. `rr_export` is the package's own __init__.py.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "quiet", "policies", "site", "paths", "plan", "manifest"}),
    frozenset({"run", "sites", "wrap", "signature", "recorder", "python", "capture"}),
    frozenset({"lowering"}),
    frozenset({"passes"}),
    frozenset({"weights"}),
    frozenset({"bundle"}),
    frozenset({"routing"}),
    frozenset({"targets"}),
    frozenset({"lint", "inspection", "report"}),
    frozenset({"parity"}),
    frozenset({"export"}),
    frozenset({"tools"}),
    frozenset({"rr_export"}),
    frozenset({"cli", "demo", "__main__"}),
)
IMPORT_TORCH = frozenset(
    {
        *("run", "sites", "wrap", "signature", "recorder", "python", "capture"),
        "lowering",
        "parity",
        # Glue, which is handed modules and tensors by its callers:
        *("export", "demo"),
    }
)
TORCH = frozenset({"torch", "torchvision", "torchaudio", "transformers"})
RUNTIME_IMPORTS = frozenset({"numpy", "onnxruntime", "rr_runtime", *sys.stdlib_module_names})


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
    """Returns the name that LAYERS knows a module by: its first name below the package."""
    return module.split(".")[1] if "." in module else module


def layer_of(module: str) -> int | None:
    """Returns the index of the module's layer, None where LAYERS does not name it."""
    return next((index for index, layer in enumerate(LAYERS) if part_of(module) in layer), None)


def broken_arrows(package: Path) -> list[str]:
    """Returns one line for each import in an exporter's folder that its architecture forbids."""
    imports = imports_in(package)
    broken = cycles_among(imports)
    for module, targets in imports.items():
        layer = layer_of(module)
        if layer is None:
            broken.append(f"{module}: expected a module that LAYERS names; give it a layer")
            continue
        for target in sorted(targets):
            root = target.split(".")[0]
            if root == package.name:
                other = layer_of(target)
                if other is not None and other > layer:
                    broken.append(f"{module}: imports {target}, which stands after it")
            elif root in TORCH and part_of(module) not in IMPORT_TORCH:
                broken.append(f"{module}: imports {target}, where no torch is allowed")
    return broken


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
    assert foreign_imports(RUNTIME, RUNTIME_IMPORTS) == []


def test_runtime_has_no_cycles() -> None:
    assert cycles_among(imports_in(RUNTIME)) == []


def test_runtime_imports_without_torch_onnx_and_exporter() -> None:
    result = import_without(RUNTIME, ("torch", "onnx", "onnx_ir", "onnxscript", "rr_export"))
    assert result.returncode == 0, result.stderr


def test_sound_tree_passes(tmp_path: Path) -> None:
    tree = write_package(
        tmp_path / "rr_export",
        {
            "__init__.py": "from rr_export.bundle import Bundle\n",
            "plan.py": "import numpy as np\nfrom . import policies\n",
            "policies.py": "import numpy\n",
            "sites.py": "import torch\nfrom rr_export.plan import Plan\n",
            "lowering/sink.py": "from ..plan import Plan\nfrom . import reach\nimport rr_export.capture\n",
            "lowering/reach.py": "import torch\n",
            "capture.py": "import torch\n",
            "bundle.py": "from rr_export.lowering import lower\n",
            "parity/paths.py": "import torch\nfrom rr_export.bundle import Bundle\n",
            "cli.py": "import rr_export as rr\n",
        },
    )
    assert broken_arrows(tree) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"plan.py": "from rr_export.sites import Site\n", "sites.py": ""},
            ["rr_export.plan: imports rr_export.sites, which stands after it"],
            id="upward",
        ),
        pytest.param(
            {"plan.py": "from .sites import Site\n", "sites.py": ""},
            ["rr_export.plan: imports rr_export.sites, which stands after it"],
            id="upward, relative",
        ),
        pytest.param(
            {"lowering/sink.py": "from ..parity import paths\n", "parity/paths.py": ""},
            ["rr_export.lowering.sink: imports rr_export.parity.paths, which stands after it"],
            id="upward, from a folder",
        ),
        pytest.param(
            {
                "capture.py": "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from rr_export.bundle import Bundle\n",
                "bundle.py": "",
            },
            ["rr_export.capture: imports rr_export.bundle, which stands after it"],
            id="behind TYPE_CHECKING",
        ),
        pytest.param(
            {"lowering/sink.py": "def sink():\n    import rr_export.cli\n", "cli.py": ""},
            ["rr_export.lowering.sink: imports rr_export.cli, which stands after it"],
            id="in a function",
        ),
        pytest.param(
            {"plan.py": "import importlib\nimportlib.import_module('torch')\n"},
            ["rr_export.plan: imports torch, where no torch is allowed"],
            id="by import_module",
        ),
        pytest.param(
            {"bundle.py": "import rr_export\n"},
            ["rr_export.bundle: imports rr_export, which stands after it"],
            id="the package itself",
        ),
        pytest.param(
            {"run.py": "from . import sites\n", "sites.py": "from .run import Choice\n"},
            ["cycle: rr_export.run -> rr_export.sites -> rr_export.run"],
            id="cycle in one layer",
        ),
        pytest.param(
            {"policies.py": "from torch import nn\n"},
            ["rr_export.policies: imports torch, where no torch is allowed"],
            id="torch in policies",
        ),
        pytest.param(
            {"passes/fold.py": "import torch.nn\n"},
            ["rr_export.passes.fold: imports torch.nn, where no torch is allowed"],
            id="torch after lowering",
        ),
        pytest.param(
            {"helpers.py": ""},
            ["rr_export.helpers: expected a module that LAYERS names; give it a layer"],
            id="unknown module",
        ),
    ],
)
def test_broken_tree_is_rejected(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    assert broken_arrows(write_package(tmp_path / "rr_export", files)) == expected


@pytest.mark.parametrize("name", ["torch", "rr_export.plan", "onnx"])
def test_runtime_that_imports_more_is_rejected(name: str, tmp_path: Path) -> None:
    source = f"def late():\n    import {name}\n"
    tree = write_package(tmp_path / "rr_runtime", {"session.py": source})
    assert foreign_imports(tree, RUNTIME_IMPORTS) == [f"rr_runtime.session: imports {name}"]


def test_runtime_that_needs_torch_fails_without_it(tmp_path: Path) -> None:
    tree = write_package(tmp_path / "rr_runtime", {"session.py": "import torch\n"})
    result = import_without(tree, ("torch",))
    assert result.returncode == 1
    assert "import of torch halted" in result.stderr
