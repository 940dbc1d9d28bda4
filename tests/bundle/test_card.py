"""Every bundle folder has a card; what the user writes beside ours is kept, what is changed in ours is never lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import rr_export as rr
from rr_export.bundle.bundle import Bundle
from rr_export.bundle.contents import HubFiles
from rr_export.errors import BundleError
from rr_runtime import Session
from rr_runtime.cli import run_command


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    rr.route_layers(model, "0", keep=0.75)
    return rr.export(model, (torch.ones(2, 4),), dynamic_shapes={"input": {0: "batch"}})


def test_the_card_says_what_it_is(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "small")
    text = (tmp_path / "small" / "README.md").read_text()
    matter = yaml.safe_load(text.split("---\n")[1])
    assert matter == {"library_name": "onnx", "tags": ["onnx", "rr-export", "randomly-routed"]}
    for part in (
        "# small\n",
        "1 sites, 2 paths",
        "| `0` | layer | skip 0.25, run 0.75 | by itself | 1 |",
        "| parameters | 30 | 25 | 83.3% |",  # 0.75 of 20, and 10
        "session = Session('small')",
        "Not verified yet: `rr-export verify small MODEL --record`",
    ):
        assert part in text, part


def test_its_code_runs(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle.save(tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    blocks = (tmp_path / "small" / "README.md").read_text().split("```python\n")[1:]
    assert len(blocks) == 2
    for block in blocks:
        code = block.split("```")[0].replace("...", "__import__('numpy').ones((1, 4), 'float32')")
        names = {"inputs": {"input": __import__("numpy").ones((1, 4), "float32")}}
        exec(compile(code, "card", "exec"), names)


def test_bug_the_card_of_a_device_folder_is_of_what_is_there(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rr.package(bundle, "qnn", sizes={"batch": 1})
    made = rr.package(made, "cpu", frozen=1, best=lambda path: path == (0,), name="cut", sizes={"batch": 1})
    monkeypatch.chdir(tmp_path)
    for name in ("qnn", "cut"):
        made.save(tmp_path / name, only=[name])
        text = (tmp_path / name / "README.md").read_text()
        for wrong in ("model.onnx", "one ONNX file", "rr-export run", "rr-export inspect", "batch 1 to", "interface"):
            assert wrong not in text, wrong
        assert f"A randomly routed model for {'qnn' if name == 'qnn' else 'cpu'}, without its routed file" in text
        assert "| batch=1 |" in text and "`rr-export verify BUNDLE MODEL --record`" in text
        (code,) = text.split("```python\n")[1:]
        names = {"inputs": {"input": np.ones((1, 4), "float32")}}
        exec(
            compile(code.split("```")[0].replace("...", "__import__('numpy').ones((1, 4), 'float32')"), "", "exec"),
            names,
        )
        (commands,) = text.split("```bash\n")[1:]
        for line in commands.split("```")[0].splitlines():
            program, *arguments = line.split()
            assert program == "rr-runtime" and run_command(arguments) == 0
    made.save(tmp_path / "whole")
    assert "one ONNX file" in (tmp_path / "whole" / "README.md").read_text()


def test_bug_a_packaged_bundle_keeps_its_proof(bundle: Bundle, tmp_path: Path) -> None:
    proven = replace(bundle, parity={"passed": True, "checks": [{"name": "paths", "passed": True, "summary": "all"}]})
    made = rr.package(proven, "qnn", sizes={"batch": 1})
    assert repr(made).endswith("verified, but for target qnn; not saved)")
    made.save(tmp_path / "both")
    text = (tmp_path / "both" / "README.md").read_text()
    assert "The same model, by the last `rr-export verify`:" in text and "| paths | holds | all |" in text
    assert "Made after it: target qnn. `rr-export verify both --target qnn` proves them." in text
    made.save(tmp_path / "device", only=["qnn"])
    text = (tmp_path / "device" / "README.md").read_text()
    assert "The same model, by the last `rr-export verify`, of the bundle that it was made from:" in text
    assert "`rr-export verify BUNDLE --target qnn` proves them." in text


def test_what_stands_outside_of_the_marks_is_kept(bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "small"
    bundle.save(place)
    card = place / "README.md"
    text = card.read_text()
    card.write_text(
        text.replace("tags:", "license: mit\ntags:").replace("# small\n", "# Ours\n\nWords.\n") + "\nMore.\n"
    )
    assert len(Session(place).sites) == 1  # not damaged
    other = rr.load(place)
    other.manifest["tolerances"] = {"rtol": 1e-3, "atol": 1e-4}
    other.save(place, overwrite=True)
    other.write_parity({"passed": True, "checks": [{"name": "paths", "passed": True, "summary": "2 of 2 | all"}]})
    new = card.read_text()
    assert new.startswith("---\nlibrary_name: onnx\nlicense: mit\n") and "# Ours\n\nWords.\n" in new
    assert new.endswith("\nMore.\n") and "| paths | holds | 2 of 2 \\| all |" in new and "Not verified" not in new


def test_what_was_changed_between_the_marks_is_not_lost(bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "small"
    bundle.save(place)
    card = place / "README.md"
    mine = card.read_text().replace("## Expected cost", "It is small.\n\n## Expected cost")
    card.write_text(mine)
    other = rr.load(place)
    other.manifest["tolerances"] = {"rtol": 1e-3, "atol": 1e-4}
    with pytest.raises(
        BundleError, match=r"README\.md: expected the card .* changed between its marks; move your text"
    ):
        other.save(place, overwrite=True)
    with pytest.warns(UserWarning, match="changed between its marks.*the card stays as it was"):
        rr.load(place).write_parity({"passed": True, "checks": []})
    assert card.read_text() == mine
    card.write_text("# Something else\n")
    with pytest.raises(BundleError, match=r"got 'README\.md', which no bundle holds"):
        other.save(place, overwrite=True)


def test_a_folder_in_the_layout_of_hugging_face(bundle: Bundle, tmp_path: Path) -> None:
    place = tmp_path / "hub"
    around = HubFiles({"config.json": b"{}", "vocab.txt": b"a\n"}, {"license": "mit", "pipeline_tag": "fill-mask"})
    assert bundle.save(place, around=around) == place
    assert sorted(p.name for p in place.iterdir()) == ["README.md", "config.json", "onnx", "vocab.txt"]
    assert not (place / "onnx" / "README.md").exists()
    card = (place / "README.md").read_text()
    assert "license: mit\npipeline_tag: fill-mask\n" in card and 'InferenceSession("hub/onnx/model.onnx")' in card
    session = Session(place)
    assert session.check() == len(bundle.golden)
    loaded = rr.load(place)
    assert loaded.path == place / "onnx" and not [f for f in rr.lint(place) if f.severity == "error"]
    loaded.write_parity({"passed": True, "checks": []})
    assert "The same model, by the last" in (place / "README.md").read_text()
    with pytest.raises(BundleError, match="got one with other content"):
        bundle.save(place, around=HubFiles({"config.json": b"[]"}, {}))
    bundle.save(place, around=HubFiles({"config.json": b"[]"}, {}), overwrite=True)
    assert (place / "config.json").read_bytes() == b"[]" and not (place / "vocab.txt").exists()
    (place / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"got 'notes\.txt', which no bundle holds"):
        bundle.save(place, around=around, overwrite=True)
    with pytest.raises(ValueError, match=r"around: expected a folder beside it, got the name of one file"):
        bundle.save(tmp_path / "one.onnx", around=around)
    with pytest.raises(ValueError, match=r"around: expected names among .*, got \['weights\.bin'\]"):
        bundle.save(tmp_path / "other", around=HubFiles({"weights.bin": b""}, {}))
