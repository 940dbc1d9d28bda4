"""Speech commands among the tasks: how they sound, who speaks, and what the model hears."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("espeakng_loader", reason="speech needs the extra test")

from examples.tasks import speech, voices
from examples.tasks.voices import RATE, WORDS, Utterance


def tone(hertz: float, rate: int, seconds: float = 1.0) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def test_speaking_is_deterministic() -> None:
    said = voices.choose("test", 1)[:6]
    once, again = voices.speak(said), voices.speak(said)
    assert hashlib.sha256(once.tobytes()).digest() == hashlib.sha256(again.tobytes()).digest()
    assert once.shape == (6, RATE) and once.dtype == np.float32
    assert np.allclose((once**2).mean(1), 1, atol=1e-3)
    faster = voices.speak([Utterance(one.word, one.voice, one.accent, 400, one.pitch, one.melody) for one in said])
    lasting = [(abs(sounds) > 0.3).cumsum(1).argmax(1).mean() for sounds in (once, faster)]
    assert lasting[1] < lasting[0]


def test_a_voice_that_is_not_there_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match="returned non-zero exit status"):
        voices.speak([Utterance("yes", "nobody", "xx-none", 150, 50, 50)])
    assert "expected to have the voice xx-none+nobody" in capfd.readouterr().err


def test_speakers_of_the_test_are_none_of_those_of_the_training() -> None:
    parts = voices.voices()
    families = {part: {voices.family(name) for name in names} for part, names in parts.items()}
    assert min(len(names) for names in parts.values()) >= 5
    for one, other in (("training", "test"), ("training", "validation"), ("validation", "test")):
        assert not families[one] & families[other]
    assert voices.family("robosoft2") == voices.family("robosoft") != voices.family("rob")
    for part in voices.PARTS:
        said = voices.choose(part, 4)
        assert {one.voice for one in said} <= set(parts[part])
        assert sorted(one.word for one in said) == sorted(4 * WORDS)
        assert said == voices.choose(part, 4)


def test_resampling_keeps_what_is_below_four_kilohertz() -> None:
    low, high = (voices.resample(tone(hertz, voices.OWN_RATE)) for hertz in (1000, 6000))
    assert np.allclose(low, tone(1000, RATE), atol=1e-6)
    assert abs(high).max() < 1e-6
    assert len(voices.resample(tone(100, voices.OWN_RATE, 0.2))) == len(voices.resample(np.ones(40_000))) == RATE


def test_features_are_those_of_a_fourier_transform() -> None:
    sound = np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    starts = range(0, RATE - speech.WINDOW + 1, speech.HOP)
    frames = np.stack([sound[:, i : i + speech.WINDOW] for i in starts], 1) * np.hanning(speech.WINDOW)
    logs = np.log((abs(np.fft.rfft(frames)) ** 2) @ speech.mel_bands() + 1e-3).transpose(0, 2, 1)
    found = speech.LogMel()(torch.from_numpy(sound)).numpy()
    assert np.allclose(found, logs - logs.mean(-1, keepdims=True), atol=1e-3)


def test_bands_are_triangles_that_add_up_to_one() -> None:
    bands = speech.mel_bands()
    assert bands.shape == (speech.WINDOW // 2 + 1, speech.BANDS) and bands.min() == 0
    hertz, peak = np.linspace(0, RATE / 2, speech.WINDOW // 2 + 1), 2595 * math.log10(1 + RATE / 2 / 700)
    first, last = (700 * (10 ** (k * peak / (speech.BANDS + 1) / 2595) - 1) for k in (1, speech.BANDS))
    between = (hertz >= first) & (hertz <= last)
    assert np.allclose(bands[between].sum(1), 1, atol=1e-5)
    assert (bands[~between].sum(1) < 1).all()


def test_rooms_and_noise_are_as_loud_as_they_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = np.zeros((40, RATE), np.float32)
    sounds[:, :2000] = np.random.default_rng(0).standard_normal((40, 2000))
    placed = speech.place(sounds, np.random.default_rng(1))
    assert (placed == speech.place(sounds, np.random.default_rng(1))).all()
    assert (placed != speech.place(sounds, np.random.default_rng(2))).any()
    assert np.allclose(np.sqrt((placed.astype(np.float64) ** 2).mean(1)), 0.1, rtol=1e-3)

    def quiet(decibels: float) -> float:
        """The power of the last quarter, where no word is, as a share of all: of the noise alone."""
        monkeypatch.setattr(speech, "LOUDNESS", (decibels, decibels + 1e-9))
        heard = speech.place(sounds, np.random.default_rng(1)).astype(np.float64) ** 2
        return float(heard[:, 3 * RATE // 4 :].mean() / heard.mean())

    # noise is even over time: at 0 dB it has half of the power, at 10 dB an eleventh
    assert quiet(0) == pytest.approx(1 / 2, rel=0.1)
    assert quiet(10) == pytest.approx(1 / 11, rel=0.1)
    assert quiet(80) < 1e-4


def nearest(labels: NDArray[np.int64]) -> float:
    """The share of test words, without noise, that are nearest to the mean of the training words of the same label."""
    with torch.no_grad():
        heard = {
            part: speech.LogMel()(torch.from_numpy(x)).flatten(1).numpy() for part, (x, _) in speech.read().items()
        }
    means = np.stack([heard["training"][labels == k].mean(0) for k in range(len(WORDS))])
    found = ((heard["test"][:, None] - means) ** 2).sum(-1).argmin(1)
    return float((found == speech.read()["test"][1]).mean())


def test_words_are_told_apart_across_speakers() -> None:
    labels = speech.read()["training"][1]
    assert nearest(labels) > 0.4
    assert nearest(np.random.default_rng(0).permutation(labels)) < 0.2  # a sabotaged twin


def test_score_and_shape() -> None:
    logits = np.array([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    assert speech.score({"logits": logits}, np.array([1, 0, 0])).tolist() == [1, 1, 0]
    with torch.no_grad():
        assert speech.build(1)(torch.zeros(3, RATE))["logits"].shape == (3, len(WORDS))
