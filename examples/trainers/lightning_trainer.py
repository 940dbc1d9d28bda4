"""A model trained for its routes by Lightning.

Run it: python -m examples.trainers.lightning_trainer
"""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as L  # `import lightning as L` has the same names
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from examples.trainers.routed_digits import BATCH, EPOCHS, finish, groups_of, loss_of, make_model, read_data
from rr_export import training


class Routed(L.LightningModule):  # type: ignore[misc]
    """A module whose step is the loss of the paths.

    Args:
        model: the routed model.

    Attributes:
        sampling: of the block around the training.
    """

    sampling: training.Sampling

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[Tensor, Tensor], batch_number: int) -> Tensor:
        """Returns the loss of one step."""
        return loss_of(self.model, self.sampling, *batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns the optimiser."""
        return torch.optim.AdamW(groups_of(self.model))


def main(folder: Path = Path("out/trainers/lightning_trainer"), *, epochs: int = EPOCHS) -> dict[float, float]:
    """Trains, exports and proves the model; returns the test accuracy at each budget."""
    torch.set_num_threads(1)  # small layers: threads would only wait for each other
    (x, y), _, _ = read_data()
    module = Routed(make_model())
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    with training.sampled(module.model) as module.sampling:
        trainer.fit(module, DataLoader(data, BATCH, shuffle=True, drop_last=True))
    return finish(module.model, folder)


if __name__ == "__main__":
    main()
