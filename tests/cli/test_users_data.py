"""The user's data on the command line: generators that refill a buffer, print or raise; models that fail on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.test_commands import SOURCE as MODELS
from tests.cli.test_commands import run

SOURCE = """
import torch
from torch import nn
import rr_export as rr

class Narrow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.more = nn.Embedding(10, 2), nn.Linear(2, 2)

    def forward(self, input):
        print("forward was called")
        return self.more(self.layer(input.long()))

def narrow():
    torch.manual_seed(0)
    model = Narrow().eval()
    rr.route_layers(model, "more", keep=0.5)
    return model, (torch.ones(4, 8),)

def far():
    yield torch.ones(4, 8)
    yield torch.full((4, 8), 60.0)

def ends(self, input):
    raise EOFError("the end")

def ending():
    before, Narrow.forward = Narrow.forward, ends
    try:
        yield torch.ones(4, 8)
    finally:
        Narrow.forward = before

def refilled():
    buffer = torch.zeros(4, 8)
    for n in range(4):
        print("an input is made")
        yield buffer.fill_(n)

def refilled_by_name():
    return ({"input": item.numpy()} for item in refilled())

def no_key():
    yield torch.ones(4, 8)
    {}["weights"]

def no_value():
    yield torch.ones(4, 8)
    raise ValueError("no number")

def leaves():
    yield torch.ones(4, 8)
    raise SystemExit(0)

def at_its_end():
    yield torch.ones(4, 8)
    raise EOFError("no more lines")

def boom(path):
    return 1 / 0

"""

for failing in ("no_key", "no_value", "leaves", "at_its_end"):
    SOURCE += f"""
def {failing}_by_name():
    return ({{"input": item.numpy()}} for item in {failing}())

