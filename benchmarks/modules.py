"""Time the trials of a LightningModule as a cohort beside own Lightning fits: `python -m benchmarks.modules`.

Both ways train the same trials of the same module on digits, in turns, each with its check of the first steps.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench import engines
from evalbench.cell import Cell
from evalbench.config.tree import parse
from evalbench.engines import module_cohort
from evalbench.programs import conf_folder


class Classifier(pl.LightningModule):
    """One hidden layer with dropout, trained by AdamW with a cosine schedule."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(in_features, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, out_features))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits `(B, K)`."""
        outputs: Tensor = self.net(inputs)
        return outputs

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the cross-entropy of a batch."""
        inputs, targets = batch
        loss = F.cross_entropy(self(inputs), targets)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """Return AdamW with a cosine schedule over all steps."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def cell_of(trials: int, epochs: int, alone: bool) -> Cell:
    """Return the cell of some trials of the classifier."""
    chosen = ["model=lightning", f"model._target_={__name__}.Classifier", f"+model.alone={str(alone).lower()}"]
    data = ["dataset=digits", "optimizer=adam", f"budget.epochs={epochs}", f"num_seeds={trials}", "tracker=none"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        tree = compose("config", [*chosen, *data], return_hydra_config=True)
    return Cell.of(parse(tree, tree.hydra))


def seconds(cell: Cell, seeds: Sequence[int]) -> tuple[float, list[float]]:
    """Return the seconds of the trials of some seeds, and their accuracies in the order of the seeds."""
    module_cohort.forget()
    accuracies: dict[int, float] = {}
    start = time.perf_counter()
    for entrants, results in engines.of(cell.config).train_all(
        cell.config, cell.dataset, cell.entrants(*seeds), cell.id
    ):
        if isinstance(results, Exception):
            raise results
        accuracies |= {one.seed: result.metrics["test/accuracy"] for one, result in zip(entrants, results, strict=True)}
    return time.perf_counter() - start, [accuracies[seed] for seed in seeds]


def main() -> None:
    """Print a line per number of trials."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    seconds(cell_of(2, 1, alone=False), range(2))  # libraries are loaded
    for trials in (2, 10):
        cells = {alone: cell_of(trials, given.epochs, alone) for alone in (False, True)}
        fastest = dict.fromkeys(cells, float("inf"))
        means = {}
        for _ in range(given.rounds):
            for alone, cell in cells.items():
                took, accuracies = seconds(cell, range(trials))
                fastest[alone], means[alone] = min(fastest[alone], took), sum(accuracies) / trials
        print(
            f"{trials} trials: as a cohort {fastest[False]:.2f} s (accuracy {means[False]:.3f}), "
            f"own fits {fastest[True]:.2f} s (accuracy {means[True]:.3f}): {fastest[True] / fastest[False]:.1f} times"
        )


if __name__ == "__main__":
    main()
