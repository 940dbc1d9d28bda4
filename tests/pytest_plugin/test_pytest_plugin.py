"""Projects of users, run by pytest in processes of their own: what is green, what is red, and how that reads."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import rr_export as rr
from rr_export.pytest_plugin.wanted import TERMS

MODELS = """
import torch
from torch import nn

import rr_export as rr


def encoder(seed=0, keep=0.8, changed=None):
    torch.manual_seed(seed)
    model = nn.Sequential(*(rr.LayerChoice(nn.Linear(8, 8), keep) for _ in range(2))).eval()
    if changed is not None:
        with torch.no_grad():
            model[changed].layer.bias += 0.25
    return model, (torch.randn(4, 8),)
"""
POINTS = """
import pytest
import torch
from models import encoder

import rr_export as rr


@pytest.mark.rr_parity
def test_green(rr_bundle):
    model, args = encoder()
    again = rr_bundle(model, args, dynamic_shapes=None)
    assert again is rr_bundle(model, args, dynamic_shapes=None) and again.path.is_dir()
    assert rr_bundle(again.path) is rr_bundle(str(again.path))
    return again, model, args


@pytest.mark.rr_parity(paths="each", points=["sites", "paths"])
def test_each():
    model, args = encoder()
    return {"model": model, "args": args, "dynamic_shapes": {"input": {0: "batch"}}}


@pytest.mark.rr_parity(points=["paths", "laziness"], paths=[[0, 0], [1, 1]])
@pytest.mark.parametrize("changed", [None, 1])
def test_weights(rr_bundle, changed):
    return rr_bundle(*encoder()), *encoder(changed=changed)


@pytest.mark.rr_parity(points=["sites", "paths"])
def test_law(rr_bundle):
    return rr_bundle(*encoder()), *encoder(keep=0.7)


