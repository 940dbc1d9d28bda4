"""A model trained for its routes by the Trainer of Hugging Face's transformers.

Run it: python -m examples.trainers.hf_trainer
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from examples.trainers.routed_digits import BATCH, EPOCHS, finish, groups_of, loss_of, make_model, read_data
from rr_export import training


class RoutedTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose loss is that of the paths.

    Attributes:
        sampling: of the block around the training.
    """

    sampling: training.Sampling

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor:
        """Returns the loss of one step."""
        return loss_of(model, self.sampling, inputs["x"], inputs["y"])


def main(folder: Path = Path("out/trainers/hf_trainer"), *, epochs: int = EPOCHS) -> dict[float, float]:
    """Trains, exports and proves the model; returns the test accuracy at each budget."""
    torch.set_num_threads(1)  # small layers: threads would only wait for each other
    (x, y), _, _ = read_data()
    model = make_model()
    rows = [{"x": image, "y": digit} for image, digit in zip(torch.from_numpy(x), torch.from_numpy(y), strict=True)]
    arguments = TrainingArguments(
        output_dir=str(folder.with_name("hf_trainer_checkpoints")),  # none are written: save_strategy
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        dataloader_drop_last=True,
        lr_scheduler_type="constant",  # the rates are the optimiser's
        use_cpu=True,
        remove_unused_columns=False,  # the Trainer looks for them in forward, which calls its argument otherwise
        save_strategy="no",
        report_to="none",
    )
    optimiser = torch.optim.AdamW(groups_of(model))
    trainer = RoutedTrainer(model, arguments, train_dataset=rows, optimizers=(optimiser, None))
    with training.sampled(model) as trainer.sampling:
        trainer.train()
    return finish(model, folder)


if __name__ == "__main__":
    main()
