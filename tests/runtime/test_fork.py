"""A standalone session draws anew in every process that is forked from the one that opened it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime import handmade

HERE = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("single", [True, False], ids=["file", "folder"])
def test_bug_forked_processes_draw_differently(single: bool, tmp_path: Path) -> None:
    if single:
        place = handmade.write_file(tmp_path / "model.onnx", "standalone")
        other = handmade.write_file(tmp_path / "other.onnx", "plain")
    else:
        place = handmade.write_bundle(tmp_path / "bundle", "standalone")
        other = handmade.write_bundle(tmp_path / "other", "plain")
    path = os.pathsep.join([str(HERE), str(HERE / "runtimes" / "python")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.runtime.forked", str(place), str(other)],
        cwd=HERE, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # All paths of two processes agree with a probability below .28 ** 12, for any of 21 pairs below 1e-5.
    drawn = {json.dumps(paths) for paths in [*found["drawn"], found["parent"]]}
    assert len(drawn) == 7
    assert "expected the file that was opened before this process was forked, got another; open" in found["changed"]
    assert found["still"] == "ran"  # what was opened stays open
