"""What the two packages carry and depend on, and the versions that they say are tested."""

from __future__ import annotations

import email
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from rr_export.capture.versions import TESTED_TORCH

ROOT = Path(__file__).parent.parent
RUNTIME = ROOT / "runtimes" / "python"
PROJECTS = {"rr_export": ROOT, "rr_runtime": RUNTIME}
PAIRS = re.findall(r"\bpython([\d.]+)-torch([\d.]+)", (ROOT / "Makefile").read_text().partition("PAIR_TESTS")[0])

WANTED = f"rr-runtime=={tomllib.loads((RUNTIME / 'pyproject.toml').read_text())['project']['version']}"
BUILD_TOOLS = ("hatchling", "editables")
builds = pytest.mark.skipif(
    any(importlib.util.find_spec(tool) is None for tool in BUILD_TOOLS), reason=f"needs {' and '.join(BUILD_TOOLS)}"
)
both = pytest.mark.parametrize("package", PROJECTS)


def project(folder: Path) -> dict:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def build(folder: Path, kind: str, out: Path, *, by_pip: bool = False) -> Path:
    """Builds a ``wheel``, an ``editable`` or an ``sdist`` of a project as pip or another frontend does; returns it."""
    env = {name: value for name, value in os.environ.items() if name != "PIP_BUILD_TRACKER"}
    if by_pip:
        env["PIP_BUILD_TRACKER"] = str(out)
    script = f"import sys, hatchling.build as backend; print(backend.build_{kind}(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", script, str(out)], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert built.returncode == 0, built.stderr
    return out / built.stdout.split()[-1]


def unpack_sdist(archive: Path, folder: Path) -> Path:
    """Unpacks a source distribution; returns the folder of its project."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(opened.read(name))


def runtime_wanted(metadata: Message) -> str:
    """Returns the one dependency on rr-runtime."""
    (wanted,) = (name for name in metadata.get_all("Requires-Dist", ()) if name.startswith("rr-runtime"))
    return wanted


@both
def test_license_is_declared(package: str) -> None:
    declared = project(PROJECTS[package])
    assert declared["project"]["license"] == "Apache-2.0"
    assert declared["project"]["license-files"] == ["LICENSE"]
    assert "/LICENSE" in declared["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_both_packages_have_the_same_license() -> None:
    assert (RUNTIME / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@builds
@both
def test_wheel_and_sdist_carry_the_license(package: str, tmp_path: Path) -> None:
    license = (ROOT / "LICENSE").read_bytes()
    wheel = build(PROJECTS[package], "wheel", tmp_path)
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
        assert opened.read(name) == license
    assert metadata_of(wheel).get_all("License-File") == ["LICENSE"]
    source = unpack_sdist(build(PROJECTS[package], "sdist", tmp_path), tmp_path)
    assert (source / "LICENSE").read_bytes() == license


@builds
def test_pip_installs_the_runtime_of_the_checkout(tmp_path: Path) -> None:
    wheel = build(ROOT, "wheel", tmp_path, by_pip=True)
    assert runtime_wanted(metadata_of(wheel)) == f"rr-runtime @ {RUNTIME.as_uri()}"


@builds
@pytest.mark.parametrize("by_pip", [True, False])
def test_editable_install_takes_the_runtime_beside_it(by_pip: bool, tmp_path: Path) -> None:
    assert runtime_wanted(metadata_of(build(ROOT, "editable", tmp_path, by_pip=by_pip))) == WANTED


@builds
@pytest.mark.parametrize("by_pip", [True, False])
def test_what_is_published_names_no_path(by_pip: bool, tmp_path: Path) -> None:
    """A wheel that is built in a checkout but not by pip, and all that comes from the source distribution."""
    assert runtime_wanted(metadata_of(build(ROOT, "wheel", tmp_path))) == WANTED
    source = unpack_sdist(build(ROOT, "sdist", tmp_path), tmp_path)
    assert runtime_wanted(email.message_from_bytes((source / "PKG-INFO").read_bytes())) == WANTED
    wheel = build(source, "wheel", tmp_path, by_pip=by_pip)
    assert runtime_wanted(metadata_of(wheel)) == WANTED
    assert str(tmp_path) not in metadata_of(wheel).as_string()


@builds
def test_wheels_carry_the_pages_of_errors(tmp_path: Path) -> None:
    """Built in a checkout or from a source distribution; an editable install reads those of the checkout."""
    pages = {page.name: page.read_bytes() for page in (ROOT / "docs" / "errors").iterdir()}
    source = unpack_sdist(build(ROOT, "sdist", tmp_path), tmp_path)
    wheels = [(ROOT, "wheel", pages), (source, "wheel", pages), (ROOT, "editable", {})]
    for number, (folder, kind, wanted) in enumerate(wheels):
        (tmp_path / str(number)).mkdir()
        with zipfile.ZipFile(build(folder, kind, tmp_path / str(number))) as opened:
            names = [name for name in opened.namelist() if name.startswith("rr_export/error_pages/")]
            assert {Path(name).name: opened.read(name) for name in names} == wanted


@builds
def test_the_wheel_carries_what_the_demo_reads(tmp_path: Path) -> None:
    with zipfile.ZipFile(build(ROOT, "wheel", tmp_path)) as opened:
        for name in ("delta.safetensors", "rivals.json"):
            assert opened.read(f"rr_export/demo/{name}") == (ROOT / "rr_export" / "demo" / name).read_bytes()


def test_the_runtime_wanted_is_the_one_in_the_checkout() -> None:
    (wanted,) = (name for name in project(ROOT)["project"]["dependencies"] if name.startswith("rr-runtime"))
    assert wanted == WANTED


def test_torch_is_never_replaced_by_a_lower_one() -> None:
    declared = project(ROOT)["project"]
    assert declared["optional-dependencies"]["torch"] == [f"torch>={TESTED_TORCH[0]}"]
    assert not [name for name in declared["dependencies"] if name.startswith("torch")]


@both
def test_every_python_that_is_declared_is_tested(package: str) -> None:
    classifiers = project(PROJECTS[package])["project"]["classifiers"]
    declared = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    lowest = re.findall(r"^LOWEST_PYTHON = .*\bpython(3\.\d+) -c", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared == [*(lowest if package == "rr_runtime" else []), *sorted({python for python, _ in PAIRS})]
    assert project(PROJECTS[package])["project"]["requires-python"] == f">={declared[0]}"


def test_every_pair_has_a_target_and_a_row() -> None:
    pythons = sorted({python for python, _ in PAIRS})
    assert [(python, torch) for python in pythons for torch in TESTED_TORCH] == PAIRS
    page = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (3\.\d+)\.\d+ \| (2\.\d+)\.\d+", page, re.MULTILINE)
    assert rows == PAIRS


def test_bug_lists_that_are_installed_together_pin_one_version() -> None:
    """pip refuses a package that two of them pin differently; `make test-packages` alone installs both."""

    def pins(file: Path) -> dict[str, str]:
        lines = [
            line for line in file.read_text(encoding="utf-8").splitlines() if "==" in line and not line.startswith("#")
        ]
        return {re.sub(r"[-_.]+", "-", name).lower(): v for name, v in (line.split("==") for line in lines)}

    ours, theirs = pins(ROOT / "constraints.txt"), pins(ROOT / "tests" / "packages" / "requirements.txt")
    both = ours.keys() & theirs.keys()
    assert len(both) > 5
    assert {name: (ours[name], theirs[name]) for name in both if ours[name] != theirs[name]} == {}
