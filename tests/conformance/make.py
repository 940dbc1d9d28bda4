"""``python -m tests.conformance.make``: writes the cases; ``--check`` tells whether they are what it writes."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import onnx_ir as ir
from onnxruntime.quantization import quantize_dynamic

import rr_export as rr
from rr_export.bundle.file_names import CARD, MODEL
from rr_export.targets.ort_files import to_ort
from rr_export.targets.package import make_target
from tests.conformance.answers import indistinct, runs_of
from tests.conformance.forms import TARGETS, arguments_of
from tests.conformance.same import differences
from tests.conformance.specs import SPECS, Spec, build, export

CASES = Path(__file__).parent / "cases"
RUNS, ORT = "runs.json", "model.ort"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where a case is not what would be written.")
def main(names: tuple[str, ...], check: bool) -> None:
    """Write the cases (all, or those named) from eager torch."""
    unknown = set(names) - set(SPECS)
    if unknown:
        raise click.BadParameter(f"expected some of {', '.join(SPECS)}, got {', '.join(sorted(unknown))}")
    if check:
        found = check_cases(names or SPECS)
        for line in found:
            click.echo(line, err=True)
        sys.exit(bool(found))
    for name in names or SPECS:
        click.echo(name)
        make_case(SPECS[name], CASES)
    if not names:
        for stale in sorted(set(_folders(CASES)) - set(SPECS)):
            shutil.rmtree(CASES / stale)


def check_cases(names: Iterable[str]) -> list[str]:
    """Returns one line for each way in which a checked-in case is not what the generator makes."""
    found = []
    with tempfile.TemporaryDirectory(prefix="conformance.") as scratch:
        for name in names:
            fresh = make_case(SPECS[name], Path(scratch))
            found += differences(CASES / name, fresh)
    return found + [f"{name}: expected no such case, got a folder" for name in _folders(CASES) if name not in SPECS]


def make_case(spec: Spec, folder: Path) -> Path:
    """The case is in ``folder/<name>``, in place of an earlier one; returns that folder.

    Raises:
        ValueError: some of its paths cannot be told apart.
    """
    target = folder / spec.name
    with contextlib.redirect_stdout(io.StringIO()):  # quantisers and converters print
        model = build(spec)
        bundle = export(spec, model)
        runs = runs_of(spec, model, bundle.plan)
        alike = [] if spec.alike else indistinct(spec, runs)
        if alike:
            raise ValueError(alike[0])
        shutil.rmtree(target, ignore_errors=True)
        _write_model(spec, bundle, target)
    _write_runs(spec, runs, target / RUNS)
    return target


def _write_model(spec: Spec, bundle: rr.Bundle, target: Path) -> None:
    """The bundle, in the form that the case asks for, and its targets."""
    if spec.form == "ort":
        target.mkdir(parents=True)
        _write_ort(bundle, target / ORT)
        return
    if spec.form == "int8":
        bundle = _quantised(bundle)
    for target_name in TARGETS.get(spec.name, ()):
        bundle = make_target(bundle, **arguments_of(spec, target_name, bundle))
    bundle.save(target, external_data=spec.form == "external" or None)
    (target / CARD).unlink()  # engines are tried here, not what people read


def _quantised(bundle: rr.Bundle) -> rr.Bundle:
    with tempfile.TemporaryDirectory(prefix="conformance.") as scratch:
        source, target = Path(scratch) / MODEL, Path(scratch) / "int8.onnx"
        bundle.save(source)
        # without reduce_range, sums overflow on processors without VNNI
        quantize_dynamic(source, target, reduce_range=True, extra_options={"EnableSubgraph": True})
        written = rr.load(target)
        written.model.graph.sort()  # the quantiser leaves the nodes of branches in any order
        return rr.Bundle(written.model, bundle.manifest, bundle.golden)


def _write_ort(bundle: rr.Bundle, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="conformance.") as scratch:
        source = Path(scratch) / MODEL
        bundle.save(source)
        made, _ = to_ort({MODEL: ir.load(source)}, "fixed")
        target.write_bytes(made[ORT])


def _write_runs(spec: Spec, runs: list[dict[str, Any]], file: Path) -> None:
    """One line per run, so that a change of one shows as one."""
    head = {
        "format": "rr.conformance",
        "version": 1,
        "case": spec.name,
        "summary": spec.summary,
        "model": ORT if spec.form == "ort" else ".",
        "rtol": spec.rtol,
        "atol": spec.atol,
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    rows = ",\n".join(f"  {json.dumps(run)}" for run in runs)
    file.write_text("\n".join(["{", *lines, ' "runs": [', rows, " ]", "}", ""]), encoding="utf-8")


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


if __name__ == "__main__":
    main()
