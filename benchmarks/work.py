"""Define the work of every engine: the same networks on the same rows in the same order for the same steps."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.nn import functional as F

from evalbench import models
from evalbench.cell import Cell
from evalbench.config import Config, parse
from evalbench.engine import training
from evalbench.engine.batches import Batches
from evalbench.programs import conf_folder
from evalbench.seeds import Role, derive
from evalbench.workloads import Split, draw_split, fit_scaling

WORKLOADS: dict[str, dict[str, tuple[str, ...]]] = {
    "mlp": {
        "32": ("dataset=digits", "model=mlp", "budget.epochs=20"),
        "1": ("dataset=digits", "model=mlp", "budget.epochs=1"),
        "full": ("dataset=digits", "model=mlp", "budget.epochs=50"),
    },
    "cnn": {
        "32": ("dataset=digits", "model=cnn", "budget.epochs=3"),
        "1": ("dataset=digits", "model=cnn", "budget=steps", "budget.steps=200", "budget.validations=2"),
        "full": ("dataset=digits", "model=cnn", "budget.epochs=5"),
    },
    "transformer": {
        "32": ("dataset=python_source", "model=transformer", "budget=steps", "budget.steps=60", "budget.validations=2"),
        "1": ("dataset=python_source", "model=transformer", "budget=steps", "budget.steps=60", "budget.validations=2"),
        "full": (
            "dataset=python_source",
            "model=transformer",
            "budget=steps",
            "budget.steps=2",
            "budget.validations=1",
        ),
    },
}
"""The overrides of one trial by workload and batch size, bounded so that the slowest peer ends in seconds."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""The device of `trainer.accelerator=auto` and of the peers."""


@dataclass(frozen=True)
class Work:
    """One workload with one batch size and budget."""

    workload: str
    batch_size: str
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name in the table."""
        return f"{self.workload}, batch {self.batch_size}"

    @property
    def key(self) -> str:
        """Return the name of a file about it."""
        return f"{self.workload}-{self.batch_size}"

    @property
    def data_and_model(self) -> tuple[str, ...]:
        """Return the overrides without the budget."""
        return tuple(text for text in self.overrides if not text.startswith("budget"))

    @property
    def chosen(self) -> tuple[str, ...]:
        """Return the overrides of the command line."""
        return (*self.overrides, f"optimizer.batch_size={self.batch_size}")

    def composed(self, num_seeds: int) -> Config:
        """Compose and check the configuration anew, like a job of a sweep."""
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            tree = compose("config", ["tracker=none", f"num_seeds={num_seeds}", *self.chosen], return_hydra_config=True)
        return parse(tree, tree.hydra)

    @cached_property
    def cell(self) -> Cell:
        """Return the cell with its data, composed once."""
        return Cell.of(self.composed(num_seeds=1))

    @cached_property
    def num_steps(self) -> int:
        """Return the number of optimizer steps of one trial."""
        return self.trial(0).validation_steps[-1]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy in plain PyTorch; language has a window of targets per row."""
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())

    def short(self) -> "Work":
        """Return a copy with few steps, for the warm-up of an engine."""
        budget = ("budget=steps", f"budget.steps={min(20, self.num_steps)}", "budget.validations=1")
        return replace(self, overrides=(*self.data_and_model, *budget))

    def trial(self, seed: int) -> "Trial":
        """Return one trial with evalbench's split, scaled data, initial weights and order of rows."""
        config, dataset = self.cell.config, self.cell.dataset

        def seed_of(role: Role) -> int:
            return derive(config.root_seed, dataset.name, role, seed)

        split = draw_split(dataset, config.split.validation, config.split.test, seed_of(Role.SPLIT))
        inputs, targets = torch.as_tensor(dataset.inputs), torch.as_tensor(dataset.targets)
        if inputs.is_floating_point():
            scaling = fit_scaling(dataset, split.train)
            mean, std = (torch.tensor(value, dtype=torch.float32) for value in (scaling.mean, scaling.std))
            inputs = torch.nan_to_num((inputs - mean) / std)
        shape = training.shape_of(dataset)
        network = models.build_seeded(seed_of(Role.INIT), config.model, config.activation, shape)
        rows = torch.as_tensor(split.train)[None]
        batches = Batches(rows, config.optimizer.rows_per_step(rows.shape[1]), [seed_of(Role.ORDER)])
        steps = tuple(config.budget.validation_steps(batches.steps_per_epoch))
        return Trial(network, inputs, targets, split, batches, steps)


@dataclass(frozen=True, eq=False)
class Trial:
    """The ingredients of one training; `inputs` is `(N, D)`, scaled with the statistics of the training rows."""

    network: nn.Module
    inputs: Tensor
    targets: Tensor
    split: Split
    batches: Batches
    validation_steps: tuple[int, ...]

    def epoch(self, number: int) -> Iterator[Tensor]:
        """Yield the rows `(B,)` of each step of one epoch."""
        length = self.batches.steps_per_epoch
        for chunk in self.batches.chunks(number * length, (number + 1) * length, length):
            yield from chunk[:, 0]
