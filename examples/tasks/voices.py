"""Spoken words, synthesised by eSpeak NG: voices, accents, speeds and pitches at random, the same for a seed."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

WORDS = (
    *("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"),
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
)
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc")
ENDS = ((130, 240), (20, 80), (20, 80))  # of speed, pitch and melody
RATE = 8000  # samples of a second; every sound has one
PARTS = ("training", "validation", "test")

ROOT = Path(__file__).resolve().parents[2]

# Of espeak-ng/speak_lib.h:
SYNCHRONOUS, CHARACTERS, UTF8 = 2, 1, 1
SPEED, PITCH, RANGE = 1, 3, 4
OWN_RATE = 22050


@dataclass(frozen=True)
class Utterance:
    """One word by one speaker.

    Attributes:
        word: of ``WORDS``.
        voice: a variant of eSpeak NG.
        accent: of ``ACCENTS``.
        speed: words a minute.
        pitch: from 0 to 99.
        melody: how far the pitch moves, from 0 to 99.
    """

    word: str
    voice: str
    accent: str
    speed: int
    pitch: int
    melody: int


def voices() -> dict[str, list[str]]:
    """Returns the variants of eSpeak NG by part, robosoft2 with robosoft: a fifth test, a tenth choose paths."""
    names = sorted(file.name for file in Path(espeakng_loader.get_data_path(), "voices", "!v").iterdir())
    families = sorted({family(name) for name in names})
    order = [families[i] for i in np.random.default_rng(0).permutation(len(families))]
    ends = {"test": len(order) // 5, "validation": len(order) // 5 + len(order) // 10}
    test, validation = set(order[: ends["test"]]), set(order[ends["test"] : ends["validation"]])
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in names:
        ours = family(name)
        parts["test" if ours in test else "validation" if ours in validation else "training"].append(name)
    return parts


def choose(part: str, each: int) -> list[Utterance]:
    """Returns so many utterances of every word by the voices of a part, the words in turn."""
    names, rng = voices()[part], np.random.default_rng(PARTS.index(part))
    found = []
    for _ in range(each):
        for word in WORDS:
            voice, accent = names[rng.integers(len(names))], ACCENTS[rng.integers(len(ACCENTS))]
            found.append(Utterance(word, voice, accent, *(int(rng.integers(*ends)) for ends in ENDS)))
    return found


def speak(utterances: Sequence[Utterance]) -> NDArray[np.float32]:
    """Returns the sounds, float32 [N, RATE], each with an effective value of 1 and zeros after the word.

    eSpeak NG keeps a state from word to word, of which its noise is drawn too. In a process of its own that begins in
    the same way, so that a list of utterances always has the same sounds.
    """
    command = [sys.executable, "-m", "examples.tasks.voices"]
    asked = json.dumps([asdict(one) for one in utterances]).encode()
    heard = subprocess.run(command, input=asked, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(heard, np.float32).reshape(len(utterances), RATE).copy()


def resample(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the first second of a sound of OWN_RATE samples a second, float64 [RATE], without what is above 4 kHz."""
    whole = np.zeros(OWN_RATE)
    whole[: len(sound)] = sound[:OWN_RATE]
    return np.fft.irfft(np.fft.rfft(whole)[: RATE // 2 + 1], RATE) * RATE / OWN_RATE


def _speak(utterances: Sequence[Utterance]) -> NDArray[np.float32]:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    found = library.espeak_Initialize(SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), 0)
    if found != OWN_RATE:
        raise RuntimeError(
            f"eSpeak NG: expected {OWN_RATE} samples a second, got {found}; install espeakng-loader again"
        )
    library.espeak_ng_SetRandSeed(ctypes.c_long(0))
    heard: list[NDArray[np.int16]] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def hear(samples: object, count: int, events: object) -> int:
        if count > 0:
            heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(hear)
    sounds = np.zeros((len(utterances), RATE), np.float32)
    for row, said in zip(sounds, utterances, strict=True):
        heard.clear()
        name = f"{said.accent}+{said.voice}"
        if library.espeak_SetVoiceByName(name.encode()) != 0:
            raise RuntimeError(f"eSpeak NG: expected to have the voice {name}; install the pinned espeakng-loader")
        for setting, value in ((SPEED, said.speed), (PITCH, said.pitch), (RANGE, said.melody)):
            library.espeak_SetParameter(setting, value, 0)
        text = said.word.encode() + b"\0"
        library.espeak_Synth(text, len(text), 0, CHARACTERS, 0, UTF8, None, None)
        sound = resample(np.concatenate(heard).astype(np.float64))
        row[:] = sound / np.sqrt((sound**2).mean())
    return sounds


def family(voice: str) -> str:
    """Returns what variants that sound alike share: the name without its number."""
    return re.sub(r"(robot)?\d*$", "", voice.lower())


if __name__ == "__main__":  # utterances as JSON come in, sounds go out
    sys.stdout.buffer.write(_speak([Utterance(**one) for one in json.load(sys.stdin)]).tobytes())
