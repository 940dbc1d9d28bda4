"""Inputs as the command lines take them: arrays, numbers, images and text, by the name of the model's input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rr_runtime.array_files import read_array, read_arrays, read_json_file
from rr_runtime.images import SUFFIXES as IMAGES
from rr_runtime.images import read_image
from rr_runtime.manifest import Tensor
from rr_runtime.texts import encode_texts, utf8_ids

KINDS = "a .npy, .npz, .json or image file, numbers such as 3 or [[1, 2]], or utf8:TEXT"
UTF8 = "utf8:"


@dataclass(frozen=True)
class GivenInputs:
    """What a command line says of the inputs.

    Attributes:
        inputs: ``NAME=VALUE`` texts, or names of ``.npz`` and ``.json`` files that hold several inputs by name.
        texts: texts for the inputs that a tokenizer makes.
        tokenizer: the tokenizer's file, or None for ``tokenizer.json`` in the bundle's folder or the one around it.
        mean: what is subtracted from each channel of images in [0, 1]; one number stands for all of them.
        std: what each channel is divided by after that.
    """

    inputs: Sequence[str] = ()
    texts: Sequence[str] = ()
    tokenizer: Path | None = None
    mean: Sequence[float] = ()
    std: Sequence[float] = ()

    @property
    def options(self) -> list[str]:
        """The options that something was given for."""
        named = {"input": self.inputs, "text": self.texts, "tokenizer": self.tokenizer, "mean": self.mean}
        return [f"--{name}" for name, value in {**named, "std": self.std}.items() if value]

    def read(self, declared: Sequence[Tensor], folder: Path) -> dict[str, Any]:
        """Returns what was given for each input: arrays as they are in files, numbers and lists as Python has them.

        Args:
            declared: the model's inputs.
            folder: the bundle, beside whose files the tokenizer lies.

        Raises:
            ValueError: a text, file or image is none that can be taken, an input is given twice, or an option is for
                something that is not there.
        """
        known = {tensor.name: tensor for tensor in declared}
        for option in {"--mean", "--std"} & set(self.options):
            if not any(_is_image(text.partition("=")[2]) for text in self.inputs):
                raise ValueError(f"{option}: expected an image as --input beside it, got none; leave it away")
        found: dict[str, Any] = {}
        for text in self.inputs:
            for name, value in self._read(text, known):
                _add(found, name, value, "--input")
        if self.texts:
            file = _tokenizer_at(folder) if self.tokenizer is None else self.tokenizer
            for name, value in encode_texts(self.texts, declared, file).items():
                _add(found, name, value, "--text")
        elif self.tokenizer is not None:
            raise ValueError("--tokenizer: expected --text beside it, got none; give the text")
        return found

    def _read(self, text: str, declared: Mapping[str, Tensor]) -> Iterable[tuple[str, Any]]:
        """The inputs that one ``--input`` gives."""
        name, equals, value = text.partition("=")
        if not equals:
            return _read_several(text)
        if not name or not value:
            raise ValueError(f"--input: expected NAME=VALUE, got {text!r}; VALUE is {KINDS}")
        where = f"--input {name}"
        if value.startswith(UTF8):
            return [(name, utf8_ids(value[len(UTF8) :], _declared(name, declared, where), where))]
        suffix = Path(value).suffix.lower()
        if suffix == ".npy":
            return [(name, read_array(value, where))]
        if suffix == ".npz":
            arrays = read_arrays(value, where)
            if name not in arrays:
                raise ValueError(
                    f"{where}: expected it among {', '.join(arrays)} of {value}, got no such; name another"
                )
            return [(name, arrays[name])]
        if suffix == ".json":
            return [(name, read_json_file(value, where))]
        if _is_image(value):
            tensor = _declared(name, declared, where)
            return [(name, read_image(Path(value), tensor, mean=self.mean, std=self.std))]
        return [(name, _numbers(value, where))]


def _is_image(value: str) -> bool:
    """Whether what is given for an input is the name of an image's file."""
    return not value.startswith(UTF8) and Path(value).suffix.lower() in IMAGES


def _tokenizer_at(folder: Path) -> Path:
    """Where the tokenizer of a bundle lies: in its folder, or, in the layout of Hugging Face, in the one around it."""
    own, around = folder / "tokenizer.json", folder.absolute().parent / "tokenizer.json"
    return around if around.is_file() and not own.is_file() else own


def _add(found: dict[str, Any], name: str, value: Any, option: str) -> None:
    if name in found:
        raise ValueError(f"{option}: expected every input once, got {name!r} twice; drop one")
    found[name] = value


def _declared(name: str, declared: Mapping[str, Tensor], where: str) -> Tensor:
    if name not in declared:
        raise ValueError(f"{where}: expected one of {', '.join(declared) or 'no inputs'}, got another; mend the name")
    return declared[name]


def _read_several(text: str) -> Iterable[tuple[str, Any]]:
    where, suffix = f"--input {text}", Path(text).suffix.lower()
    if suffix == ".npz":
        return read_arrays(text, where).items()
    if suffix != ".json":
        raise ValueError(f"--input: expected NAME=VALUE, or a .npz or .json file of inputs by name, got {text!r}")
    found = read_json_file(text, where)
    if not isinstance(found, dict):
        raise ValueError(f"{where}: expected inputs by name, got a {type(found).__name__}; write NAME={text}")
    return found.items()


def _numbers(text: str, where: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, bool | int | float | list):
        return found
    advice = "; for text see --text, or write utf8:TEXT for its bytes" if Path(text).suffix.lower() == ".txt" else ""
    raise ValueError(f"{where}: expected {KINDS}, got {text!r}{advice or '; give one of them'}")
