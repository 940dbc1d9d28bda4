"""Commands start with what they need: no torch where none is needed, and nothing heavy for a help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import rr_export as rr
from rr_export.cli import COMMANDS, cli
from tests.cli.test_report_files import SUMS
from tests.cli.without_torch import run_commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, ``out``."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(3)], nn.Linear(8, 2)).eval()
    rr.route_layers(model, "[0-2]", keep=0.8)
    rr.export(model, (torch.ones(2, 8),)).save(folder / "out")
    (folder / "my_sums.py").write_text(SUMS)
    return folder


TORCH_FREE: list[tuple[str, ...]] = [
    ("explain", "bundle"),
    ("lint", "out"),
    ("inspect", "out", "--json"),
    ("run", "out", "--golden", "0", "--seed", "7"),
    ("profile", "out", "half", "--keep", "0.5", "--cost", "0.6", "--quality", "0.8", "--metric", "f1"),
    ("run", "out", "--golden", "0", "--budget", "0.7"),
    ("menu", "out"),
    ("profile", "out", "half", "--remove"),
    ("profile", "out", "short", "--path", "1,0,1"),
    ("prune", "out", "-o", "pruned", "--profile", "short"),
    ("verify", "pruned", "--against", "out"),
    ("profile", "out", "short", "--remove"),
    ("doctor", "out", "--provider", "cpu"),
    ("place", "out", "--runs", "0"),
    ("package", "out", "packaged", "--target", "cpu", "--frozen", "2", "--name", "two"),
    ("package", "out", "ort", "--target", "cpu", "--format", "ort"),
    ("package", "out", "qnn", "--target", "qnn", "--precision", "qdq"),
    ("freeze", "out", "frozen", "--path", "1,0,1"),
    ("verify", "out/model.onnx", "--against", "out"),
    ("verify", "packaged", "--target", "two"),
    ("diff", "out", "packaged", "--runs", "10", "--fail-on", "outputs"),
    ("bench", "out", "--runs", "10", "--loads", "0"),
    ("search", "out", "--data", "my_sums:data", "--metric", "my_sums:worth", "--costs", "flops"),
    ("attribute", "out", "--data", "my_sums:data", "--metric", "my_sums:worth", "--json", "attribution.json"),
    ("report", "out", "attribution.json", "-o", "report.html"),
    ("fit", "out", "--budget", "0.7", "--costs", "flops", "--name", "fast"),
]
NEED_TORCH = [
    (("export", "my_models:small", "made"), "export: expected torch, got none; pip install 'rr-export[torch]'"),
    (("verify", "out", "my_models:small"), "verify: expected torch, got none; pip install 'rr-export[torch]'"),
    (("diff", "out", "my_models:small"), "diff: expected torch, got none; pip install 'rr-export[torch]'"),
    (("demo",), "demo: expected torch, got none; pip install 'rr-export[demo]'"),
]
PYTHON = ("python", "import rr_export as rr; rr.export")


def test_commands_that_need_no_torch_never_import_it(folder: Path) -> None:
    for arguments, ran in zip(TORCH_FREE, run_commands(TORCH_FREE, folder), strict=True):
        assert (ran.code, ran.asked) == (0, []), f"{arguments}: {ran.printed}"


def test_commands_that_need_torch_name_the_extra(folder: Path) -> None:
    *commands, function = run_commands([*(command for command, _ in NEED_TORCH), PYTHON], folder)
    for (arguments, text), ran in zip(NEED_TORCH, commands, strict=True):
        assert ran.code == 2 and text in " ".join(ran.printed.split()), f"{arguments}: {ran.printed}"
        assert ran.asked
    assert (function.code, function.printed) == ("ImportError", NEED_TORCH[0][1])


def test_help_imports_no_command_and_nothing_heavy(tmp_path: Path) -> None:
    group, rules, *helps = run_commands(
        [["--help"], ["lint", "--rules"], *([name, "--help"] for name in COMMANDS)], tmp_path
    )
    assert (group.code, group.there) == (0, [])
    assert (rules.code, rules.there) == (0, ["lint"])
    assert [ran.code for ran in helps] == [0] * len(COMMANDS)
    assert helps[-1].there == sorted({module for module, _ in COMMANDS.values()})


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_help_of_a_command_begins_with(name: str) -> None:
    command = cli.get_command(None, name)
    assert command is not None and command.name == name
    assert command.get_short_help_str(limit=1000) == COMMANDS[name][1]


def test_the_help_lists_every_command_in_order() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


def test_symbolic_sizes_are_computed_where_sympy_comes_late() -> None:
    """And who asks for sympy itself has it, before and after."""
    code = (
        "import sys; from rr_export.late_sympy import import_sympy_late; import_sympy_late(); import onnx_ir as ir\n"
        "print('sympy.core' in sys.modules)\n"
        "print(ir.SymbolicDim('max(a, 2) + 1').evaluate({'a': 3}), (ir.SymbolicDim('a') * 2).evaluate({'a': 3}))\n"
        "import sympy.core.symbol; from sympy import Symbol\n"
        "print(ir.SymbolicDim(Symbol('b') + 1).evaluate({'b': 1}), sympy.__name__, sympy.Symbol is Symbol)\n"
    )
    assert said(code) == ["False", "4", "6", "2", "sympy", "True"]
    first = "import onnx_ir as ir; from sympy import floor; import sympy.polys; print(floor(2.5), sympy.Max(1, 2))\n"
    assert said(code.replace("import onnx_ir as ir", first, 1))[2:] == ["True", "4", "6", "2", "sympy", "True"]


def said(code: str) -> list[str]:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_public_functions_stay_what_they_are_where_a_module_has_their_name() -> None:
    import rr_export.export  # noqa: F401
    import rr_export.sweep  # noqa: F401

    assert callable(rr.export) and callable(rr.lint) and callable(rr.diff) and callable(rr.sweep)
