"""The pytest plugin: one test per point of the proof that a bundle and its model are the same.

pytest loads it in every project of an environment: torch, onnx and onnxruntime are imported when a test asks for a
proof.
"""

from __future__ import annotations

import unittest
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rr_export.pytest_plugin.case_proof import CaseProof, LastProof
from rr_export.pytest_plugin.cases import Case, read_case
from rr_export.pytest_plugin.collected_paths import collected_paths
from rr_export.pytest_plugin.outcome import prove_point
from rr_export.pytest_plugin.quiet_tracing import quiet_tracing
from rr_export.pytest_plugin.record import ProofRecord
from rr_export.pytest_plugin.session_bundles import SessionBundles
from rr_export.pytest_plugin.wanted import Wanted, name_of

MARK, POINT, MOST = "rr_parity", "rr_point", "rr_max_paths"
_LAST = pytest.StashKey[LastProof]()
_RECORD = pytest.StashKey[ProofRecord]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin are there."""
    group = parser.getgroup("rr_export", "proofs that an exported file and its model are the same")
    group.addoption(
        "--rr-max-paths",
        type=int,
        metavar="N",
        help="compare all paths of models that have up to N, where a test does not say it itself (256)",
    )
    group.addoption("--rr-markdown", type=Path, metavar="FILE", help="append all proofs to FILE, a job's summary")


def pytest_configure(config: pytest.Config) -> None:
    """The mark is known, and nothing is proven yet."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(points=, paths=, export=, **options): the test returns (model, args) or (bundle, model, args), and "
        "becomes one test per point of the proof that the bundle and the model are the same (rr_export)",
    )
    config.stash[_LAST], config.stash[_RECORD] = LastProof(), ProofRecord()
    place = config.getoption("rr_markdown")
    if place is not None and place.parent.is_dir():  # else it is made
        from rr_runtime.file_places import check_report_file

        try:
            check_report_file(place, option="--rr-markdown", earlier=None)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.hookimpl(trylast=True)  # the points turn fastest, so that those of one case follow each other
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A marked test is as many tests as it asks for points and paths."""
    mark = metafunc.definition.get_closest_marker(MARK)
    if mark is None:
        return
    where = f"{MARK} of {metafunc.function.__name__}"
    try:
        wanted = Wanted.of(where, *mark.args, **_with_default(metafunc.config, mark.kwargs))
    except (TypeError, ValueError) as error:
        pytest.fail(str(error), pytrace=False)
    tests = wanted.tests(lambda: collected_paths(where, metafunc.function, wanted))
    metafunc.fixturenames.append(POINT)
    metafunc.parametrize(POINT, [pytest.param(test, id=name) for name, test in tests.items()])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marked test that is none of a point fails: pytest would call it, and nothing would be proven."""
    if isinstance(item, pytest.Function) and item.get_closest_marker(MARK) is not None:
        of_a_point = POINT in getattr(getattr(item, "callspec", None), "params", {})
        if not of_a_point:
            unit = item.cls is not None and issubclass(item.cls, unittest.TestCase)
            got = "a method of unittest.TestCase" if unit else "one that was marked after it was collected"
            pytest.fail(
                f"{MARK} of {item.originalname}: expected a function, or a method of a plain class, marked in its "
                f"source, got {got}: nothing would be proven; mark a function",
                pytrace=False,
            )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """A marked test is called for its case, and its outcome is that of its point."""
    __tracebackhide__ = True
    mark = pyfuncitem.get_closest_marker(MARK)
    if mark is None:
        return None
    config, name = pyfuncitem.config, pyfuncitem.originalname
    wanted = Wanted.of(f"{MARK} of {name}", **_with_default(config, mark.kwargs))
    given = {a: pyfuncitem.funcargs[a] for a in pyfuncitem._fixtureinfo.argnames}
    bundles: SessionBundles = pyfuncitem._request.getfixturevalue("rr_bundle").__self__

    def prove() -> CaseProof:
        __tracebackhide__ = True  # what the test itself raises is shown from the test on
        with quiet_tracing():
            case = read_case(pyfuncitem.obj(**given), name)
        return CaseProof(bundles.of(case, wanted.export), case, wanted.terms)

    test: Any = pyfuncitem.callspec.params[POINT]
    record, subject = config.stash[_RECORD], _subject(pyfuncitem, name_of(test))
    with record.failing(subject, name_of(test)):
        others = {name: value for name, value in pyfuncitem.callspec.params.items() if name != POINT}
        # the class and parameters of fixtures that the test does not name decide what its model is, too
        made_of = (pyfuncitem.function, pyfuncitem.parent, others, given)
        proof = config.stash[_LAST].of(made_of, prove)
    if not prove_point(proof, test, record, subject):
        reason = f"there is nothing of the point {name_of(test)!r} to compare"
        raise pytest.skip.Exception(reason, _use_item_location=True)  # where the test stands, not this file
    return True


