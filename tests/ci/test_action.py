"""The GitHub Action, its steps run as scripts; and the snippets of docs/ci.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.ci.action import Job, evaluated, run_action

ROOT = Path(__file__).parents[2]
ACTION, PAGE = ROOT / "action.yml", ROOT / "docs" / "ci.md"
MODELS = """
import torch
from torch import nn

import rr_export as rr


def encoder():
    torch.manual_seed(0)
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(8, 8), 0.8) for _ in range(2))).eval()
    return model, (torch.randn(4, 8),)
"""
RETRAINED = MODELS.replace("manual_seed(0)", "manual_seed(1)")
RAISES = MODELS.replace("    torch.manual_seed(0)", '    raise LookupError("no weights today")')


def written(folder: Path, models: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my_models.py").write_text(models)
    return folder


def act(workspace: Path, **inputs: str) -> Job:
    return run_action(ACTION, workspace, workspace.parent / f"{workspace.name}.temp", install="", **inputs)


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    workspace = tmp_path_factory.mktemp("green") / "workspace"
    written(workspace / "code", MODELS)
    options = {"code_scanning": "true", "artifact": "parity", "working_directory": "code"}
    return act(workspace, model="my_models:encoder", verify_options="--max-paths  8\n", **options), workspace


def changed(green: tuple[Job, Path], place: Path, models: str) -> Path:
    """Returns the workspace of another job, which has the bundle of the green one, and another model."""
    shutil.copytree(green[1], place / "workspace")
    written(place / "workspace" / "code", models)
    return place / "workspace"


def test_a_green_model(green: tuple[Job, Path]) -> None:
    job, workspace = green
    assert job.outcomes == dict.fromkeys(["begin", "export", "verify", "lint"], "success") | {"Install": "skipped"}
    assert job.outputs["verify.code"] == "0"
    reports = Path(job.outputs["begin.reports"])
    assert json.loads((reports / "parity.json").read_text())["passed"] is True
    assert {case.attrib["name"] for case in ET.parse(reports / "parity.xml").iter("testcase")} >= {"paths", "law"}
    logs = [json.loads((reports / name).read_text()) for name in ("parity.sarif", "lint.sarif")]
    assert [log["runs"][0]["results"] for log in logs] == [[], []]
    assert "the same model" in job.summary and "nothing to report" in job.summary
    assert (workspace / "code" / "out" / "bundle" / "manifest.json").exists()


def test_what_other_actions_are_given(green: tuple[Job, Path]) -> None:
    job, _ = green
    used = [name.partition("@")[0] for name, _ in job.used]
    scan = "github/codeql-action/upload-sarif"
    assert used == ["actions/setup-python", "actions/cache", scan, scan, "actions/upload-artifact"]
    (cache,) = [given for name, given in job.used if name.startswith("actions/cache@")]
    assert cache["path"] == job.outputs["begin.bundle"] and job.outputs["begin.exports"] in cache["key"]
    scanned = [given for name, given in job.used if name.startswith(scan)]
    assert [Path(given["sarif_file"]).exists() for given in scanned] == [True, True]
    assert len({given["category"] for given in scanned}) == 2
    kept = dict(job.used)["actions/upload-artifact@v6"]
    assert all(Path(line).is_dir() for line in kept["path"].split())


def test_a_red_model_is_told_everywhere(green: tuple[Job, Path], tmp_path: Path) -> None:
    workspace = changed(green, tmp_path, RETRAINED)
    job = act(workspace, model="my_models:encoder", working_directory="code", artifact="x", code_scanning="true")
    assert "is there already" in job.log
    assert not job.succeeded and job.outcomes["verify"] == "failure" and job.outcomes["lint"] == "success"
    assert job.outputs["verify.code"] == "1"
    assert "NOT the same model" in job.summary and "nothing to report" in job.summary
    (run,) = json.loads((Path(job.outputs["begin.reports"]) / "parity.sarif").read_text())["runs"]
    assert "parity/paths" in [result["ruleId"] for result in run["results"]]
    assert [name.partition("@")[0] for name, _ in job.used][-1] == "actions/upload-artifact"


def test_a_model_that_raises_is_told_with_its_line(green: tuple[Job, Path], tmp_path: Path) -> None:
    workspace = changed(green, tmp_path, RAISES)
    job = act(workspace, model="my_models:encoder", working_directory="code")
    assert job.outputs["verify.code"] == "3" and job.outcomes["lint"] == "success"
    assert "no weights today" in job.log and "no weights today" in job.summary
    report = json.loads((Path(job.outputs["begin.reports"]) / "parity.json").read_text())
    assert report["passed"] is False


def test_bug_a_model_that_raises_when_it_is_exported_was_told_nowhere(tmp_path: Path) -> None:
    workspace = written(tmp_path / "workspace", RAISES)
    job = act(workspace, model="my_models:encoder", code_scanning="true")
    assert job.outcomes["export"] == "failure" and job.outcomes["verify"] == "skipped"
    assert job.outputs["export.code"] == "3" and "no weights today" in job.summary
    reports = Path(job.outputs["begin.reports"])
    assert "no weights today" in json.loads((reports / "parity.json").read_text())["error"]
    assert [suite.get("errors") for suite in ET.parse(reports / "parity.xml").getroot()] == ["1"]
    assert [given["sarif_file"] for name, given in job.used if "upload-sarif" in name] == [f"{reports}/parity.sarif"]


@pytest.mark.slow
def test_bug_reports_of_an_earlier_use_remained(green: tuple[Job, Path], tmp_path: Path) -> None:
    workspace = changed(green, tmp_path, MODELS)
    job = act(workspace, model="my_models:encoder", working_directory="code", code_scanning="true")
    assert job.succeeded and (Path(job.outputs["begin.reports"]) / "parity.sarif").exists()
    options = {"verify_options": "--max-paths 0", "code_scanning": "true"}
    job = act(workspace, model="my_models:encoder", working_directory="code", **options)
    assert job.outputs["verify.code"] == "2"
    assert not [*Path(job.outputs["begin.reports"]).glob("parity.*")]
    assert [given["category"] for name, given in job.used if "upload-sarif" in name] == ["rr-export-lint"]


def test_inputs_are_no_code(tmp_path: Path) -> None:
    workspace = written(tmp_path / "workspace", MODELS)
    code = "$(touch pwned)"
    job = act(workspace, model=f'a:b"; touch pwned; echo "{code}', bundle="`touch pwned`", fail_on=code)
    assert job.outcomes["export"] == "failure" and job.outcomes["verify"] == "skipped"
    assert not list(tmp_path.rglob("pwned*"))


def test_no_expression_stands_in_a_script() -> None:
    action = yaml.safe_load(ACTION.read_text())
    scripts = [step for step in action["runs"]["steps"] if "run" in step]
    assert scripts and all("${{" not in step["run"] and step["shell"] == "bash" for step in scripts)
    asked = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text()))
    assert asked == action["inputs"].keys()
    assert all(re.fullmatch(r"[\w/-]+@v\d+", step["uses"]) for step in action["runs"]["steps"] if "uses" in step)


def test_inputs_are_documented() -> None:
    inputs = yaml.safe_load(ACTION.read_text())["inputs"]
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \|", PAGE.read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == inputs.keys()
    (usage,) = [
        step["with"]
        for text in snippets("yaml")
        for step in (yaml.safe_load(text).get("jobs") or {"prove": {"steps": []}})["prove"]["steps"]
        if "rr_export@" in step.get("uses", "")
    ]
    assert usage.keys() <= inputs.keys()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.cache == 'true' && inputs.install != ''", True),
        ("!cancelled() && steps.verify.outcome != 'skipped'", False),
        ("inputs.python-version", "3.12"),
        ("inputs.none", ""),
    ],
)
def test_expressions_mean_what_they_mean_on_github(expression: str, value: Any) -> None:
    names = {"inputs.cache": "true", "inputs.install": "x", "inputs.python-version": "3.12"}
    assert evaluated(expression, names | {"steps.verify.outcome": "skipped"}) == value


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def commands(script: list[str], workspace: Path) -> list[tuple[str, int]]:
    """Runs the lines of a script, and returns them with their exit codes, up to the first that fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GITHUB_STEP_SUMMARY": str(workspace / "summary.md")}
    found = []
    for line in script:
        done = subprocess.run(["bash", "-ec", line], cwd=workspace, env=environment, timeout=300, check=False)
        found.append((line, done.returncode))
        if done.returncode:
            break
    return found


