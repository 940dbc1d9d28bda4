"""The tables of ``rr-export bench``, and the frozen path that it compares with."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rr_export.bundle.bundle_reader import load
from rr_export.errors import PackageError
from rr_export.tools.warned import machine_line
from rr_runtime.bundle import open_bundle

NOISY = 1.5  # p95 over p50 of one path, above which its noise is no longer small beside that of paths
LAWS = (("law", "fresh paths"), ("most_probable", "most probable path"), ("frozen", "the same path, frozen"))


def why_not_frozen(bundle: Path) -> str | None:
    """Returns why a bundle has no file of one path to compare with, or None where one can be made."""
    found = open_bundle(bundle)
    if found.model is None:
        return "the bundle has targets only, and a static file is made from the routed model; bench the one it is from"
    if found.manifest.interface in ("standalone", "plain"):
        return f"a file of interface {found.manifest.interface!r} takes no path"
    return None


def freeze_usual(bundle: Path, folder: Path) -> tuple[tuple[int, ...], Path]:
    """Returns the most probable path of a routed bundle, and a bundle of its static file.

    It has the targets of the bundle, in the same sizes and precisions, but for those that need other calibration data.

    Args:
        bundle: the bundle folder.
        folder: an empty folder to write to.
    """
    from rr_export.targets.freeze import freeze
    from rr_export.targets.package import make_target

    loaded = load(bundle)
    path = tuple(int(route) for route in loaded.plan.evenly().most_probable())
    frozen = freeze(loaded, path)
    for name, target in loaded.targets.items():
        about = target.about
        with contextlib.suppress(PackageError):  # nothing to calibrate with
            frozen = make_target(
                frozen, about["provider"], sizes=about.get("sizes"), precision=about["precision"], name=name
            )
    return path, frozen.save(folder / "frozen")


def bench_view(result: Mapping[str, Any]) -> list[RenderableType]:
    """Returns the law over paths, the cost of every branch, and of loading, for every form on every provider."""
    sound = [subject for subject in result["subjects"] if not subject["error"]]
    parts: list[RenderableType] = []
    if sound:
        parts.append(_law(result, sound))
    if any(subject["branches"] for subject in sound):
        parts.append(_branches(sound))
    if any(subject["load"] for subject in sound):
        parts.append(_load(sound))
    lines = [
        f"{escape(_name(subject))}: routed over frozen, paired ratio {ratio['median']:.3f} "
        f"(quartiles {ratio['low']:.3f} to {ratio['high']:.3f})"
        for subject in sound
        if (ratio := subject["ratio_to_frozen"])
    ]
    lines += [
        f"[yellow]warning:[/] {escape(_name(subject))}: no frozen path is timed: {escape(subject['frozen_error'])}"
        for subject in sound
        if subject["frozen_error"]
    ]
    lines += [_model(subject) for subject in sound if subject.get("model")]
    lines += [_noise(subject) for subject in sound if _is_noisy(subject)]
    lines += [
        f"[red]{escape(subject['name'])} fails:[/] {escape(subject['error'])}"
        for subject in result["subjects"]
        if subject["error"]
    ]
    if result["fastest"]:
        lines += _recorded(result["fastest"])
    return [*parts, Text.from_markup("\n".join([*lines, escape(machine_line(result["machine"]))]))]


def _is_noisy(subject: Mapping[str, Any]) -> bool:
    """Tells whether runs of one and the same path differ as only those of different paths should."""
    one = subject["most_probable"]
    return one is not None and bool(one["p95"] > NOISY * one["p50"])


def _noise(subject: Mapping[str, Any]) -> str:
    one = subject["most_probable"]
    return (
        f"[yellow]warning:[/] {escape(_name(subject))}: one path alone takes {one['p50']:.3f} ms in half of its runs "
        f"and over {one['p95']:.3f} ms in a twentieth, so the law over paths holds the noise of a busy machine\n"
        "  remedy: measure again while nothing else runs"
    )


def _model(subject: Mapping[str, Any]) -> str:
    """How well costs of branches say what other paths take."""
    model = subject["model"]
    if not model["paths"]:
        return f"{escape(_name(subject))}: all paths are timed above"
    many = f"{model['paths']} other random path{'s' * (model['paths'] > 1)}"
    return (
        f"{escape(_name(subject))}: a base and a cost for each branch say what {many} took to "
        f"{model['error_mean']:.1%} on average, {model['error_worst']:.1%} at worst"
    )


def _recorded(fastest: Mapping[str, Any]) -> list[str]:
    """What was recorded, and what was not because it is wrong."""
    lines = [f"[red]{escape(name)} is not recorded:[/] {escape(why)}" for name, why in fastest["wrong"].items()]
    if fastest["provider"] is None:
        return [*lines, "[red]nothing is recorded[/]"]
    lines += [f"tuning, {escape(step['setting'])}: {_compared(step)}" for step in fastest["steps"]]
    what = f"{fastest['provider']}, {fastest['words']}"
    return [*lines, f"recorded for provider='auto': {escape(what)} ({escape(fastest['file'])})"]


def _compared(step: Mapping[str, Any]) -> str:
    """What came out of a comparison of two tunings."""
    if step["ratio"] is None:
        return "does not run, or not rightly"
    return f"{step['ratio']:.3f} of the time, {'faster' if step['faster'] else 'not faster beyond the noise'}"


def _law(result: Mapping[str, Any], subjects: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        title=escape(f"{result['bundle']}: {result['sites']} sites, milliseconds of a run"),
        caption=f"{result['runs']} interleaved rounds in random order, {result['threads']} "
        f"thread{'s' * (result['threads'] > 1)}, seeds from {result['first_seed']}",
    )
    table.add_column("runs")
    for column in ("p50", "p95", "p99", "mean", "its error"):
        table.add_column(column, justify="right", no_wrap=True)
    for subject in subjects:
        table.add_row(f"[bold]{escape(_name(subject))}[/]")
        laws = {words: subject[key] for key, words in LAWS}
        laws |= {f"profile {name}": law for name, law in subject["profiles"].items()}
        for words, law in laws.items():
            if law is not None:
                table.add_row(
                    f"  {escape(words)}", *(f"{law[name]:.3f}" for name in ("p50", "p95", "p99", "mean", "error"))
                )
        table.add_section()
    return table


def _name(subject: Mapping[str, Any]) -> str:
    return f"{subject['target']} on {subject['provider']}"


def _branches(subjects: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        title="cost of a branch, milliseconds",
        caption="median of paired differences around the most probable path, with its 95 % interval",
    )
    for column in ("site", "branch", "instead of"):
        table.add_column(column, overflow="fold")
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for subject in subjects:
        if subject["branches"]:
            table.add_column(escape(_name(subject)), justify="right")
        for entry in subject["branches"]:
            row = rows.setdefault((entry["site"], entry["branch"], entry["instead_of"]), {})
            row[subject["name"]] = _interval(entry["cost_ms"])
    names = [subject["name"] for subject in subjects if subject["branches"]]
    for key, row in rows.items():
        table.add_row(*map(escape, key), *(row.get(name, "-") for name in names))
    return table


def _interval(cost: Sequence[float | None]) -> str:
    low, median, high = cost
    bounds = "too few rounds" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"
    return f"{median:+.3f} ({bounds})"


def _load(subjects: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        title="loading",
        caption="medians over fresh processes; memory: growth of resident memory, mapped weights included",
    )
    table.add_column("form on provider", no_wrap=True)
    for column in ("open s", "of it hashes", "first run s", "memory MB", "after a run"):
        table.add_column(column, justify="right")
    for subject in subjects:
        found = subject["load"]
        if not found:
            continue
        table.add_row(
            escape(_name(subject)),
            *(f"{found[key]:.3f}" for key in ("load_s", "check_s", "first_run_s")),
            *(
                "not told" if found[key] is None else f"{found[key] / 1e6:.1f}"
                for key in ("resident_load", "resident_run")
            ),
        )
    return table