@pytest.mark.rr_parity(points="law")
def test_thresholds(rr_bundle):
    import onnx_ir as ir

    model, args = encoder()
    bundle = rr.export(model, args)
    value = next(v for name, v in bundle.model.graph.initializers.items() if "thresholds" in name)
    value.const_value = ir.tensor(value.const_value.numpy() * 9 // 10, name=value.name)
    return bundle, model, args


@pytest.mark.rr_parity(points="data", data=[torch.zeros(4, 8), torch.ones(4, 8)])
@pytest.mark.parametrize("changed", [None, 0])
def test_data(rr_bundle, changed):
    return rr_bundle(*encoder()), *encoder(changed=changed)


@pytest.mark.rr_parity(points="paths")
def test_raises():
    raise LookupError("no model today")


@pytest.mark.rr_parity(points="paths")
def test_returns_nothing():
    encoder()


@pytest.mark.rr_parity(points="paths", max_paths=0)
def test_wrong_option():
    return encoder()


def test_nothing(rr_bundle, assert_parity):
    model, args = encoder()
    assert_parity(rr_bundle(model, args), model, args, points="targets")


def test_subtests(rr_bundle, assert_parity):
    model, args = encoder()
    assert_parity(rr_bundle(model, args), model, args, points=["sites", "paths", "targets"])


def test_red_subtests(rr_bundle, assert_parity):
    assert_parity(rr_bundle(*encoder()), *encoder(changed=0), points=["sites", "paths"], paths="each", atol=1e-3)
"""
OTHERS = """
import unittest

import pytest
import rr_export as rr
from models import encoder

BUNDLE = rr.export(*encoder())


class Inherited:
    @pytest.mark.rr_parity(points="paths")
    def test_inherited(self):
        return BUNDLE, *encoder(changed=self.changed)


class TestGood(Inherited):
    changed = None


class TestOther(Inherited):
    changed = 0


@pytest.fixture(params=[None, 0])
def other(request):
    global MODEL
    MODEL = encoder(changed=request.param)


@pytest.mark.rr_parity(points=["sites", "paths"])
@pytest.mark.usefixtures("other")
def test_unnamed_fixture():
    return BUNDLE, *MODEL


class Unit(unittest.TestCase):
    @pytest.mark.rr_parity
    def test_unit(self):
        return BUNDLE, *encoder(changed=0)

    @pytest.mark.rr_parity
    @pytest.mark.skip(reason="not today")
    def test_unit_skipped(self):
        return BUNDLE, *encoder(changed=0)


@pytest.mark.rr_parity(points="paths", paths=[(1, -1)])
def test_half_a_path():
    return BUNDLE, *encoder()


def test_red_alone(assert_parity):
    assert_parity(BUNDLE, *encoder(changed=0), points="paths")
"""
COLLECTED = {
    "test_typo.py": "rtoll=1e-3",
    "test_unnamed.py": "'paths'",
    "test_points.py": "points='speed'",
    "test_data.py": "points='data'",
    "test_nothing.py": "points=[]",
    "test_paths.py": "paths='all'",
    "test_apart.py": "points='law', paths='each'",
    "test_fixtures.py": "paths='each'",
}


@dataclass(frozen=True)
class Run:
    """One run of pytest.

    Attributes:
        outcomes: "passed", "failed", "skipped" or "error" by the name of the test.
        messages: what is said of those that did not pass, by name.
        text: all that was printed.
        code: the exit code.
    """

    outcomes: dict[str, str]
    messages: dict[str, str]
    text: str
    code: int


def run(folder: Path, *options: str) -> Run:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", "--junit-xml=junit.xml", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    outcomes, messages = {}, {}
    if (folder / "junit.xml").exists():
        for case in ET.parse(folder / "junit.xml").getroot().iter("testcase"):
            parts = [part for part in case if part.tag in ("failure", "error", "skipped")]
            kinds = {"failure": "failed"}
            outcomes[case.attrib["name"]] = kinds.get(parts[0].tag, parts[0].tag) if parts else "passed"
            messages[case.attrib["name"]] = "".join(part.attrib.get("message", "") for part in parts)
    return Run(outcomes, messages, done.stdout + done.stderr, done.returncode)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that pytest has run on, with its ``Run`` as JSON: workers of xdist share it."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "project"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -W error\n")
            (folder / "models.py").write_text(MODELS)
            (folder / "test_points.py").write_text(POINTS)
            (folder / "test_others.py").write_text(OTHERS)
            done = run(folder, "-v", "--rr-markdown", "reports/proofs.md")
            (folder / "run.json").write_text(json.dumps(asdict(done)))
    return folder


@pytest.fixture(scope="module")
def done(project: Path) -> Run:
    return Run(**json.loads((project / "run.json").read_text()))


def of(outcomes: dict[str, str], test: str) -> dict[str, str]:
    """Returns the outcomes of one test by what stands in its brackets."""
    return {m[1]: outcome for name, outcome in outcomes.items() if (m := re.fullmatch(rf"{test}\[(.*)\]", name))}


def test_the_plugin_is_registered() -> None:
    found = {point.name: point.value for point in entry_points(group="pytest11")}
    assert found["rr_export"] == "rr_export.pytest_plugin"


def test_a_marked_test_is_one_test_per_point(done: Run) -> None:
    points = ["sites", "weights", "paths", "inputs", "streams", "law", "laziness"]
    nothing = dict.fromkeys(["gates", "profiles", "targets"], "skipped")  # of which the model has none
    assert of(done.outcomes, "test_green") == dict.fromkeys(points, "passed") | nothing


def test_each_path_is_a_test(done: Run) -> None:
    names = ["sites", "path 0,0", "path 0,1", "path 1,0", "path 1,1"]
    assert of(done.outcomes, "test_each") == dict.fromkeys(names, "passed")


def test_other_weights_are_red_on_the_paths_that_use_them_alone(done: Run) -> None:
    green = ["None-path 0,0", "None-path 1,1", "None-laziness", "1-path 0,0", "1-laziness"]
    assert of(done.outcomes, "test_weights") == dict.fromkeys(green, "passed") | {"1-path 1,1": "failed"}
    message = done.messages["test_weights[1-path 1,1]"]
    assert message.startswith("Failed: 0.25 apart: path [1, 1], output 'output': expected values within rtol")


def test_users_own_inputs_are_a_point_of_their_own(done: Run) -> None:
    assert of(done.outcomes, "test_data") == {"None-data": "passed", "0-data": "failed"}
    assert done.messages["test_data[0-data]"].startswith("Failed: 0.")


def test_the_report_says_where_they_part(done: Run) -> None:
    message = done.messages["test_weights[1-path 1,1]"]
    assert "where they part:" in message and "1.layer.bias" in message


def test_another_law_is_red_at_the_sites_and_nothing_else_is_compared(done: Run) -> None:
    assert of(done.outcomes, "test_law") == {"sites": "failed", "paths": "failed"}
    assert done.messages["test_law[sites]"].startswith("Failed: site '0': expected probabilities [[0.1")
    assert "not compared, as the sites differ: site '0'" in done.messages["test_law[paths]"]


def test_a_sabotaged_file_is_red_at_its_law(done: Run) -> None:
    assert of(done.outcomes, "test_thresholds") == {"law": "failed"}


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("test_raises", "LookupError: no model today"),
        ("test_returns_nothing", "ValueError: test_returns_nothing: expected the test to return (model, args)"),
        ("test_wrong_option", "ValueError: verify: expected max_paths of at least 1, got 0"),
    ],
)
def test_what_a_test_raises_is_shown(done: Run, test: str, expected: str) -> None:
    assert done.messages[f"{test}[paths]"].startswith(expected)


def test_subtests_say_which_point_or_path_failed(done: Run) -> None:
    assert done.outcomes["test_subtests"] == "passed" and done.outcomes["test_red_subtests"] == "failed"
    assert "expected something to compare, got nothing of targets" in done.messages["test_nothing"]
    red = re.findall(r"^SUBFAILED\[(.*?)\] .*test_red_subtests - Failed: (.*)", done.text, re.MULTILINE)
    assert [name for name, _ in red] == ["path 1,0", "path 1,1"]
    assert all("apart" in text for _, text in red)


def test_bug_a_proof_of_another_class_or_fixture_was_taken_for_this_one(done: Run) -> None:
    found = dict(re.findall(r"test_others.py::(\S*test_(?:inherited|unnamed)\S*) ([A-Z]+)", done.text))
    assert found == {
        "TestGood::test_inherited[paths]": "PASSED",
        "TestOther::test_inherited[paths]": "FAILED",
        "test_unnamed_fixture[None-sites]": "PASSED",
        "test_unnamed_fixture[None-paths]": "PASSED",
        "test_unnamed_fixture[0-sites]": "PASSED",
        "test_unnamed_fixture[0-paths]": "FAILED",
    }


def test_bug_a_marked_method_of_a_unittest_passed_unproven(done: Run) -> None:
    assert done.outcomes["test_unit"] == "error" and done.outcomes["test_unit_skipped"] == "skipped"
    assert "rr_parity of test_unit: expected a function, or a method of a plain class" in done.messages["test_unit"]


def test_a_path_without_a_route_is_refused(done: Run) -> None:
    message = done.messages["test_half_a_path[path 1,-1]"]
    assert "path: expected a route for site '1', which is reached on [1, -1], got -1" in message


def test_bug_a_red_point_was_also_said_to_be_nothing(done: Run) -> None:
    assert re.search(r"^SUBFAILED\[paths\] .*test_red_alone", done.text, re.MULTILINE)
    assert done.outcomes["test_red_alone"] == "failed" and "got nothing of paths" not in done.text


def test_options_of_the_mark_are_those_of_verify() -> None:
    taken = inspect.signature(rr.verify).parameters.values()
    assert set(TERMS) == {one.name for one in taken if one.kind is one.KEYWORD_ONLY}


def test_failures_read_well(done: Run) -> None:
    assert "torch.__trace" not in done.text and "Graph(" not in done.text and "array(" not in done.text
    (raised,) = re.findall(r"^_+ test_raises\[paths\] _+$(.*?)^_", done.text, re.MULTILINE | re.DOTALL)
    assert 'raise LookupError("no model today")' in raised and "rr_export" not in raised and "pluggy" not in raised
    assert done.code == 1


def test_all_proofs_are_one_file_of_markdown(done: Run, project: Path) -> None:
    text = (project / "reports" / "proofs.md").read_text()
    verdicts = dict(re.findall(r"^### . (.*): (.*)$", text.replace("\\", ""), re.MULTILINE))
    assert verdicts["test_points.py::test_green"] == "the same model"
    assert verdicts["test_points.py::test_weights[None]"] == "the same model"
    red = ["test_weights[1]", "test_law", "test_thresholds", "test_raises", "test_red_subtests"]
    assert {verdicts[f"test_points.py::{name}"] for name in red} == {"NOT the same model"}
    assert "LookupError" in text


@pytest.mark.slow
def test_it_works_under_xdist(done: Run, project: Path) -> None:
    spread = run(project, "-n", "2", "-k", "test_law or test_each or test_red", "--rr-markdown", "spread.md", "-v")
    assert of(spread.outcomes, "test_each") == of(done.outcomes, "test_each")
    assert of(spread.outcomes, "test_law") == of(done.outcomes, "test_law")
    assert spread.messages["test_red_subtests"] == done.messages["test_red_subtests"]
    assert set(re.findall(r"^\[(gw\d)\]", spread.text, re.MULTILINE)) == {"gw0", "gw1"}
    text = (project / "spread.md").read_text().replace("\\", "")  # from both workers
    assert re.findall(r"^### . test_points.py::(\w+): (.*)$", text, re.MULTILINE) == [
        ("test_each", "the same model"),
        ("test_law", "NOT the same model"),
        ("test_red_subtests", "NOT the same model"),
    ]


def test_marks_that_ask_for_nothing_are_refused_when_collected(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(MODELS)
    for name, options in COLLECTED.items():
        fixture = "tmp_path" if name == "test_fixtures.py" else ""
        text = f"import pytest\n@pytest.mark.rr_parity({options})\ndef test_it({fixture}):\n    assert False\n"
        (tmp_path / name).write_text(text)
    text = run(tmp_path, "--collect-only").text
    assert "expected points out of sites, weights, paths, inputs" in text and "got 'speed'" in text
    assert "got none; name one" in text
    assert "expected paths='each' or a list of paths, got 'all'" in text
    assert "expected the point 'paths' where paths are asked for" in text
    assert "expected a test without fixtures where paths='each'" in text and "got one with tmp_path" in text
    assert "expected data= and the point 'data' together" in text
    options = "expected options out of points, paths, export, data, rtol, atol"
    assert options in text and "got rtoll=; mend it" in text and "got 'paths'; mend it" in text
    assert "8 errors" in text


def test_proofs_are_added_to_texts_only(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a\0")
    done = run(tmp_path, "--rr-markdown", "model.onnx")
    assert done.code == 4 and "--rr-markdown: expected a new file, or a text to add to, got model.onnx" in done.text
    assert (tmp_path / "model.onnx").read_bytes() == b"\x08\x0a\0"


def test_a_project_without_proofs_imports_nothing_for_them(tmp_path: Path) -> None:
    heavy = ("torch", "onnx", "onnxruntime", "onnx_ir", "numpy", "scipy")
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\ndef test_plain():\n    assert 'rr_export.pytest_plugin' in sys.modules\n"
        f"    assert [name for name in {heavy} if name in sys.modules] == []\n"
    )
    done = run(tmp_path, "-p", "no:hypothesispytest", "-p", "no:xdist")
    assert done.outcomes == {"test_plain": "passed"}, done.text


@pytest.mark.slow
def test_the_page_runs_as_printed(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "pytest.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    few = 'rr_parity(points=["sites", "paths"])\n'  # the others are tried above
    (tmp_path / "my_models.py").write_text(MODELS)
    (tmp_path / "test_page.py").write_text("\n\n".join(blocks).replace("rr_parity\n", few))
    names: dict[str, Any] = {}
    exec(MODELS, names)
    rr.export(*names["encoder"]()).save(tmp_path / "released" / "encoder")
    done = run(tmp_path, "-k", "not test_interfaces")
    assert {"test_encoder[paths]", "test_release[paths]", "test_own"} <= done.outcomes.keys()
    assert set(done.outcomes.values()) == {"passed"}, done.text
