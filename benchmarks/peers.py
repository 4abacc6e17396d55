"""Train with the other peers of evalbench: a bare loop, the loop over cores, Ray Tune, scikit-learn.

Each peer is a function of (work, seeds) that returns the test accuracies in the order of the seeds.
"""

import itertools
import os
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from benchmarks.work import DEVICE, Trial, Work
from evalbench.config import Component

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loop(work: Work, seeds: Sequence[int], folder: Path) -> list[float]:
    """Train the trials one after another in a bare PyTorch loop, with data as tensors and indexed batches."""
    return [_train(work, work.trial(seed)) for seed in seeds]


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


def unavailable(peer: str, work: Work) -> str | None:
    """Return the reason if a peer cannot take part, or None."""
    if peer == "ray_tune" and find_spec("ray") is None:
        return "ray is not installed"
    if peer == "scikit_learn":
        config = work.cell.config
        if not config.model.target.endswith(".MLP"):
            return "MLPClassifier has no such network"
    return None


def _loop_on_one_thread(work: Work, seeds: Sequence[int]) -> list[float]:
    torch.set_num_threads(1)
    return loop(work, seeds, Path())


def _train(work: Work, trial: Trial) -> float:
    network = trial.network.to(DEVICE)
    inputs, targets = trial.inputs.to(DEVICE), trial.targets.to(DEVICE)
    parameters = list(network.parameters())
    optimizer = fused(work.cell.config.optimizer.component, parameters)
    validation, test = (torch.as_tensor(rows).to(DEVICE) for rows in (trial.split.validation, trial.split.test))
    lowest, best = float("inf"), {name: value.clone() for name, value in network.state_dict().items()}
    step = epoch = 0
    while step < trial.validation_steps[-1]:
        for rows in trial.epoch(epoch):
            rows = rows.to(DEVICE)
            optimizer.zero_grad()
            work.loss(network(inputs[rows]), targets[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1
            if step not in trial.validation_steps:
                continue
            network.eval()
            with torch.no_grad():
                loss = float(work.loss(network(inputs[validation]), targets[validation]))
            network.train()
            if loss < lowest:
                lowest, best = loss, {name: value.clone() for name, value in network.state_dict().items()}
            if step == trial.validation_steps[-1]:
                break
        epoch += 1
    network.load_state_dict(best)
    network.eval()
    with torch.no_grad():
        right = network(inputs[test]).argmax(-1) == targets[test]
    return float(np.mean(right.cpu().numpy()))


def fused(component: Component, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Build the optimizer with its fused update, the fastest on CPU and CUDA, if it has one."""
    try:
        optimizer: torch.optim.Optimizer = component.build(parameters, fused=True)
    except Exception:
        optimizer = component.build(parameters)
    return optimizer
