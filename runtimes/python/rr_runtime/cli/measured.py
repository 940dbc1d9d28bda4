"""``rr-runtime doctor | place | bench``: what is measured, as tables of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rr_runtime.cli.columns import machine_text, warning_texts
from rr_runtime.cli.outcome import HOLDS, MISMATCH, Outcome
from rr_runtime.text_table import columns
from rr_runtime.tools.bench import bench as measure_bench
from rr_runtime.tools.doctor import doctor as ask_doctor
from rr_runtime.tools.place import place as find_place

Result = Mapping[str, Any]


def doctor(**options: Any) -> Outcome:
    """Returns what every provider is here, and does with a bundle."""
    return _outcome(ask_doctor(**options), _doctor_text)


def place(**options: Any) -> Outcome:
    """Returns which nodes run where, and what skipping saves."""
    return _outcome(find_place(**options), _place_text)


def bench(providers: Sequence[str] | None, **options: Any) -> Outcome:
    """Returns what runs cost; where no provider is named, on the CPU."""
    return _outcome(measure_bench(providers=providers or ("cpu",), **options), _bench_text)


def _outcome(result: dict[str, Any], text: Callable[[Result], str]) -> Outcome:
    return Outcome(result, lambda: text(result), HOLDS if result["holds"] else MISMATCH)


def _doctor_text(result: Result) -> str:
    rows = [
        (
            entry["name"],
            "yes" if entry["available"] else "no",
            f"{entry['package']} {entry['version']}" if entry["package"] else "-",
            entry["hardware"] if entry["available"] else entry["why"] if entry["package"] else entry["install"],
        )
        for entry in result["providers"]
    ]
    parts = [columns(("provider", "here", "package", "runs on; why not, or how to get it"), rows)]
    tried = [(entry["name"], entry["bundle"]) for entry in result["providers"] if entry["bundle"] is not None]
    if tried:
        head = ("provider", "target", "form", "opens", "nodes on it", "golden cases")
        parts.append(f"{result['bundle']}\n" + columns(head, [_tried(name, found) for name, found in tried]))
    for name, found in tried:
        lines = ([f"fails: {found['error']}"] if found["error"] else []) + warning_texts(found["warnings"])
        parts += ["\n".join([name, *lines])] if lines else []
    return "\n\n".join([*parts, machine_text(result["machine"])])


def _tried(name: str, found: Result) -> tuple[object, ...]:
    nodes = "not told" if found["nodes"] is None else found["nodes"].get(name, 0)
    golden = f"{found['golden']} hold" if found["golden"] else "fail" if found["error"] else "not compared"
    return name, found["target"], found["form"] or "-", "yes" if found["opens"] else "no", nodes, golden


def _place_text(result: Result) -> str:
    counts = result["counts"]
    names = sorted(counts or {result["provider"]: 0}, key=lambda name: (name != result["provider"], name))
    rows = [(part["part"], *(part["providers"].get(name, 0) for name in names)) for part in result["parts"]]
    rows.append(("all", *("not told" if counts is None else counts[name] for name in names)))
    parts = [
        f"{result['bundle']}: target {result['target']} ({result['form']}) on {result['provider']}",
        columns(("nodes in", *(f"on {name}" for name in names)), rows),
    ]
    if result["sites"]:
        sites = [
            (
                site["site"],
                f"{site['cheapest']} {site['cheapest_ms']:.3f}",
                f"{site['dearest']} {site['dearest_ms']:.3f}",
                _interval(site["saving_ms"]),
                f"{site['verdict']}; whole If" if site["whole"] else site["verdict"],
            )
            for site in result["sites"]
        ]
        parts.append(columns(("site", "cheapest, ms", "dearest, ms", "saves ms", "verdict"), sites))
    return "\n\n".join([*parts, *warning_texts(result["warnings"]), machine_text(result["machine"])])


def _interval(saving: Sequence[float] | None) -> str:
    if saving is None:
        return "too few rounds"
    low, median, high = saving
    return f"{median:.3f} ({low:.3f} to {high:.3f})"


def _bench_text(result: Result) -> str:
    head = ("runs, ms", "p50", "p95", "p99", "mean", "its error")
    rows: list[tuple[str, ...]] = []
    for subject in result["subjects"]:
        if subject["error"]:
            rows.append((f"{subject['name']}: fails, {subject['error']}", *[""] * 5))
            continue
        for name, law in (
            ("fresh paths", subject["law"]),
            ("most probable path", subject["most_probable"]),
            ("the same path, frozen", subject["frozen"]),
            *((f"profile {profile}", law) for profile, law in subject["profiles"].items()),
        ):
            if law is not None:
                figures = (f"{law[key]:.3f}" for key in ("p50", "p95", "p99", "mean", "error"))
                rows.append((f"{subject['name']}: {name}", *figures))
    parts = [f"{result['bundle']}: {result['sites']} sites, {result['runs']} rounds, {result['threads']} threads"]
    parts.append(columns(head, rows))
    costs = [
        (subject["name"], row["site"], row["branch"], row["instead_of"], f"{row['cost_ms'][1]:+.3f}")
        for subject in result["subjects"]
        for row in subject["branches"]
    ]
    if costs:
        parts.append(columns(("form", "site", "branch", "instead of", "costs ms"), costs))
    models = [(s["name"], s["model"]) for s in result["subjects"] if s["model"] and s["model"]["paths"]]
    parts += [
        f"{name}: a base and a cost for each branch say what {model['paths']} other random paths took to "
        f"{model['error_mean']:.1%} on average, {model['error_worst']:.1%} at worst"
        for name, model in models
    ]
    if result["fastest"]:
        parts.append(_recorded(result["fastest"]))
    return "\n\n".join([*parts, machine_text(result["machine"])])


def _recorded(fastest: Result) -> str:
    lines = [f"{name} is not recorded: {why}" for name, why in fastest["wrong"].items()]
    if fastest["provider"] is None:
        return "\n".join([*lines, "nothing was recorded"])
    told = f"{fastest['provider']}, {fastest['words']} ({fastest['file']})"
    return "\n".join([*lines, f"recorded for provider='auto': {told}"])