@pytest.fixture(scope="session")
def rr_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Returns the bundle of a model, exported once per session, or the one at a place.

    ``rr_bundle(model, args, kwargs, **options)``, with the options of ``rr_export.export``; ``rr_bundle("folder")``.
    """
    return SessionBundles(tmp_path_factory).bundle


@pytest.fixture
def assert_parity(request: pytest.FixtureRequest, rr_bundle: Callable[..., Any]) -> Callable[..., None]:
    """Fails unless a bundle and a model are the same; every point of the proof is a subtest.

    ``assert_parity(bundle, model, args, kwargs, **options)``, with the options of the mark ``rr_parity``.
    """
    if not hasattr(pytest, "Subtests"):
        raise pytest.UsageError(
            f"assert_parity: expected pytest 9 or newer, which has subtests, got {pytest.__version__}; update it, or "
            f"mark the test with {MARK}"
        )
    subtests, record, subject = request.getfixturevalue("subtests"), request.config.stash[_RECORD], request.node.nodeid

    def prove(bundle: Any, model: Any, args: Sequence[Any] = (), kwargs: Any = None, **options: Any) -> None:
        __tracebackhide__ = True
        wanted = Wanted.of("assert_parity", **_with_default(request.config, options))
        if wanted.export:
            raise ValueError("assert_parity: expected a bundle, got export= beside it; give it to rr_bundle")
        case, empty = Case(model, tuple(args), kwargs or {}, bundle=bundle), 0
        with closing(CaseProof(rr_bundle(bundle), case, wanted.terms)) as proof:
            tests = wanted.tests(proof.paths)
            for name, test in tests.items():
                with subtests.test(name):  # which keeps what is raised, and goes on
                    empty += not prove_point(proof, test, record, subject)
        if empty == len(tests):
            pytest.fail(f"expected something to compare, got nothing of {', '.join(wanted.points)}", pytrace=False)

    return prove


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker of xdist has proven is recorded here too."""
    node.config.stash[_RECORD].take(getattr(node, "workeroutput", {}).get(MARK, {}))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """What was proven is written, or handed over by a worker of xdist."""
    config = session.config
    config.stash[_LAST].close()
    place = config.getoption("rr_markdown")
    if hasattr(config, "workeroutput"):
        config.workeroutput[MARK] = config.stash[_RECORD].rows
    elif place is not None:
        config.stash[_RECORD].write(place)


def _subject(item: pytest.Function, point: str) -> str:
    """What all tests of one case are called."""
    others = item.callspec.id.removesuffix(point).rstrip("-")
    return f"{item.parent.nodeid if item.parent else ''}::{item.originalname}" + (f"[{others}]" if others else "")


def _with_default(config: pytest.Config, options: Any) -> dict[str, Any]:
    most = config.getoption(MOST)
    return {**({} if most is None else {"max_paths": most}), **options}
