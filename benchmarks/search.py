"""The speed of a search beside the same Optuna study with one Lightning fit per trial: `python -m benchmarks.search`.

Both search the default space of Adam for the default network on digits: 64 candidates, each trained with two seeds for
the default budget, by the same sampler with the same seeds. evalbench trains them all; the peer, which is far slower,
trains the first few candidates, half of them before evalbench's search and half after it. Its fits have neither logger
nor checkpoints nor progress bar, and test nothing. Both run on one thread.
"""

import argparse
import logging
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.work import Work
from evalbench import models, training, tuning
from evalbench.cell import Cell
from evalbench.config import Component
from evalbench.seeds import Phase, Role, derive
from evalbench.store import Store
from evalbench.trial import Candidate
from evalbench.workloads import draw_split, fit_scaling

RESULTS = Path(__file__).parent / "search.md"


class LitNetwork(pl.LightningModule):
    """One network, the plain way."""

    def __init__(self, network: nn.Module, optimizer: Component) -> None:
        super().__init__()
        self.network, self.optimizer = network, optimizer
        self.best = (float("inf"), 0.0)
        self.losses: list[Tensor] = []
        self.right: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        return F.cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Note loss and hits of one batch."""
        outputs = self.network(batch[0])
        self.losses.append(F.cross_entropy(outputs, batch[1], reduction="none"))
        self.right.append((outputs.argmax(-1) == batch[1]).float())

    def on_validation_epoch_end(self) -> None:
        """Keep the accuracy at the lowest loss."""
        loss, accuracy = (float(torch.cat(values).mean()) for values in (self.losses, self.right))
        self.best = min(self.best, (loss, accuracy))
        self.losses, self.right = [], []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer."""
        return cast(torch.optim.Optimizer, self.optimizer.build(self.parameters()))


def fit(cell: Cell, seed: int) -> float:
    """Train one trial of a candidate by a Lightning fit of its own; return its validation accuracy."""
    config, dataset = cell.config, cell.dataset

    def seed_of(role: Role) -> int:
        return derive(config.root_seed, dataset.name, role, seed, Phase.TUNE)

    split = draw_split(dataset, config.split.validation, config.split.test, seed_of(Role.SPLIT))
    scaling = fit_scaling(dataset, split.train)
    sides = [
        TensorDataset(
            torch.tensor(scaling.inputs(dataset, rows), dtype=torch.float32), torch.tensor(dataset.targets[rows])
        )
        for rows in (split.train, split.validation)
    ]
    network = models.build_seeded(seed_of(Role.INIT), config.model, config.activation, training.shape_of(dataset))
    order = torch.Generator().manual_seed(seed_of(Role.ORDER))
    batch_size = config.optimizer.rows_per_step(len(split.train))
    train, validation = DataLoader(sides[0], batch_size, shuffle=True, generator=order), DataLoader(sides[1], 512)
    model = LitNetwork(network, config.optimizer.component)
    trainer = pl.Trainer(
        max_epochs=config.budget.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, train, validation)
    return model.best[1]


def peer(study: tuning.CellStudy, candidates: Sequence[Candidate]) -> tuple[float, list[float]]:
    """Return the seconds of those candidates, one fit per trial, and their mean validation accuracies."""
    start = time.perf_counter()
    scores = []
    for candidate in candidates:
        cell = study.cell.at(candidate.values, Phase.TUNE)
        scores.append(statistics.fmean(fit(cell, seed) for seed in study.seeds))
    return time.perf_counter() - start, scores


def measure(num_trials: int, few: int, overrides: Sequence[str] = ()) -> str:
    """Return the table of one comparison."""
    chosen = ("dataset=digits", "+search=random", f"search.num_trials={num_trials}", "trainer.accelerator=cpu")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        url = f"store.url=sqlite:///{folder}/store.sqlite"
        work = Work("search", "32", (*chosen, *overrides, url, f"trainer.checkpoint_folder={folder}"))
        (study,), store = tuning.studies(work.cell), Store(f"sqlite:///{folder}/store.sqlite")
        warm = Candidate(0, {})
        peer(study, [warm])  # imports, first kernels
        training.train(work.cell.config, work.cell.dataset, [0, 1])
        start = time.perf_counter()
        tuning.tune(study, store)
        seconds = time.perf_counter() - start
        history = study.history(store)
        half, rest = history[: few // 2], history[few // 2 : few]
        spent, scores = peer(study, [one.candidate for one in half])
        more, others = peer(study, [one.candidate for one in rest])
    ours = len(history) * len(study.seeds) / seconds
    theirs = few * len(study.seeds) / (spent + more)
    apart = [
        abs(score - one.outcome.values[0])
        for score, one in zip(scores + others, history, strict=False)
        if one.outcome is not None and one.outcome.values is not None
    ]
    return "\n".join(
        [
            "| how | trials | seconds | trials/s |",
            "|---|--:|--:|--:|",
            f"| evalbench, {num_trials} candidates × {len(study.seeds)} seeds | {len(history) * len(study.seeds)} "
            f"| {seconds:.1f} | {ours:.2f} |",
            f"| the same study, one Lightning fit per trial, its first {few} candidates | {few * len(study.seeds)} "
            f"| {spent + more:.1f} | {theirs:.2f} |",
            "",
            f"Ratio: **{ours / theirs:.1f}**. Validation accuracies of the same candidates differ by"
            f" {100 * statistics.fmean(apart):.1f} points on average (other data orders).",
        ]
    )


def main() -> None:
    """Measure and write `search.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=64, help="candidates of the study")
    parser.add_argument("--few", type=int, default=8, help="candidates that the peer trains")
    asked = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    table = measure(asked.trials, asked.few)
    command = shlex.join(["python", "-m", "benchmarks.search", *sys.argv[1:]])
    text = (
        f"# Search\n\n{' '.join(str(__doc__).split()[:-1])}\n\n{table}\n\nBy `{command}`, torch {torch.__version__}.\n"
    )
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
