"""Agents of other languages are judged as Python's sessions are, and what a wrong one answers is noticed."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rr_runtime import BundleError
from tests.conformance.agent import Agent, AgentError, AgentSession, from_wire, to_wire
from tests.conformance.runner import CASES, FAILS, HOLDS, ROOT, Runner, run_column
from tests.conformance.runners import RUNNERS

PYTHON = (sys.executable, "-m", "tests.conformance.python_agent")
CELLS = ("gate:default", "host:default", "nested3:default", "standalone:default", "words:default")
INPUTS = {"x": np.zeros((2, 4), np.float32)}
AGENT = Runner("agent", "cpu", "a test", targets=lambda name, entry: True, agent=PYTHON)


def saboteur(change: str) -> Sequence[str]:
    """An agent whose answers are changed, by statements on ``request`` and ``answer``."""
    program = (
        "import json, sys\n"
        "from tests.conformance.agent import from_wire, to_wire\n"
        "from tests.conformance import python_agent\n"
        "answers = python_agent.Answers()\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    what = request.pop('do')\n"
        "    try:\n"
        "        answer = getattr(answers, what)(**request)\n"
        "    except Exception as error:\n"
        "        answer = {'error': {'class': type(error).__name__, 'message': str(error)}}\n"
        f"    {change}\n"
        "    print(json.dumps(answer), flush=True)\n"
    )
    return (sys.executable, "-c", program)


def test_an_agent_holds_where_python_does() -> None:
    column = run_column(AGENT, CELLS)
    assert {cell.outcome for cell in column.cells.values()} == {HOLDS}, column.cells
    here = run_column(RUNNERS["cpu"], CELLS)
    assert {name: cell.runs for name, cell in column.cells.items()} == {n: c.runs for n, c in here.cells.items()}
    assert column.versions["runtime"].startswith("python ")


@pytest.mark.parametrize(
    ("change", "told"),
    (
        ("answer.get('path') and answer['path'].reverse()", "expected path"),
        ("answer.pop('outputs', None) and answer.update(outputs={})", "expected outputs"),
        ("'error' in answer and answer['error'].update({'class': 'RuntimeFailure'})", "got RuntimeFailure"),
        ("answer.pop('error', None) and answer.update(seed=None, path=None, outputs={})", "got a result"),
        ("'mean' in answer and answer.update(std=answer['mean'])", "std: "),
        ("'seeds' in answer and answer['seeds'].sort(reverse=True)", "expected seeds"),
        ("what == 'check' and answer.update(error={'class': 'RuntimeFailure', 'message': 'off'})", "check: .*off"),
        ("what == 'run' and sys.exit(3)", "the process ended"),
        ("what == 'run' and answer.update(error={'class': 'NoClass', 'message': ''})", "KeyError"),
    ),
)  # fmt: skip
def test_a_wrong_agent_is_noticed(change: str, told: str) -> None:
    wrong = replace(AGENT, agent=saboteur(change))
    (cell,) = run_column(wrong, ["layer:default"]).cells.values()
    assert cell.outcome == FAILS
    assert re.search(told, cell.reason), cell.reason


def test_a_saboteur_that_changes_nothing_holds() -> None:
    (cell,) = run_column(replace(AGENT, agent=saboteur("pass")), ["layer:default"]).cells.values()
    assert cell.outcome == HOLDS, cell.reason


def test_what_is_not_built_is_missing() -> None:
    runner = replace(AGENT, built="runtimes/nowhere", setup="setup-nowhere")
    assert runner.missing() == "runtimes/nowhere is not built; run: make setup-nowhere"
    assert AGENT.missing() == ""


def test_errors_come_with_their_class_and_an_end_is_none(tmp_path: Path) -> None:
    with closing(Agent(PYTHON, ROOT)) as agent:
        with pytest.raises(BundleError, match="expected a bundle folder"):
            AgentSession(agent, tmp_path / "nothing", provider="cpu")
        session = AgentSession(agent, CASES / "layer", provider="cpu")
        with pytest.raises(TypeError, match="seed"):
            session.run(INPUTS, seed=True)
    ended = pytest.raises(AgentError, match="expected an answer, got its end with 0")
    with closing(Agent((sys.executable, "-c", "pass"), ROOT)) as silent, ended:
        silent.versions()


@pytest.mark.parametrize(
    ("program", "told"),
    (
        ("import sys\nfor line in sys.stdin: print('no JSON', flush=True)", "expected JSON, got 'no JSON"),
        ("import sys\nfor line in sys.stdin: print('[]', flush=True)", "expected an object, got"),
        ("import time\ntime.sleep(60)", r"expected an answer within 0\.5 s, got none"),
    ),
)
def test_what_is_no_answer_is_no_refusal(program: str, told: str) -> None:
    wrong = Agent((sys.executable, "-c", program), ROOT, limit=0.5 if "sleep" in program else 20)
    with closing(wrong) as agent, pytest.raises(AgentError, match=told):
        agent.versions()


@pytest.mark.parametrize("dtype", ("float16", "float32", "float64", "int64", "uint8", "bool"))
@pytest.mark.parametrize("shape", ((), (0, 3), (2, 3)))
def test_arrays_come_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    back = from_wire(to_wire(array[..., ::-1] if array.ndim else array))
    assert back.dtype == array.dtype and back.shape == array.shape
    assert np.array_equal(back, array[..., ::-1] if array.ndim else array)
