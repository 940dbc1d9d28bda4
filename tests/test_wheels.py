"""The packages as users get them: what an index takes, and what a wheel does in an environment that has no torch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from torch import nn

import rr_export as rr
from tests.cli.test_report_files import SUMS
from tests.cli.test_start import NEED_TORCH, PYTHON, TORCH_FREE
from tests.cli.without_torch import run_commands
from tests.test_packaging import PROJECTS, ROOT, build, builds, metadata_of

pytestmark = builds
CONSTRAINTS = ROOT / "constraints.txt"
SOME = ("explain", "lint", "inspect", "profile", "run", "freeze", "verify")  # which together need all but scipy


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("wheels")
    return [build(folder, "wheel", out) for folder in PROJECTS.values()]


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, ``out``."""
    folder = tmp_path_factory.mktemp("bundle")
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(3)], nn.Linear(8, 2)).eval()
    rr.route_layers(model, "[0-2]", keep=0.8)
    rr.export(model, (torch.ones(2, 8),)).save(folder / "out")
    return folder


def twine_says(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twine", "--no-color", "check", "--strict", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_an_index_would_take_wheels_and_sources(wheels: list[Path], tmp_path: Path) -> None:
    sources = [build(folder, "sdist", tmp_path) for folder in PROJECTS.values()]
    said = twine_says(*wheels, *sources)
    assert said.returncode == 0 and said.stdout.count("PASSED") == 4, said.stdout


def test_a_readme_that_an_index_cannot_show_is_rejected(wheels: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / wheels[0].name
    with zipfile.ZipFile(wheels[0]) as opened, zipfile.ZipFile(damaged, "w") as written:
        for item in opened.infolist():
            content = opened.read(item)
            if item.filename.endswith("METADATA"):
                content = content.replace(b"text/markdown", b"text/x-rst")
            written.writestr(item, content)
    said = twine_says(damaged)
    assert said.returncode == 1 and "syntax errors" in said.stdout


def test_torch_is_an_extra(wheels: list[Path]) -> None:
    for wheel in wheels:
        plain = [r for r in map(Requirement, metadata_of(wheel).get_all("Requires-Dist", ())) if not r.marker]
        assert plain and "torch" not in {r.name for r in plain}
    wanted = metadata_of(wheels[0]).get_all("Requires-Dist", ())
    assert [r for r in wanted if re.match(r"torch\b.*extra == 'torch'", r)]


def test_wheels_work_without_torch(wheels: list[Path], bundle_folder: Path, tmp_path: Path) -> None:
    """With their declared dependencies and nothing else: those of this environment, linked one by one."""
    python = empty_environment(tmp_path / "venv")
    install(python, "--no-deps", "--no-index", *map(str, wheels))
    link(dependencies(wheels), site_packages(python))
    check_commands(
        python, bundle_folder, tmp_path, [c for c in TORCH_FREE if c[0] in SOME and not {"packaged", "pruned"} & {*c}]
    )


@pytest.mark.slow
def test_wheels_that_pip_installs_work_without_torch(wheels: list[Path], bundle_folder: Path, tmp_path: Path) -> None:
    """With what pip takes from the index for them, and what draws pages."""
    python = empty_environment(tmp_path / "venv")
    install(python, "--constraint", str(CONSTRAINTS), f"{wheels[0]}[plot]", str(wheels[1]))
    check_commands(python, bundle_folder, tmp_path, TORCH_FREE)


def check_commands(python: Path, bundle_folder: Path, place: Path, torch_free: list[tuple[str, ...]]) -> None:
    """Commands that need no torch work with an interpreter, and the others say what to install."""
    folder = place / "work"
    folder.mkdir()
    (folder / "out").symlink_to(bundle_folder / "out", target_is_directory=True)
    (folder / "my_sums.py").write_text(SUMS)
    commands = [*torch_free, *(command for command, _ in NEED_TORCH), PYTHON]
    ran = run_commands(commands, folder, python=(str(python), "-I"))
    for arguments, done in zip(torch_free, ran, strict=False):
        assert (done.code, done.asked) == (0, []), f"{arguments}: {done.printed}"
    for (arguments, text), done in zip(NEED_TORCH, ran[len(torch_free) :], strict=False):
        assert done.code == 2 and text in " ".join(done.printed.split()), f"{arguments}: {done.printed}"
    assert (ran[-1].code, ran[-1].printed) == ("ImportError", NEED_TORCH[0][1])
    alone = {"env": {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "capture_output": True, "text": True}
    script = subprocess.run([python.parent / "rr-export", "export", "models:small", "x"], cwd=folder, **alone)
    assert script.returncode == 2 and NEED_TORCH[0][1] in " ".join(script.stderr.split())
    absent = subprocess.run([python, "-I", "-c", "import rr_export; import torch"], cwd=folder, **alone)
    assert absent.returncode == 1 and "No module named 'torch'" in absent.stderr


def empty_environment(folder: Path) -> Path:
    """Makes an environment in which nothing is installed; returns its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(python: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def site_packages(python: Path) -> Path:
    said = subprocess.run(
        [python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return Path(said.stdout.strip())


def dependencies(wheels: list[Path]) -> set[str]:
    """Returns the distributions that wheels ask for without any extra, and what these ask for in turn."""
    own = {wheel.name.partition("-")[0].replace("_", "-") for wheel in wheels}
    asked = [Requirement(text) for wheel in wheels for text in metadata_of(wheel).get_all("Requires-Dist", ())]
    found: set[str] = set()
    while asked:
        wanted = asked.pop()
        if wanted.name in found | own or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(wanted.name)
        asked += map(Requirement, distribution(wanted.name).requires or ())
    return found


def link(names: set[str], site: Path) -> None:
    """The distributions of those names are in a folder of packages too: links to what is installed here."""
    for name in names:
        installed = distribution(name)
        tops = {Path(file).parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(installed.locate_file(top))))
