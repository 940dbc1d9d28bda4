"""Image classification: scikit-learn's handwritten digits, by a residual network whose blocks are routed."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from examples.tasks.task import Inputs, Task

CHANNELS = 24
LAYERS = 8


class Block(nn.Module):
    """A residual block: two convolutions, each normalised over groups of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.GroupNorm(4, CHANNELS))
        self.second = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.GroupNorm(4, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the block makes of float32 [N, C, H, W]."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Digits(nn.Module):
    """Images float32 [N, 1, 8, 8] to the logits of ten digits, float32 [N, 10]."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, CHANNELS, 3, padding=1)
        self.blocks = nn.Sequential(*(Block() for _ in range(layers)))
        self.head = nn.Linear(CHANNELS * 4, 10)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Returns the logits."""
        pooled = F.adaptive_avg_pool2d(self.blocks(self.stem(image)), 2)
        return {"logits": self.head(pooled.flatten(1))}


def build(layers: int) -> nn.Module:
    """Returns an untrained model of so many blocks."""
    torch.manual_seed(0)
    return Digits(layers)


def score(outputs: Inputs, target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns for each image whether the likeliest digit is the right one."""
    right: NDArray[np.float64] = (outputs["logits"].argmax(1) == target).astype(np.float64)
    return right


def task() -> Task:
    """Returns the task: 1,797 images of 8 x 8 pixels, of which 950 test and 500 choose paths; shifted in training.

    So few are left for training that models of different sizes still differ in the test.
    """
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 1, 8, 8).astype(np.float32) / 16
    x, x_test, y, y_test = train_test_split(images, labels, test_size=950, random_state=0, stratify=labels)
    x, x_val, y, y_val = train_test_split(x, y, test_size=500, random_state=0, stratify=y)

    def draw(rng: np.random.Generator) -> tuple[dict[str, Tensor], Tensor]:
        rows = rng.integers(0, len(x), 64)
        moved = np.roll(x[rows], rng.integers(-1, 2, 2), axis=(2, 3)) + 0.1 * rng.standard_normal((64, 1, 8, 8))
        return {"image": torch.from_numpy(moved.astype(np.float32))}, torch.from_numpy(y[rows])

    return Task(
        name="digits",
        title="image classification",
        data="scikit-learn's handwritten digits: 347 images for training, 500 to choose paths, 950 for the test",
        metric="accuracy",
        layers=LAYERS,
        build=build,
        pattern="blocks.*",
        draw=draw,
        loss=lambda outputs, target: F.cross_entropy(outputs["logits"], target),
        compared=lambda outputs: outputs["logits"],
        validation=[({"image": x_val}, y_val)],
        test=[({"image": x_test}, y_test)],
        score=score,
        axes={"image": {0: "batch"}},
        steps=1500,
        quick=40,
    )
