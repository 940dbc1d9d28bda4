"""hf:FOLDER and timm:NAME become bundles and are proven; what is missing or does not fit is said before any work."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from rr_export.bundle.bundle_reader import load
from rr_runtime import Session
from tests.cli.test_commands import run

ROUTES = ("--route", "encoder.layer.*", "--keep", "0.8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``bert``, a folder as save_pretrained writes it, with a card of its own, and ``out``, what became of it."""
    folder = tmp_path_factory.mktemp("names")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8, vocab_size=40
    )
    transformers.BertModel(config).save_pretrained(folder / "bert")
    (folder / "bert" / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n\n# BERT\n")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,:"]
    (folder / "bert" / "vocab.txt").write_text("\n".join(words))
    (folder / "bert" / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    done = run(folder, "export", "hf:bert", "out", *ROUTES)
    assert done.returncode == 0, done
    assert "2 sites, 4 paths" in done.stdout
    return folder


def test_the_folder_has_the_layout_of_hugging_face(place: Path) -> None:
    out = place / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md",
        "config.json",
        "onnx",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    assert (out / "onnx" / "model.onnx").is_file() and (out / "onnx" / "manifest.json").is_file()
    assert (out / "config.json").read_bytes() == (place / "bert" / "config.json").read_bytes()
    card = (out / "README.md").read_text()
    assert "license: apache-2.0\n" in card and "pipeline_tag: feature-extraction\n" in card
    bundle = load(out)
    names = {row["name"]: row["shape"] for row in (*bundle.manifest["inputs"], *bundle.manifest["outputs"])}
    assert names == {
        **{key: ["batch_size", "sequence_length"] for key in ("input_ids", "attention_mask", "token_type_ids")},
        "last_hidden_state": ["batch_size", "sequence_length", 8],
        "pooler_output": ["batch_size", 8],
    }
    assert transformers.AutoConfig.from_pretrained(out).num_hidden_layers == 2


def test_it_runs_and_is_proven(place: Path) -> None:
    assert Session(place / "out").check() > 0
    done = run(place, "verify", "out", "hf:bert", *ROUTES, "--record")
    assert done.returncode == 0, done
    assert (place / "out" / "onnx" / "parity.json").is_file()
    assert "The same model, by the last `rr-export verify`" in (place / "out" / "README.md").read_text()


@pytest.mark.slow
def test_other_weights_are_another_model(place: Path) -> None:
    weights = load_file(place / "bert" / "model.safetensors")
    save_file({name: tensor * 1.1 for name, tensor in weights.items()}, place / "other.safetensors")
    given = ("--weights", "other.safetensors", *ROUTES, "--max-paths", "2")
    assert run(place, "verify", "out", "hf:bert", *given).returncode == 1
    given = ("--weights", "bert/model.safetensors", *ROUTES, "--max-paths", "2")
    assert run(place, "verify", "out", "hf:bert", *given).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hf:nobody/bert",), "hf:nobody/bert: expected a folder in the layout of Hugging Face, got none; nothing is"),
        (("hf:empty",), "hf:empty: expected config.json in the folder, got none"),
        (("hf:strange",), "expected a class of transformers"),
        (("hf:hollow",), "hf:hollow: expected transformers to make BertModel of the folder, got OSError"),
        (("hf:bert", "--task", "text-classification"), "got 2 missing: classifier.bias, classifier.weight; choose the"),
        (("hf:bert", "--task", "dancing"), "'dancing' is not one of"),
        (("hf:audio",), "expected a model of texts or images, got one of 'input_values'"),
        (("my_models:plain", "--task", "fill-mask"), "--task: expected hf:FOLDER beside it, got 'my_models:plain'"),
        (("hf:bert", "--weights", "odd.safetensors"), "1 unexpected: extra; name the checkpoint of this model"),
    ],
)
def test_what_does_not_fit_exits_with_2(place: Path, arguments: tuple[str, ...], message: str) -> None:
    for name, about in (("strange", {"architectures": ["NoSuchModel"]}), ("hollow", None), ("audio", None)):
        (place / name).mkdir(exist_ok=True)
        if about is not None:
            (place / name / "config.json").write_text(json.dumps(about))
    (place / "empty").mkdir(exist_ok=True)
    shutil.copy(place / "bert" / "config.json", place / "hollow")
    audio = transformers.Wav2Vec2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    audio.architectures = ["Wav2Vec2Model"]
    audio.save_pretrained(place / "audio")
    save_file(load_file(place / "bert" / "model.safetensors") | {"extra": torch.ones(1)}, place / "odd.safetensors")
    given = ("--weights", "odd.safetensors") if arguments == ("hf:audio",) else ()
    done = run(place, "export", *arguments, "elsewhere", *given)
    assert done.returncode == 2, done
    assert message in " ".join(done.stderr.split())
    assert not (place / "elsewhere").exists()


def test_a_missing_package_is_said_with_what_installs_it(place: Path) -> None:
    if importlib.util.find_spec("timm") is None:
        done = run(place, "export", "timm:resnet18", "elsewhere")
        assert done.returncode == 2
        assert "expected timm to be installed, got No module named 'timm'; run: pip install 'rr-export[models]'" in (
            " ".join(done.stderr.split())
        )
