"""Images and text become the inputs that a model declares, or are refused in words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rr_runtime.given_inputs import GivenInputs
from rr_runtime.images import read_image
from rr_runtime.manifest import Tensor
from rr_runtime.texts import encode_texts, utf8_ids

CHANNELS_FIRST = Tensor("image", "float32", ("batch", 3, 4, 6))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 6 x 4 pixels: colours, grey, with transparent parts, turned by EXIF; and a file that is none."""
    pillow = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("images")
    pixels = pixels_of()
    pillow.fromarray(pixels).save(folder / "colour.png")
    pillow.fromarray(pixels[..., 0]).save(folder / "grey.png")
    clear = np.dstack([pixels, np.full((4, 6), 255, np.uint8)])
    pillow.fromarray(clear, "RGBA").save(folder / "opaque.png")
    clear[0, 0, 3] = 3
    pillow.fromarray(clear, "RGBA").save(folder / "clear.png")
    exif = pillow.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    pillow.fromarray(pixels).save(folder / "turned.webp", lossless=True, exif=exif)
    (folder / "none.png").write_bytes(b"none")
    deep = np.full((4, 6), 0x8000, np.uint16)
    pillow.fromarray(deep).save(folder / "deep.png")
    pillow.fromarray(deep.astype(np.int32)).save(folder / "whole.png.tiff")
    (folder / "whole.png.tiff").rename(folder / "whole.png")  # Pillow looks at the content
    pillow.fromarray(deep.astype(np.float32)).save(folder / "real.png.tiff")
    (folder / "real.png.tiff").rename(folder / "real.png")
    frames = [pillow.fromarray(pixels), pillow.fromarray(255 - pixels)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:])
    pillow.fromarray(pixels).convert("P").save(folder / "palette.png")
    pillow.fromarray(pixels[..., 0] > 99).save(folder / "bits.png")
    return folder


def pixels_of() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_floats_are_scaled_and_normalised(images: Path) -> None:
    found = read_image(images / "colour.png", CHANNELS_FIRST)
    assert found.dtype == np.float32 and found.shape == (1, 3, 4, 6) and found.flags.c_contiguous
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), pixels_of() / 255, atol=1e-7)
    shifted = read_image(images / "colour.png", CHANNELS_FIRST, mean=[0.1, 0.2, 0.3], std=[2, 3, 4])
    expected = (pixels_of() / 255 - [0.1, 0.2, 0.3]) / [2, 3, 4]
    np.testing.assert_allclose(shifted[0].transpose(1, 2, 0), expected, atol=1e-6)


def test_bytes_stay_and_channels_may_come_last(images: Path) -> None:
    last = Tensor("image", "uint8", (1, "h", "w", 3))
    np.testing.assert_array_equal(read_image(images / "colour.png", last)[0], pixels_of())
    np.testing.assert_array_equal(read_image(images / "opaque.png", last)[0], pixels_of())
    grey = read_image(images / "grey.png", Tensor("image", "uint8", (1, 1, "h", "w")))
    np.testing.assert_array_equal(grey[0, 0], pixels_of()[..., 0])


def test_the_declared_size_is_what_comes_out(images: Path) -> None:
    found = read_image(images / "colour.png", Tensor("image", "uint8", (1, 3, 8, 2)))
    assert found.shape == (1, 3, 8, 2)
    turned = read_image(images / "turned.webp", Tensor("image", "uint8", (1, "h", "w", 3)))
    np.testing.assert_array_equal(turned[0], np.rot90(pixels_of(), -1))


