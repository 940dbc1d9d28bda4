"""A folder of Hugging Face -> its model with example arguments; nothing is downloaded, no code of it runs."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rr_export.bundle.contents import HubFiles
from rr_export.bundle.file_names import CARD, COMPANIONS
from rr_export.errors import SourceError
from rr_export.sources.model_case import ModelCase
from rr_export.sources.tasks import TASKS, task_of

SENTENCES = ("A path is drawn in every run.", "Each layer runs, or it is skipped: two layers make four paths.")
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
ROWS, TOKENS, ANSWER = 2, 12, 6  # sizes of examples: sequences, tokens in each, tokens of a decoder
BATCH, SEQUENCE, DECODED = "batch_size", "sequence_length", "decoder_sequence_length"  # optimum's names of the axes


def read_folder(folder: Path, *, task: str | None = None, with_weights: bool = True) -> ModelCase:
    """Returns the model of a folder with example arguments.

    The class is the one that ``architectures`` in config.json names, or the one of ``task``; numbers are float32,
    and attention is computed step by step.
    The example is of the folder's tokenizer, else of the sizes in its configuration.

    Args:
        folder: holds config.json, the weights (model.safetensors or pytorch_model.bin, whole or in shards), and, for
            texts, the files of the tokenizer.
        task: a key of ``TASKS``, in place of the class that the folder names.
        with_weights: the weights of the folder; else some numbers, for a checkpoint of its own.

    Raises:
        SourceError: transformers is missing, the folder is none, or does not hold such a model with all its weights.
    """
    about = read_configuration(folder)
    transformers = _transformers(folder)
    with _quiet(transformers):
        model = _model(transformers, folder, about, task, with_weights)
        kwargs, shapes = _example(transformers, folder, model)
    return ModelCase(model, (), kwargs, shapes)


def read_configuration(folder: Path) -> dict[str, Any]:
    """Returns what config.json of a folder says.

    Raises:
        SourceError: there is none.
    """
    if not folder.is_dir():
        raise SourceError(
            f"hf:{folder}: expected a folder in the layout of Hugging Face, got none; nothing is downloaded: fetch it "
            f"first, for instance with: hf download {folder} --local-dir {folder.name}"
        )
    file = folder / "config.json"
    try:
        about = json.loads(file.read_text())
        if not isinstance(about, dict):
            raise ValueError(f"a {type(about).__name__}")
        return about
    except FileNotFoundError:
        raise SourceError(
            f"hf:{folder}: expected config.json in the folder, got none; name the folder that save_pretrained wrote"
        ) from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: expected a JSON object, got {error}; copy the folder again") from error


def _transformers(folder: Path) -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise SourceError(
            f"hf:{folder}: expected transformers to be installed, got {error}; run: pip install 'rr-export[models]'"
        ) from error


def _model(
    transformers: Any, folder: Path, about: Mapping[str, Any], task: str | None, with_weights: bool
) -> nn.Module:
    named = (about.get("architectures") or [None])[0]
    name = named if task is None else TASKS[task]
    kind = getattr(transformers, name or "AutoModel", None)
    if kind is None:
        raise SourceError(
            f"hf:{folder}: expected a class of transformers {transformers.__version__}, got {name!r} in config.json; "
            "write a function that makes the model, and name it as MODULE:FUNCTION"
        )
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        # torch's own attention gives zeros where a whole row is masked, which no translation to ONNX does
        config = transformers.AutoConfig.from_pretrained(folder, attn_implementation="eager", **local)
        if getattr(config, "use_cache", False):
            config.use_cache = False  # one forward: no cache goes in or out
        if with_weights:
            model = _pretrained(kind, folder, config)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
    except SourceError:
        raise
    except Exception as error:  # transformers, safetensors and torch have their own
        text = " ".join(str(error).split())
        raise SourceError(
            f"hf:{folder}: expected transformers to make {name or 'AutoModel'} of the folder, got "
            f"{type(error).__name__}: {text}; mend the folder, or choose another --task"
        ) from error
    assert isinstance(model, nn.Module)
    return model.float().eval()


def _pretrained(kind: Any, folder: Path, config: Any) -> nn.Module:
    """The model with the folder's weights: one that would be made of chance numbers is refused, or left out."""
    given = {"config": config, "dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    model, told = kind.from_pretrained(folder, **given)
    if told["missing_keys"] and all(name.startswith("pooler.") for name in told["missing_keys"]):
        model, told = kind.from_pretrained(folder, add_pooling_layer=False, **given)
    missing = sorted(told["missing_keys"])
    if missing:
        raise SourceError(
            f"hf:{folder}: expected the weights of {type(model).__name__}, got {len(missing)} missing: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}; choose the --task that it was trained for"
        )
    assert isinstance(model, nn.Module)
    return model


def _example(transformers: Any, folder: Path, model: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Example arguments of the model's forward, and the names of their dynamic axes."""
    taken = inspect.signature(model.forward).parameters
    main = model.main_input_name
    if main == "pixel_values":
        return _images(folder, model.config)
    if main != "input_ids":
        raise SourceError(
            f"hf:{folder}: expected a model of texts or images, got one of {main!r}; write a function that returns it "
            "with example arguments, and name it as MODULE:FUNCTION"
        )
    if any((folder / name).exists() for name in TOKENIZERS):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokens = dict(tokenizer(list(SENTENCES), padding=True, return_tensors="pt"))
    else:
        ids = torch.arange(ROWS * TOKENS).reshape(ROWS, TOKENS) % model.config.vocab_size
        tokens = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        tokens["attention_mask"][1, TOKENS // 2 :] = 0
    order = ["input_ids", "attention_mask", "token_type_ids"]
    kwargs = {name: tokens[name] for name in order if name in tokens and name in taken}
    shapes = {name: {0: BATCH, 1: SEQUENCE} for name in kwargs}
    if model.config.is_encoder_decoder:
        kwargs["decoder_input_ids"] = kwargs["input_ids"][:, :ANSWER].clone()
        shapes["decoder_input_ids"] = {0: BATCH, 1: DECODED}
    return kwargs, shapes


def _images(folder: Path, config: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    size = getattr(config, "image_size", None)
    if size is None:
        raise SourceError(
            f"hf:{folder}: expected image_size in config.json, got none; write a function that returns the model with "
            "example arguments, and name it as MODULE:FUNCTION"
        )
    height, width = size if isinstance(size, list | tuple) else (size, size)
    shape = (ROWS, getattr(config, "num_channels", 3), height, width)
    pixels = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {"pixel_values": pixels}, {"pixel_values": {0: BATCH}}


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars, and no lists of weights that are told as errors here."""
    logging = transformers.utils.logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def hub_files(folder: Path, task: str | None) -> HubFiles:
    """Returns what an exported folder has of the one that its model comes from: configuration, tokenizer, license."""
    files = {name: (folder / name).read_bytes() for name in COMPANIONS if (folder / name).is_file()}
    used = task or task_of(read_configuration(folder).get("architectures") or ())
    return HubFiles(files, _license(folder) | ({"pipeline_tag": used} if used else {}))


def _license(folder: Path) -> dict[str, str]:
    """What the folder's own card says of its license."""
    card = folder / CARD
    matter = re.match(r"---\n(.*?\n)---\n", card.read_text(encoding="utf-8"), re.DOTALL) if card.is_file() else None
    found = re.search(r"^license: *([A-Za-z0-9.-]+) *$", matter[1], re.MULTILINE) if matter else None
    return {"license": found[1]} if found else {}
