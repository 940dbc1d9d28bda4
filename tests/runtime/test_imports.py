"""The package stands alone: onnxruntime, numpy and the standard library, and it is typed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rr_runtime

PACKAGE = Path(rr_runtime.__file__).parent
ALLOWED = {"numpy", "onnxruntime", "rr_runtime", *sys.stdlib_module_names}


def run_python(script: str) -> str:
    """Returns what a script prints in a new process that finds the package."""
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_source_imports_nothing_else() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= ALLOWED, file


def test_import_brings_no_torch_onnx_or_exporter() -> None:
    names = {"torch", "onnx", "onnx_ir", "onnxscript", "rr_export"}
    script = f"import sys, rr_runtime; rr_runtime.Session; print(*{names} & set(sys.modules))"
    assert run_python(script).strip() == ""


def test_import_brings_a_name_when_it_is_asked_for() -> None:
    script = (
        "import sys, rr_runtime; print('onnxruntime' in sys.modules, 'Session' in dir(rr_runtime))\n"
        "import rr_runtime.draws, rr_runtime.providers\n"
        "print(callable(rr_runtime.draws), callable(rr_runtime.providers), rr_runtime.Session.__module__)\n"
    )
    assert run_python(script).split() == ["False", "True", "True", "True", "rr_runtime.session"]


def test_import_prints_nothing_and_leaves_the_random_seeds() -> None:
    script = (
        "import random, numpy, onnxruntime\n"
        "seeds = []\n"
        "onnxruntime.set_seed = seeds.append\n"
        "before = random.getstate(), numpy.random.get_state()[1].tolist()\n"
        "import rr_runtime; rr_runtime.Session\n"
        "assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before and not seeds\n"
    )
    assert run_python(script) == ""


def test_package_is_typed_and_its_version_is_the_project_s() -> None:
    assert (PACKAGE / "py.typed").is_file()
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no reader of TOML")
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert rr_runtime.__version__ == project["version"]
    assert {dependency.split(">")[0] for dependency in project["dependencies"]} == {"numpy", "onnxruntime"}