@pytest.mark.parametrize(
    ("file", "shape", "dtype", "options", "message"),
    [
        ("colour.png", (3, 4, 6), "float32", {}, r"expected \[N, C, H, W\] or \[N, H, W, C\] for an image, got"),
        ("colour.png", (1, 3, 4, 3), "float32", {}, "both could be its channels"),
        ("colour.png", (1, 4, 4, 6), "float32", {}, "neither the second nor the last is 1 or 3"),
        ("colour.png", (2, 3, 4, 6), "float32", {}, "expected 2 images, got one"),
        ("colour.png", (1, 3, 4, 6), "int64", {}, "expected an input of floats or uint8"),
        ("colour.png", (1, 3, 4, 6), "uint8", {"mean": [0.5]}, "expected no --mean or --std for uint8"),
        ("colour.png", (1, 3, 4, 6), "float32", {"mean": [0.5, 0.5]}, "expected one number in --mean, or 3, got 2"),
        ("colour.png", (1, 3, 4, 6), "float32", {"std": [0.0]}, "expected --std above 0"),
        ("clear.png", (1, 3, 4, 6), "float32", {}, "transparent parts, whose colour is not known"),
        ("colour.png", (1, 3, 4, 6), "float32", {"std": [np.inf]}, r"expected finite numbers in --std, got \[inf\]"),
        ("colour.png", (1, 3, 4, 6), "float32", {"mean": [np.nan, 0, 0]}, "expected finite numbers in --mean"),
        *(
            (file, (1, channels, 4, 6), dtype, {}, f"expected an image, got one of mode {mode}, where 8 bits a channel")
            for file, mode in (("deep.png", "I;?.*"), ("whole.png", "I"), ("real.png", "F"))
            for channels in (1, 3)
            for dtype in ("float32", "uint8")
        ),
        ("moving.webp", (1, 3, 4, 6), "float32", {}, "expected an image, got 2 of them in one file"),
        ("none.png", (1, 3, 4, 6), "float32", {}, "expected an image, got "),
        ("absent.png", (1, 3, 4, 6), "float32", {}, "expected an image, got "),
    ],
)
def test_what_is_not_clear_is_refused(
    file: str, shape: tuple[int, ...], dtype: str, options: dict[str, Any], message: str, images: Path
) -> None:
    with pytest.raises(ValueError, match=rf"--input image: .*{message}"):
        read_image(images / file, Tensor("image", dtype, shape), **options)


def test_images_of_at_most_8_bits_are_read(images: Path) -> None:
    bits = read_image(images / "bits.png", Tensor("image", "float32", (1, 1, "h", "w")))
    np.testing.assert_array_equal(bits[0, 0], pixels_of()[..., 0] > 99)
    palette = read_image(images / "palette.png", Tensor("image", "uint8", (1, "h", "w", 3)))
    assert palette.shape == (1, 4, 6, 3)


def test_bug_options_of_images_without_an_image_are_refused(images: Path) -> None:
    for given in (GivenInputs(["image=[1]"], mean=[1.0]), GivenInputs(["image=utf8:a.png"], std=[1.0])):
        with pytest.raises(ValueError, match=r"--(mean|std): expected an image as --input beside it, got none; leave"):
            given.read([CHANNELS_FIRST], images)


