"""Train with the other peers of evalbench: a bare loop, the loop over cores, Ray Tune, scikit-learn, Ictonyx.

Each peer is a function of (work, seeds) that returns the test accuracies in the order of the seeds.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.work import DEVICE, Trial, Work
from evalbench import models
from evalbench.config import Component
from evalbench.engine import training

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loop(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train the trials one after another in a bare PyTorch loop, with data as tensors and indexed batches."""
    accuracies = []
    for seed in seeds:
        trial = work.trial(seed)
        bare = BareLoop(work, trial)
        accuracies.append(train(bare, trial, bare.step))
    return accuracies


def loop_over_cores(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train with the bare loop in one running process per core, with one thread each."""
    parts = [list(seeds[first::CORES]) for first in range(min(CORES, len(seeds)))]
    accuracies = Parallel(n_jobs=CORES)(delayed(_loop_on_one_thread)(work, part) for part in parts)
    named = dict(zip(itertools.chain(*parts), itertools.chain(*accuracies), strict=True))
    return [named[seed] for seed in seeds]


def ray_tune(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train with the bare loop as Ray Tune's trainable, with one core each."""
    from ray import tune

    def trainable(config: dict[str, int]) -> None:
        (accuracy,) = _loop_on_one_thread(work, [config["seed"]])
        tune.report({"accuracy": accuracy})

    run = tune.RunConfig(storage_path=str(folder.absolute()), verbose=0)
    with_one_core = tune.with_resources(trainable, {"cpu": 1})
    results = tune.Tuner(with_one_core, param_space={"seed": tune.grid_search(list(seeds))}, run_config=run).fit()
    named = {result.config["seed"]: result.metrics["accuracy"] for result in results}
    return [named[seed] for seed in seeds]


def scikit_learn(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train `MLPClassifier` with the same layers, batch size, epochs and Adam.

    It draws initial weights (Glorot's) and the order of rows by itself, does not validate, and is tested at the end.
    """
    config = work.cell.config
    layers = (config.model.arguments["width"],) * config.model.arguments["depth"]
    adam = config.optimizer.component.arguments
    accuracies = []
    for seed in seeds:
        trial = work.trial(seed)
        inputs, targets = trial.inputs.numpy(), trial.targets.numpy()
        model = MLPClassifier(
            layers,
            batch_size=trial.batches.batch_size,
            max_iter=max(1, work.num_steps // trial.batches.steps_per_epoch),
            learning_rate_init=adam["lr"],
            beta_1=adam["betas"][0],
            beta_2=adam["betas"][1],
            epsilon=adam["eps"],
            alpha=0.0,
            tol=0.0,
            n_iter_no_change=10**9,
            random_state=seed,
        )
        with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()):
            warnings.simplefilter("ignore")  # a warning about few epochs, which the budget sets
            model.fit(inputs[trial.split.train], targets[trial.split.train])
        accuracies.append(float(model.score(inputs[trial.split.test], targets[trial.split.test])))
    return accuracies


def ictonyx(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train with `ictonyx.variability_study`: one seed after another on one split, with its own loop and DataLoaders.

    It draws initial weights and the order of rows by itself, validates, and is tested at the end.
    """
    from ictonyx import PyTorchModelWrapper, variability_study

    config, trial = work.cell.config, work.trial(seeds[0])
    inputs, targets, split = trial.inputs.numpy(), trial.targets.numpy(), trial.split
    component, shape = config.optimizer.component, training.shape_of(work.cell.dataset)

    def build(_: object) -> object:
        network = models.build(config.model, config.activation, *shape)
        settings = dict(component.arguments)
        return PyTorchModelWrapper(network, optimizer_class=component.locate(), optimizer_params=settings)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice to train 20 seeds
        study = variability_study(
            build,
            (inputs[split.train], targets[split.train]),
            runs=len(seeds),
            epochs=max(1, work.num_steps // trial.batches.steps_per_epoch),
            batch_size=trial.batches.batch_size,
            seed=0,
            verbose=False,
            validation_data=(inputs[split.validation], targets[split.validation]),
            X_test=inputs[split.test],
            y_test=targets[split.test],
        )
    return [float(accuracy) for accuracy in study.get_test_metric_values("accuracy")]


def unavailable(peer: str, work: Work) -> str | None:
    """Return the reason if a peer cannot take part, or None."""
    on_cuda = DEVICE.type == "cuda"
    is_mlp = work.cell.config.model.target.endswith(".MLP")
    has_numbers = work.cell.dataset.inputs.dtype.kind == "f"
    reasons = {
        "loop_over_cores": (on_cuda, "each process would hold a CUDA context"),
        "ray_tune": (_is_missing("ray", "pyarrow"), "ray[tune] is not installed"),
        "scikit_learn": (on_cuda or not is_mlp, "it trains on a CPU" if on_cuda else "it has no such network"),
        "ictonyx": (
            _is_missing("ictonyx") or not has_numbers,
            "ictonyx is not installed" if has_numbers else "it turns tokens into floats",
        ),
        "graph_loop": (not on_cuda, "CUDA graphs need a CUDA device"),
    }
    left_out, reason = reasons.get(peer, (False, ""))
    return reason if left_out else None


def _is_missing(*modules: str) -> bool:
    return any(find_spec(module) is None for module in modules)


def _loop_on_one_thread(work: Work, seeds: Sequence[int]) -> list[float]:
    torch.set_num_threads(1)
    return loop(work, seeds, Path())


class BareLoop:
    """One network with its data and its fused optimizer, on the device."""

    def __init__(self, work: Work, trial: Trial, capturable: bool = False) -> None:
        self.work = work
        self.network = trial.network.to(DEVICE).train()
        self.inputs, self.targets = trial.inputs.to(DEVICE), trial.targets.to(DEVICE)
        self.optimizer = fused(work.cell.config.optimizer.component, list(self.network.parameters()), capturable)

    def step(self, rows: Tensor) -> None:
        """Take an optimizer step on rows `(B,)` of the device."""
        self.optimizer.zero_grad()
        loss = self.work.loss(self.network(self.inputs[rows]), self.targets[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    @torch.no_grad()
    def validation_loss(self, rows: Tensor) -> float:
        """Return the loss on rows `(B,)`, and return to training."""
        self.network.eval()
        loss = float(self.work.loss(self.network(self.inputs[rows]), self.targets[rows]))
        self.network.train()
        return loss

    @torch.no_grad()
    def accuracy(self, rows: Tensor) -> float:
        """Return the accuracy on rows `(B,)`."""
        self.network.eval()
        right = self.network(self.inputs[rows]).argmax(-1) == self.targets[rows]
        self.network.train()
        return float(np.mean(right.cpu().numpy()))


def train(bare: BareLoop, trial: Trial, step: Callable[[Tensor], None]) -> float:
    """Train and validate one trial; return the test accuracy at the lowest validation loss."""
    validation, test = (torch.as_tensor(rows).to(DEVICE) for rows in (trial.split.validation, trial.split.test))
    lowest, best = float("inf"), copy_of(bare.network.state_dict())
    number = epoch = 0
    while number < trial.validation_steps[-1]:
        for rows in islice(trial.epoch(epoch), trial.validation_steps[-1] - number):
            step(rows.to(DEVICE))
            number += 1
            if number in trial.validation_steps and (loss := bare.validation_loss(validation)) < lowest:
                lowest, best = loss, copy_of(bare.network.state_dict())
        epoch += 1
    bare.network.load_state_dict(best)
    return bare.accuracy(test)


def copy_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of named tensors."""
    return {name: value.clone() for name, value in tensors.items()}


def fused(
    component: Component, parameters: list[torch.nn.Parameter], capturable: bool = False
) -> torch.optim.Optimizer:
    """Build the optimizer with its fused update, the fastest on CPU and CUDA, if it has one."""
    more = {"capturable": True} if capturable else {}
    try:
        optimizer: torch.optim.Optimizer = component.build(parameters, fused=True, **more)
    except Exception:
        optimizer = component.build(parameters, **more)
    return optimizer
