"""The tools in another environment, for which this one's interpreter stands in, and as a command of their own."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import rr_runtime
from rr_export.tools.measuring import measure
from rr_runtime.errors import RuntimeFailure
from tests.cli.test_commands import run

PYTHON = Path(sys.executable)


def script(folder: Path, text: str) -> Path:
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def test_another_python_gives_the_same_and_tells_how_far_it_is(two_layers: Path) -> None:
    told: list[tuple[str, int, int]] = []
    arguments = ["place", str(two_layers), "--provider", "cpu", "--runs", "6"]
    there = measure(arguments, python=PYTHON, progress=lambda *step: told.append(step))
    here = measure(arguments)
    assert there["parts"] == here["parts"] and there["nodes"] == here["nodes"]
    assert told[-1] == ("timing branches", 6, 6)


def test_its_errors_are_errors_here(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match=r"^nothing: expected a bundle folder or a model file"):
        measure(["place", "nothing", "--provider", "cpu"], python=PYTHON)
    with pytest.raises(RuntimeFailure, match="expected an interpreter, got"):
        measure(["doctor"], python=tmp_path / "nothing")
    with pytest.raises(RuntimeFailure, match="expected a result, got exit code 3: no numpy; check that it has"):
        measure(["doctor"], python=script(tmp_path, "echo no numpy >&2; exit 3"))
    with pytest.raises(RuntimeFailure, match="expected a result, got exit code 0"):
        measure(["doctor"], python=script(tmp_path, "echo hello"))


def test_the_command_line_takes_another_python(two_layers: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", str(two_layers), "--provider", "cpu", "--python", str(PYTHON), "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["providers"][0]["bundle"]["holds"]


def test_the_runtime_has_the_tools_without_torch(two_layers: Path) -> None:
    source = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'onnx_ir', 'rich', 'click', 'rr_export')))\n"
    )
    source += "from rr_runtime.cli import main; main()"
    command = [sys.executable, "-c", source, "place", str(two_layers), "--provider", "cpu", "--runs", "0", "--json"]
    folder = str(Path(rr_runtime.__file__).parent.parent)
    done = subprocess.run(command, env={"PYTHONPATH": folder}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["holds"]
