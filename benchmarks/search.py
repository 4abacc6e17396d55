"""Compare a search with the same Optuna study with one Lightning fit per trial: `python -m benchmarks.search`.

Both search the default space of Adam for the default network on digits: 64 candidates, each trained with two seeds for
the default budget, by the same sampler with the same seeds. evalbench trains all candidates. The peer is far slower and
trains the first few candidates, half of them before evalbench's search and half after it. The peer has two variants:
the fits of *bare* have neither logger nor checkpoints, and *usual* logs loss and accuracy to CSV and keeps the best
checkpoint. No fit shows a progress bar or tests anything. All run on one thread.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.work import Work
from evalbench import models, tuning
from evalbench.cell import Cell
from evalbench.config import Component
from evalbench.engine import training
from evalbench.search import OptunaStudy
from evalbench.seeds import Phase, Role, derive, derive_draw
from evalbench.store import Store
from evalbench.trial import Candidate
from evalbench.workloads import draw_split, fit_scaling

RESULTS = Path(__file__).parent / "search.md"


class LitNetwork(pl.LightningModule):
    """Train one network in plain Lightning."""

    def __init__(self, network: nn.Module, optimizer: Component, logs: bool) -> None:
        super().__init__()
        self.network, self.optimizer, self.logs = network, optimizer, logs
        self.best = (float("inf"), 0.0)
        self.losses: list[Tensor] = []
        self.right: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        loss = F.cross_entropy(self.network(batch[0]), batch[1])
        if self.logs:
            self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Collect losses and hits of one batch."""
        outputs = self.network(batch[0])
        self.losses.append(F.cross_entropy(outputs, batch[1], reduction="none"))
        self.right.append((outputs.argmax(-1) == batch[1]).float())

    def on_validation_epoch_end(self) -> None:
        """Keep the accuracy at the lowest loss."""
        loss, accuracy = (float(torch.cat(values).mean()) for values in (self.losses, self.right))
        self.best = min(self.best, (loss, accuracy))
        if self.logs:
            self.log_dict({"val/loss": loss, "val/accuracy": accuracy})
        self.losses, self.right = [], []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Build the optimizer."""
        return cast(torch.optim.Optimizer, self.optimizer.build(self.parameters()))


def fit(cell: Cell, seed: int, folder: str | None) -> float:
    """Train one trial of a candidate by a Lightning fit of its own; return its validation accuracy.

    With a folder, the fit writes logs and checkpoints; without a folder, it writes nothing.
    """
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
    model = LitNetwork(network, config.optimizer.component, logs=folder is not None)
    trainer = pl.Trainer(
        max_epochs=config.budget.epochs,
        accelerator="cpu",
        logger=CSVLogger(folder) if folder else False,
        callbacks=[ModelCheckpoint(folder, monitor="val/loss")] if folder else [],
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, train, validation)
    return model.best[1]


@dataclass
class Peer:
    """Train with one fit per trial, in one variant."""

    variant: str
    folder: str | None
    seconds: float = 0.0
    scores: list[float] = field(default_factory=list)

    def train(self, study: tuning.Study, candidates: Sequence[Candidate]) -> None:
        """Train candidates; add the time and their mean validation accuracies."""
        start = time.perf_counter()
        for candidate in candidates:
            cell = study.cell.at(candidate.values, Phase.TUNE)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # advice of Lightning, deprecations of its dependencies
                self.scores.append(statistics.fmean(fit(cell, seed, self.folder) for seed in study.seeds))
        self.seconds += time.perf_counter() - start


def measure(num_trials: int, few: int, overrides: Sequence[str] = ()) -> str:
    """Return the table of one comparison."""
    chosen = ("dataset=digits", "+search=random", f"search.num_candidates={num_trials}", "trainer.accelerator=cpu")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        url = f"store.url=sqlite:///{folder}/store.sqlite"
        work = Work("search", "32", (*chosen, *overrides, url, f"trainer.checkpoint_folder={folder}"))
        (study,), store = tuning.studies(work.cell), Store(f"sqlite:///{folder}/store.sqlite")
        for log_folder in (None, folder):
            Peer("", log_folder).train(study, [Candidate(0, {})])  # imports, first kernels
        training.train(work.cell.config, work.cell.dataset, work.cell.entrants(0, 1))
        drawn = _first_candidates(study, few)
        peers = [Peer("bare", None), Peer("usual", folder)]
        for peer in peers:
            peer.train(study, drawn[: few // 2])
        start = time.perf_counter()
        tuning.tune(study, store)
        seconds = time.perf_counter() - start
        for peer in peers:
            peer.train(study, drawn[few // 2 :])
        history = study.history(store)
    assert [attempt.candidate for attempt in history[:few]] == drawn
    ours = len(history) * len(study.seeds) / seconds
    lines = [
        "| how | trials | seconds | trials/s | evalbench is faster by |",
        "|---|--:|--:|--:|--:|",
        f"| evalbench, {num_trials} candidates × {len(study.seeds)} seeds | {len(history) * len(study.seeds)} "
        f"| {seconds:.1f} | {ours:.2f} | |",
    ]
    for peer in peers:
        rate = few * len(study.seeds) / peer.seconds
        name = f"one Lightning fit per trial, {peer.variant}, the first {few} candidates"
        lines.append(f"| {name} | {few * len(study.seeds)} | {peer.seconds:.1f} | {rate:.2f} | **{ours / rate:.1f}** |")
    apart = [
        abs(score - attempt.result.values[0])
        for score, attempt in zip(peers[0].scores, history, strict=False)
        if attempt.result is not None and attempt.result.values is not None
    ]
    difference = f"{100 * statistics.fmean(apart):.1f} points on average (other data orders)"
    return "\n".join([*lines, "", f"Validation accuracies of the same candidates differ by {difference}."])


def _first_candidates(study: tuning.Study, few: int) -> list[Candidate]:
    """Return the first draws of random search, which do not depend on results."""
    with tempfile.TemporaryDirectory() as folder:

        def seed_of(number: int) -> int:
            return derive_draw(study.cell.config.root_seed, study.cell.workload, study.id, number)

        return OptunaStudy("first", study.search, ["maximize"], f"{folder}/journal", seed_of).ask()[:few]


def main() -> None:
    """Measure and write `search.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=64, help="candidates of the study")
    parser.add_argument("--few", type=int, default=8, help="candidates that the peer trains")
    asked = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    table = measure(asked.trials, asked.few)
    command = shlex.join(["python", "-m", "benchmarks.search", *sys.argv[1:]])
    text = f"# Search\n\n{' '.join(str(__doc__).split())}\n\n{table}\n\nBy `{command}`, torch {torch.__version__}.\n"
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