def test_without_pillow_it_is_said(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    given = GivenInputs([f"image={images / 'colour.png'}"])
    with pytest.raises(ValueError, match="expected Pillow, which reads images, got none; pip install pillow"):
        given.read([CHANNELS_FIRST], images)


def test_an_image_is_read_for_its_input_alone(images: Path) -> None:
    found = GivenInputs([f"image={images / 'colour.png'}"], mean=[0.5]).read([CHANNELS_FIRST], images)
    np.testing.assert_allclose(found["image"], read_image(images / "colour.png", CHANNELS_FIRST, mean=[0.5]))
    with pytest.raises(ValueError, match="--input other: expected one of image, got another; mend the name"):
        GivenInputs([f"other={images / 'colour.png'}"]).read([CHANNELS_FIRST], images)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of whole words that would cut texts to 2 of them."""
    package = pytest.importorskip("tokenizers")
    made = package.Tokenizer(package.models.WordLevel({"[PAD]": 0, "a": 5, "b": 6, "[UNK]": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = package.pre_tokenizers.Whitespace()
    made.enable_truncation(2)
    made.enable_padding(pad_id=0)
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(file))
    return file


def declared(size: int | str, *names: str, dtype: str = "int64") -> list[Tensor]:
    return [Tensor(name, dtype, ("batch", size)) for name in names]


def test_texts_become_ids_and_masks(tokenizer: Path) -> None:
    inputs = declared("s", "input_ids", "attention_mask", dtype="int32")
    found = GivenInputs(texts=["a b a", "b"]).read(inputs, tokenizer.parent)
    assert found["input_ids"].dtype == np.int32
    np.testing.assert_array_equal(found["input_ids"], [[5, 6, 5], [6, 0, 0]])
    np.testing.assert_array_equal(found["attention_mask"], [[1, 1, 1], [1, 0, 0]])
    (tokenizer.parent / "onnx").mkdir()
    around = GivenInputs(texts=["b"]).read(inputs, tokenizer.parent / "onnx")
    np.testing.assert_array_equal(around["input_ids"], [[6]])
    fixed = encode_texts(["a b"], declared(4, "input_ids"), tokenizer)
    np.testing.assert_array_equal(fixed["input_ids"], [[5, 6, 0, 0]])


@pytest.mark.parametrize(
    ("inputs", "file", "message"),
    [
        (declared("s", "x"), "tokenizer.json", "expected a model with an input input_ids, got x"),
        (declared("s", "input_ids"), "absent.json", "expected a tokenizer at .*absent.json, got none"),
        (declared(2, "input_ids"), "tokenizer.json", "expected texts of at most 2 tokens, got 3; shorten them"),
    ],
)
def test_texts_that_do_not_fit_are_refused(inputs: list[Tensor], file: str, message: str, tokenizer: Path) -> None:
    with pytest.raises(ValueError, match=message):
        encode_texts(["a b a"], inputs, tokenizer.with_name(file))


def tokenizer_file(folder: Path, *, padding: bool, unknown: str | None = "[UNK]") -> Path:
    package = pytest.importorskip("tokenizers")
    made = package.Tokenizer(package.models.WordLevel({"good": 0, "bad": 1, "film": 2, "[UNK]": 3}, unk_token=unknown))
    made.pre_tokenizer = package.pre_tokenizers.Whitespace()
    if padding:
        made.enable_padding(pad_id=9, pad_to_multiple_of=8)
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


MASKED = declared("s", "input_ids", "attention_mask")


@pytest.mark.parametrize(
    ("padding", "inputs", "message"),
    [
        (
            False,
            MASKED,
            r"expected texts of 2 tokens, as .*tokenizer.json has no padding token, got one of 1; run",
        ),
        (False, declared(3, "input_ids"), "expected texts of 3 tokens, as .* has no padding token, got one of 1; run"),
        (
            True,
            declared("s", "input_ids"),
            "expected texts of one length, as the model has no input attention_mask",
        ),
    ],
)
def test_bug_padding_that_nobody_knows_is_refused(
    padding: bool, inputs: list[Tensor], message: str, tmp_path: Path
) -> None:
    file = tokenizer_file(tmp_path, padding=padding)
    with pytest.raises(ValueError, match=f"--text: {message}"):
        encode_texts(["good", "bad film"], inputs, file)


def test_texts_of_one_length_need_no_padding(tmp_path: Path) -> None:
    alone = encode_texts(["good"], declared("s", "input_ids"), tokenizer_file(tmp_path, padding=False))
    np.testing.assert_array_equal(alone["input_ids"], [[0]])
    both = encode_texts(["bad film", "film bad"], declared(2, "input_ids"), tmp_path / "tokenizer.json")
    np.testing.assert_array_equal(both["input_ids"], [[1, 2], [2, 1]])
    padded = encode_texts(["good", "bad film"], MASKED, tokenizer_file(tmp_path, padding=True))
    np.testing.assert_array_equal(padded["input_ids"], [[0, 9], [1, 2]])
    np.testing.assert_array_equal(padded["attention_mask"], [[1, 0], [1, 1]])


def test_bug_a_text_that_the_tokenizer_does_not_know_is_refused(tmp_path: Path) -> None:
    file = tokenizer_file(tmp_path, padding=False, unknown=None)
    with pytest.raises(ValueError, match=r"--text: expected texts that the tokenizer knows, got .*; change them, or"):
        encode_texts(["ugly"], MASKED, file)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            Tensor("input_ids", "float32", ("batch", "s")),
            r"expected inputs of integers, \[N, length\], got input_ids",
        ),
        (Tensor("input_ids", "int64", ()), r"expected inputs of integers, \[N, length\], got input_ids: int64 \[\]"),
        (
            Tensor("input_ids", "uint8", ("batch", "s")),
            r"expected ids that input_ids: uint8 \[.*\] holds, got 300",
        ),
    ],
)
def test_bug_ids_are_never_cast_to_others(tensor: Tensor, message: str, tmp_path: Path) -> None:
    package = pytest.importorskip("tokenizers")
    made = package.Tokenizer(package.models.WordLevel({"far": 300, "[UNK]": 0}, unk_token="[UNK]"))
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match=message):
        encode_texts(["far"], [tensor], tmp_path / "tokenizer.json")


def test_without_tokenizers_it_is_said(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ValueError, match=r"expected the package tokenizers, .* got none; pip install tokenizers"):
        encode_texts(["a"], declared("s", "input_ids"), tokenizer)


def test_bytes_of_text() -> None:
    (ids,) = declared("s", "ids")
    found = GivenInputs(["ids=utf8:aé"]).read([ids], Path())
    np.testing.assert_array_equal(found["ids"], np.array([[97, 195, 169]], np.int64))
    np.testing.assert_array_equal(utf8_ids("ab", Tensor("ids", "uint8", ("s",)), "x"), np.array([97, 98], np.uint8))
    for tensor in (Tensor("ids", "float32", ("s",)), Tensor("ids", "int8", ("s",)), Tensor("ids", "int64", (1, 2, 3))):
        with pytest.raises(ValueError, match="x: expected an input of integers 0 to 255"):
            utf8_ids("ab", tensor, "x")
    with pytest.raises(ValueError, match="--tokenizer: expected --text beside it"):
        GivenInputs(tokenizer=Path("t.json")).read([ids], Path())