def {failing}_as_golden():
    return ((item,) for item in {failing}())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "my_models.py").write_text(MODELS)
    (folder / "users_data.py").write_text(SOURCE)
    for model in ("my_models:small", "my_models:other", "users_data:narrow"):
        name = {"small": "out", "other": "another"}.get(model.partition(":")[2], "narrow")
        assert run(folder, "export", model, name).returncode == 0
    np.savez(folder / "double.npz", input=np.ones((4, 8)))
    np.savez(folder / "none.npz", input=np.ones((0, 4, 8), np.float32))
    np.savez(folder / "nothing.npz", input=np.ones((0, 8), np.float32))
    (folder / "empty.npz").write_bytes(b"")
    np.save(folder / "x.npy", np.ones((4, 8), np.float32))
    assert run(folder, "package", "out", "forms", "--target", "cuda").returncode == 0
    return folder


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (("out", "my_models:other"), "refilled"),
        (("another", "--against", "out"), "refilled_by_name"),
        (("forms", "--target", "cuda"), "refilled_by_name"),
    ],
)
def test_bug_a_buffer_that_is_refilled_was_compared_again_and_again(
    place: Path, tmp_path: Path, command: tuple[str, ...], data: str
) -> None:
    worst, json_file = tmp_path / "worst.npz", tmp_path / "report.json"
    done = run(
        place, "verify", *command, "--max-paths", "1", "--data", f"users_data:{data}", "--worst", str(worst),
        f"--json={json_file}", "--results", str(tmp_path / "kept.jsonl"),
    )  # fmt: skip
    assert done.returncode == (0 if "forms" in command else 1) and "an input is made" not in done.stdout
    (check,) = [c for c in json.loads(json_file.read_text())["checks"] if c["name"].endswith("data")]
    keys = [json.loads(line)["key"].split()[1] for line in (tmp_path / "kept.jsonl").read_text().splitlines()[1:]]
    assert check["figures"]["inputs"] == len(set(keys)) == 4
    if "forms" not in command:
        far = check["figures"]["largest_differences"][0]["input"]
        assert far > 0 and np.array_equal(np.load(worst)["input"], np.full((4, 8), far, np.float32))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_bug_what_a_model_prints_was_mixed_with_the_report(
    place: Path, jobs: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ("narrow", "users_data:narrow", "--data", "users_data:refilled", "--jobs", jobs)
    done = run(place, "verify", *given, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["passed"] is True
    assert "forward was called" in done.stderr and "an input is made" in done.stderr
    assert "forward was called" not in capfd.readouterr().out  # what other processes print
    done = run(place, "diff", "narrow", "users_data:narrow", "--json", "--runs", "1")
    assert json.loads(done.stdout)["format"] == "rr.changes" and "forward was called" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message", "line"),
    [
        *(
            (command, f"to yield inputs, got {said}; mend it there", line)
            for function, said, line in (
                ("no_key", "KeyError: 'weights'", '{}["weights"]'),
                ("no_value", "ValueError: no number", 'raise ValueError("no number")'),
                ("leaves", "SystemExit: 0", "raise SystemExit(0)"),
                ("at_its_end", "EOFError: no more lines", 'raise EOFError("no more lines")'),
            )
            for command in (
                ("verify", "out", "my_models:small", "--max-paths", "1", "--data", f"users_data:{function}"),
                ("verify", "out", "--against", "out", "--max-paths", "1", "--data", f"users_data:{function}_by_name"),
                ("diff", "out", "out", "--data", f"users_data:{function}_by_name"),
                ("export", "my_models:small", "elsewhere", "--golden", f"users_data:{function}_as_golden"),
                ("package", "out", "elsewhere", "--target", "cuda", "--golden", f"users_data:{function}_by_name"),
            )
        ),
        *(
            (
                ("verify", "narrow", "users_data:narrow", "--data", f"users_data:{data}", "--jobs", jobs),
                f"expected a model that runs, got {said} of the data); mend it there",
                line,
            )
            for data, jobs, said, line in (
                ("far", "1", "IndexError: index out of range in self (on input 1", "in forward return self.more("),
                ("far", "2", "IndexError: index out of range in self (on input 1", "in forward return self.more("),
                ("ending", "1", "EOFError: the end (on input 0", 'raise EOFError("the end")'),
            )
        ),
        (
            ("package", "out", "elsewhere", "--target", "cuda", "--frozen", "2", "--best", "users_data:boom"),
            "expected users_data:boom to return, got ZeroDivisionError: division by zero; mend it there",
            "return 1 / 0",
        ),
        (("diff", "out", "my_models:leaving"), "expected a model that runs, got SystemExit: 0", "raise self.ends"),
    ],
)
def test_bug_what_raises_on_data_had_other_exit_codes(
    place: Path, arguments: tuple[str, ...], message: str, line: str
) -> None:
    done = run(place, *arguments)
    assert done.returncode == 3, done
    said = " ".join(done.stderr.split())
    assert message in said and "Traceback" in said and line in said
    assert "users_code.py" not in said and "rr_export/cli" not in said
    assert not (place / "elsewhere").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "out", "my_models:small", "--data", "empty.npz"), "expected a .npz file, got empty.npz"),
        *(
            ((*command, "--data", data), text)
            for command in (
                ("verify", "out", "my_models:small", "--max-paths", "1"),
                ("verify", "out", "--against", "out", "--max-paths", "1"),
                ("diff", "out", "out", "--runs", "0"),
            )
            for data, text in (
                ("double.npz", "data, input 0: input 'input': expected float32, got float64; convert it"),
                ("none.npz", "--data none.npz: expected inputs along the first axis, got none"),
                ("nothing.npz", "data, input 0: input"),
            )
        ),
        (
            ("verify", "out", "my_models:small", "--data", "x.npy", "--jobs", "0"),
            "--jobs: expected a number of workers",
        ),
    ],
)
def test_bug_data_that_is_none_exits_with_2(place: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(place, *arguments)
    assert done.returncode == 2 and message in " ".join(done.stderr.split()), done
