"""``rr-runtime`` on bundles with profiles: runs take them, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from . import handmade
from .test_command_line import ended, result_of

WriteBundle = Callable[..., Path]


@pytest.fixture
def profiled(bundle: WriteBundle) -> Path:
    return handmade.write_profiles(bundle("explicit"))


def even(seed: int) -> list[int]:
    """The path of a seed by the law of "even", written by hand."""
    outer, inner, head = (int(draw >= 0.5) for draw in handmade.draws(seed, 3))
    return [outer, inner if outer == 1 else -1, head]


def test_a_run_takes_the_law_of_a_profile_or_of_a_budget(profiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for options, name in ((("--profile", "even"), "even"), (("--budget", 0.9), "even")):
        for seed in range(10):
            found = result_of(capsys, "run", profiled, "--golden", 0, "--seed", seed, *options)
            assert (found["path"], found["profile"], found["seed"]) == (even(seed), name, seed)
            paths.append(tuple(found["path"]))
    assert len(set(paths)) > 3
    cheap = result_of(capsys, "run", profiled, "--golden", 0, "--budget", "0.5")
    assert (cheap["path"], cheap["profile"]) == ([0, -1, 0], "short")
    forced = result_of(capsys, "run", profiled, "--golden", 0, "--profile", "whole", "--path", "-1,0,-1")
    assert forced["path"] == [1, 0, 1]
    many = result_of(capsys, "run", profiled, "--golden", 0, "--runs", 20, "--seed", 0, "--profile", "even")
    assert many["profile"] == "even" and many["distinct_paths"] == len({tuple(even(seed)) for seed in range(20)})
    assert "profile" not in result_of(capsys, "run", profiled, "--golden", 0)


def test_info_tells_profiles(profiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = result_of(capsys, "info", profiled)["profiles"]
    assert [(row["name"], row["path"]) for row in found] == [
        ("even", None),
        ("short", [0, -1, 0]),
        ("whole", [1, 1, 1]),
    ]
    assert [row["measured"] for row in found] == [p.get("measured") for p in handmade.PROFILES.values()]
    told, written = found[0]["sites"], handmade.PROFILES["even"]["policies"]
    assert [(s["name"], s["law"]) for s in told] == [(s["name"], "categorical") for s in handmade.SITES]
    assert [s["probabilities"] for s in told] == [p["probabilities"] for p in written] and found[1]["sites"] == []
    assert ended("info", profiled) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    # "outer.b.inner" has the law of the file, but for the chain that goes on at "head"
    assert "even 60.0% 0.8 0.05 accuracy [0.5 0.5 0] at outer, [0.5 0.5] at head" in shown
    assert "short 30.0% 0.7 0 accuracy path 0,-1,0" in shown and "whole - - - - path 1,1,1" in shown


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--profile", "odd"), "error: profile: expected one of even, short, whole of "),
        (("--profile", ""), "error: profile: expected one of even, short, whole of "),
        (("--profile", "even", "--budget", "1"), "error: budget: expected no budget beside a profile, got both"),
        (("--budget", "0.2"), "error: budget: expected at least 0.3, the cheapest of the menu, got 0.2"),
        (("--budget", "nan"), "error: budget: expected a share above 0, got nan"),
        (("--budget", "-1"), "error: budget: expected a share above 0, got -1.0"),
        (("--budget", "much"), "error: argument --budget: invalid float value: 'much'"),
    ],
)
def test_laws_that_are_not_there_end_with_2(
    options: tuple[str, ...], text: str, profiled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("run", profiled, "--golden", "0", *options) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--profile", "even"), ("--budget", "0.5")])
def test_files_that_take_no_path_take_no_law(
    option: tuple[str, ...], bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = ("--input", "x=[[1, 2, 3, 4]]", "--input", "offset=[0]")
    assert ended("run", bundles["standalone"], *inputs, *option) == 2
    assert f"error: {option[0][2:]}: expected none for " in capsys.readouterr().err
