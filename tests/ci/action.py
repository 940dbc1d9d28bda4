"""Runs the steps of a composite action as GitHub does: conditions, expressions, environment and files of a job."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Names = dict[str, str]
RUN_ANYWAY = re.compile(r"cancelled\(\)|always\(\)")


@dataclass
class Job:
    """What a run of the steps left behind.

    Attributes:
        outcomes: "success", "failure" or "skipped" of the steps that run commands, by id or name.
        used: what the other steps that ran were given, by what they use.
        outputs: of the steps, by "step.name".
        summary: the job's summary.
        log: what was printed.
        cached: the paths and keys that were asked from the cache.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    outputs: Names = field(default_factory=dict)
    summary: str = ""
    log: str = ""

    @property
    def succeeded(self) -> bool:
        return "failure" not in self.outcomes.values()


def evaluated(expression: str, names: Names) -> Any:
    """Returns the value of an expression of GitHub's language, of the parts that the action uses."""

    def python(match: re.Match[str]) -> str:
        word = match.group()
        if word.startswith("'"):
            return word
        if word.startswith("hashFiles("):
            return repr("0123")
        return {"cancelled()": "False", "always()": "True"}.get(word) or repr(names.get(word, ""))

    words = re.sub(r"'[^']*'|[A-Za-z][\w.-]*(?:\([^)]*\))?", python, expression)
    return eval(re.sub(r"!(?!=)", " not ", words.replace("&&", " and ").replace("||", " or ")).strip())


def filled(text: str, names: Names) -> str:
    return re.sub(r"\$\{\{(.*?)\}\}", lambda m: str(evaluated(m[1].strip(), names)), text)


def run_action(file: Path, workspace: Path, temp: Path, **inputs: str) -> Job:
    """Runs the steps that are commands; of the others, what they would have been given is recorded."""
    action = yaml.safe_load(file.read_text(encoding="utf-8"))
    unknown = {name.replace("_", "-") for name in inputs} - action["inputs"].keys()
    assert not unknown, f"the action has no inputs {unknown}"
    given = {name: str(about.get("default", "")) for name, about in action["inputs"].items()}
    given |= {name.replace("_", "-"): value for name, value in inputs.items()}
    names: Names = {f"inputs.{name}": value for name, value in given.items()}
    names |= {"runner.os": "Linux", "runner.temp": str(temp)}
    temp.mkdir(parents=True, exist_ok=True)
    job, summary = Job(), temp / "summary.md"
    for number, step in enumerate(action["runs"]["steps"]):
        condition = str(step.get("if", "")).strip().removeprefix("${{").removesuffix("}}").strip()
        goes_on = job.succeeded or RUN_ANYWAY.search(condition)
        runs = bool(goes_on) and (not condition or bool(evaluated(condition, names)))
        name = step.get("id") or step.get("name") or step["uses"]
        if "uses" in step:
            if runs:
                job.used.append((step["uses"], {k: filled(str(v), names) for k, v in step.get("with", {}).items()}))
            continue
        job.outcomes[name] = names[f"steps.{name}.outcome"] = "skipped"
        if not runs:
            continue
        script, output = temp / f"{number}.sh", temp / f"{number}.output"
        script.write_text(step["run"])
        output.unlink(missing_ok=True)  # of an earlier use in the same job
        environment = {name: filled(str(value), names) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=workspace / filled(step.get("working-directory", "."), names),
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_WORKSPACE": str(workspace),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        job.log += done.stdout
        job.outcomes[name] = names[f"steps.{name}.outcome"] = "success" if done.returncode == 0 else "failure"
        lines = output.read_text().splitlines() if output.exists() else []
        found = dict(line.split("=", 1) for line in lines)
        job.outputs |= {f"{name}.{key}": value for key, value in found.items()}
        names |= {f"steps.{name}.outputs.{key}": value for key, value in found.items()}
    job.summary = summary.read_text() if summary.exists() else ""
    return job
