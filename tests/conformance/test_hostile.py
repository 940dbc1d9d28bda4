"""Hostile bundles are refused, by the class of error that the contract names, and soon."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from rr_runtime import Session
from tests.conformance.agent import CLASSES, Agent, AgentSession
from tests.conformance.hostile import HOSTILE, Hostile, by_name, text
from tests.conformance.runner import ROOT
from tests.conformance.runners import RUNNERS
from tests.conformance.test_agents import saboteur


@pytest.mark.parametrize("hostile", HOSTILE, ids=list(by_name()))
def test_python_refuses(hostile: Hostile, tmp_path: Path) -> None:
    place = hostile.at(tmp_path / "bundle")
    with pytest.raises(CLASSES[hostile.error]) as raised:
        session = Session(place)
        assert hostile.checked
        session.check()
    assert type(raised.value) is CLASSES[hostile.error], raised.value
    assert ": expected " in str(raised.value) and len(str(raised.value)) < 2000


@pytest.mark.parametrize("case", sorted({hostile.case for hostile in HOSTILE}))
def test_the_sound_one_opens(case: str, tmp_path: Path) -> None:
    hostile = Hostile("nothing", lambda folder: folder, case=case)
    Session(hostile.at(tmp_path / "bundle")).check()


def test_lists_as_deep_as_is_allowed_are_read(tmp_path: Path) -> None:
    deep = text(lambda manifest: '{"x": ' + "[" * 199 + "]" * 199 + ", " + manifest[1:])
    Session(Hostile("deep", deep).at(tmp_path / "bundle")).check()


LANGUAGES = [name for name, runner in RUNNERS.items() if runner.agent is not None]


@pytest.mark.providers
@pytest.mark.parametrize("name", LANGUAGES)
def test_other_languages_refuse(name: str, tmp_path: Path) -> None:
    runner = RUNNERS[name]
    if runner.missing():
        pytest.skip(runner.missing())
    assert runner.agent is not None
    wrong = wrong_answers(runner.agent, tmp_path)
    assert wrong == {}


def test_what_is_not_refused_is_noticed(tmp_path: Path) -> None:
    command = saboteur("'error' in answer and answer.clear()")
    some = [hostile for hostile in HOSTILE if hostile.name in ("a key twice", "a model cut short")]
    assert wrong_answers(command, tmp_path, some) == {hostile.name: "is not refused" for hostile in some}
    command = saboteur("'error' in answer and answer['error'].update({'class': 'ValueError', 'message': 'no'})")
    assert set(wrong_answers(command, tmp_path / "again", some).values()) == {"ValueError: no"}


def wrong_answers(command: Sequence[str], folder: Path, some: Sequence[Hostile] = HOSTILE) -> dict[str, str]:
    """Returns what an agent answers to hostile bundles where that is not what the contract says, by their names."""
    wrong = {}
    with closing(Agent(command, ROOT)) as agent:
        for number, hostile in enumerate(some):
            place = hostile.at(folder / str(number))
            try:
                session = AgentSession(agent, place, provider="cpu")
                if hostile.checked:
                    session.check()
                wrong[hostile.name] = "is not refused"
            except Exception as error:
                expected = type(error) is CLASSES[hostile.error] and ": expected " in str(error)
                if not expected or len(str(error)) >= 2000:
                    wrong[hostile.name] = f"{type(error).__name__}: {error}"
            shutil.rmtree(place.parent if place.is_file() else place)
    return wrong