def test_snippets_name_commands_that_are_there() -> None:
    from rr_export.cli import cli

    context = click.Context(cli)
    named = re.findall(r"rr-export ([a-z]+)([^|\n`]*)", PAGE.read_text())
    assert {name for name, _ in named} >= {"export", "verify", "lint"}
    for name, rest in named:
        command = cli.get_command(context, name)
        assert command is not None, name
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (name, rest)


@pytest.mark.slow
def test_the_gitlab_snippet_runs(green: tuple[Job, Path], tmp_path: Path) -> None:
    (job,) = [yaml.safe_load(text)["parity"] for text in snippets("yaml") if text.startswith("parity:")]
    workspace = written(tmp_path, RETRAINED)
    shutil.copytree(green[1] / "code" / "out" / "bundle", workspace / "out" / "encoder")  # as from the cache
    done = commands(job["script"], workspace)
    assert [code for _, code in done] == [0, 0, 0, 1] and "verify" in done[-1][0]
    reports = job["artifacts"]["reports"]
    assert ET.parse(workspace / reports["junit"]).getroot().findall(".//failure")
    assert json.loads((workspace / reports["codequality"]).read_text()) == []
    assert all((workspace / path).exists() for path in job["artifacts"]["paths"])


@pytest.mark.slow
def test_the_plain_workflow_runs(tmp_path: Path) -> None:
    (steps,) = [
        [step["run"] for step in loaded["jobs"]["prove"]["steps"] if "run" in step]
        for loaded in map(yaml.safe_load, snippets("yaml"))
        if "jobs" in loaded and "strategy" not in loaded["jobs"]["prove"]
    ]
    workspace = written(tmp_path, MODELS)
    assert [code for _, code in commands(steps[1:], workspace)] == [0, 0, 0]
    assert "the same model" in (workspace / "summary.md").read_text()
