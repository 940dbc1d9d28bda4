"""A model trained for its routes in a loop of plain PyTorch.

Run it: python -m examples.trainers.plain
"""

from __future__ import annotations

from pathlib import Path

import torch
from rich.progress import track
from torch.utils.data import DataLoader, TensorDataset

from examples.trainers.routed_digits import BATCH, EPOCHS, finish, groups_of, loss_of, make_model, read_data
from rr_export import training


def main(folder: Path = Path("out/trainers/plain"), *, epochs: int = EPOCHS) -> dict[float, float]:
    """Trains, exports and proves the model; returns the test accuracy at each budget."""
    torch.set_num_threads(1)  # small layers: threads would only wait for each other
    (x, y), _, _ = read_data()
    model = make_model().train()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    batches = DataLoader(data, BATCH, shuffle=True, drop_last=True)
    optimiser = torch.optim.AdamW(groups_of(model))
    with training.sampled(model) as sampling:
        for _ in track(range(epochs), "training"):
            for images, digits in batches:
                loss = loss_of(model, sampling, images, digits)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return finish(model, folder)


if __name__ == "__main__":
    main()
