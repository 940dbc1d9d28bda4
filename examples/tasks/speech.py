"""Speech commands: which of 20 words a second of sound is, by residual convolutions that are routed.

The words are spoken by eSpeak NG, in noise and rooms; speakers of the test are none of those of the training.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from examples.tasks.task import Batch, Inputs, Task
from examples.tasks.voices import RATE, WORDS, choose, speak

CHANNELS, LAYERS = 48, 4
WINDOW, HOP, BANDS = 256, 160, 40  # samples of a frame and from one to the next; mel bands
EACH = {"training": 150, "validation": 12, "test": 30}  # utterances of a word
LOUDNESS = (0.0, 20.0)  # of the word above the noise, in dB
ECHO = 1600  # samples that a room sounds on, at most


def mel_bands() -> NDArray[np.float32]:
    """Returns triangles evenly apart in mel (2595 log10(1 + f / 700)), float32 [WINDOW / 2 + 1, BANDS]."""
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), BANDS + 2) / 2595) - 1)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.linspace(0, RATE / 2, WINDOW // 2 + 1)[:, None]
    found = np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle))
    return np.clip(found, 0, None).astype(np.float32)


class LogMel(nn.Module):
    """Samples float32 [N, S] to the logarithms of the energies of mel bands, float32 [N, BANDS, frames], mean zero.

    Windows of Hann, and a discrete Fourier transform that is written as a convolution, so that the file has it too.
    """

    def __init__(self) -> None:
        super().__init__()
        angles = 2 * np.pi * np.arange(WINDOW // 2 + 1)[:, None] * np.arange(WINDOW) / WINDOW
        waves = np.concatenate([np.cos(angles), np.sin(angles)]) * np.hanning(WINDOW)
        self.register_buffer("waves", torch.from_numpy(waves.astype(np.float32)).unsqueeze(1))
        self.register_buffer("bands", torch.from_numpy(mel_bands().T.copy()).unsqueeze(-1))

    def forward(self, sound: Tensor) -> Tensor:
        """Returns the logarithms, less their mean over time."""
        parts = F.conv1d(sound.unsqueeze(1), self.waves, stride=HOP)
        power = parts[:, : WINDOW // 2 + 1] ** 2 + parts[:, WINDOW // 2 + 1 :] ** 2
        logs = torch.log(F.conv1d(power, self.bands) + 1e-3)
        return logs - logs.mean(-1, keepdim=True)


class Block(nn.Module):
    """Two convolutions over time, each behind a norm over groups of channels, added to what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.GroupNorm(4, CHANNELS), nn.GroupNorm(4, CHANNELS)
        self.near = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1)
        self.far = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the block makes of float32 [N, C, T]."""
        result: Tensor = x + self.far(F.relu(self.between(self.near(F.relu(self.before(x))))))
        return result


class Commands(nn.Module):
    """Samples float32 [N, RATE] to the logits of the words, float32 [N, 20]."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.features = LogMel()
        self.stem = nn.Conv1d(BANDS, CHANNELS, 3, padding=1)
        self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
        self.norm, self.head = nn.GroupNorm(4, CHANNELS), nn.Linear(2 * CHANNELS, len(WORDS))

    def forward(self, sound: Tensor) -> dict[str, Tensor]:
        """Returns the logits."""
        hidden = F.relu(self.norm(self.blocks(self.stem(self.features(sound)))))
        return {"logits": self.head(torch.cat([hidden.mean(-1), hidden.amax(-1)], 1))}


def build(layers: int) -> nn.Module:
    """Returns an untrained model of so many blocks."""
    torch.manual_seed(0)
    return Commands(layers)


def score(outputs: Inputs, target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns for each sound whether the likeliest word is the right one."""
    right: NDArray[np.float64] = (outputs["logits"].argmax(1) == target).astype(np.float64)
    return right


def place(sounds: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Returns the sounds in rooms and noise, float32 [N, RATE], each beginning within the first 0.3 s.

    A room answers with noise that falls by 60 dB within at most 0.2 s; what disturbs is noise whose power falls with
    the frequency by a random exponent from 0 (white) to 2 (brown).
    """
    count = len(sounds)
    starts = rng.integers(0, int(0.3 * RATE), count)
    moved = np.stack([np.roll(row, start) for row, start in zip(sounds, starts, strict=True)])
    lasting, strength = rng.uniform(0.02 * RATE, ECHO, (count, 1)), rng.uniform(0, 0.3, (count, 1))
    answer = strength * rng.standard_normal((count, ECHO)) * 10 ** (-3 * np.arange(ECHO) / lasting)
    answer[:, 0] = 1
    heard = np.fft.irfft(np.fft.rfft(moved, RATE + ECHO) * np.fft.rfft(answer, RATE + ECHO), RATE + ECHO)[:, :RATE]
    tilt = np.maximum(np.arange(RATE // 2 + 1), 20) ** (-rng.uniform(0, 1, (count, 1)))
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal((count, RATE))) * tilt, RATE)
    noise *= np.sqrt((heard**2).mean(1, keepdims=True) / (noise**2).mean(1, keepdims=True))
    mixed = heard + noise * 10 ** (-rng.uniform(*LOUDNESS, (count, 1)) / 20)
    return (0.1 * mixed / np.sqrt((mixed**2).mean(1, keepdims=True))).astype(np.float32)


@cache
def read() -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Returns the words as they are spoken, and which they are, by part."""
    said = [one for part, each in EACH.items() for one in choose(part, each)]
    heard, words = speak(said), np.array([WORDS.index(one.word) for one in said], np.int64)
    ends = np.cumsum([0, *(len(WORDS) * each for each in EACH.values())])
    return {part: (heard[ends[k] : ends[k + 1]], words[ends[k] : ends[k + 1]]) for k, part in enumerate(EACH)}


def task() -> Task:
    """Returns the task: 3,000 sounds for training, each time in other noise and another room; 600 test.

    Those of the test come in batches of 60, so that a run whose time is measured is short.
    """
    parts = read()
    sounds, words = parts["training"]

    def draw(rng: np.random.Generator) -> tuple[dict[str, Tensor], Tensor]:
        rows = rng.integers(0, len(sounds), 48)
        return {"sound": torch.from_numpy(place(sounds[rows], rng))}, torch.from_numpy(words[rows])

    def batches(part: str) -> list[Batch]:
        heard, target = place(parts[part][0], np.random.default_rng(7)), parts[part][1]
        return [({"sound": heard[i : i + 60]}, target[i : i + 60]) for i in range(0, len(heard), 60)]

    return Task(
        name="speech",
        title="speech commands",
        data=f"{len(WORDS)} words spoken by eSpeak NG in noise of 0 to 20 dB and rooms: {len(sounds):,} for training, "
        f"{len(parts['validation'][1])} to choose paths, {len(parts['test'][1])} for the test, by other voices",
        metric="accuracy",
        layers=LAYERS,
        build=build,
        pattern="blocks.*",
        draw=draw,
        loss=lambda outputs, target: F.cross_entropy(outputs["logits"], target, label_smoothing=0.1),
        compared=lambda outputs: outputs["logits"],
        validation=batches("validation"),
        test=batches("test"),
        score=score,
        axes={"sound": {0: "batch"}},
        steps=1200,
        quick=20,
        rate=2e-3,
    )
