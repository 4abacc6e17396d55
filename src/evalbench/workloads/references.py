"""Reference rows: the scores of a predictor without inputs and of a linear model on the same splits."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evalbench.tasks.linear import MOST_TRAINED
from evalbench.workloads.dataset import Dataset
from evalbench.workloads.splits import Split, fit_scaling

MOST_TOGETHER = 16
"""Splits that are fitted together."""
MOST_NUMBERS = 2**23
"""Numbers among the inputs of the splits that are fitted together."""
MOST_PILOT_ROWS = 4096
"""Rows of the whole table from which the fits begin."""

Scores = dict[int, dict[str, float]]
"""Test metrics by seed."""


def trivial(dataset: Dataset, splits: Mapping[int, Split]) -> Scores:
    """Return the scores of always predicting the training rows' class shares, token shares, or mean; splits by seed."""
    targets, num_classes = dataset.targets, len(dataset.classes)

    def predict(together: Sequence[Split]) -> NDArray[np.float64]:
        parts = [(targets[split.train], targets[split.test]) for split in together]
        return np.stack([dataset.kind.trivial_for(*part, num_classes) for part in parts])

    return _scores(dataset, splits, predict)


def linear(dataset: Dataset, splits: Mapping[int, Split]) -> Scores:
    """Return the scores of the task's linear model, which sees tokens as log(1 + count) in a row; splits by seed.

    Of training rows with more than `MOST_TRAINED` inputs it sees evenly spaced ones. Empty if the task has none.
    """
    targets, most = dataset.targets, max(1, MOST_TRAINED // dataset.inputs.shape[1])
    rows = _spaced(np.arange(len(targets)), MOST_PILOT_ROWS)
    inputs = fit_scaling(dataset, rows).inputs(dataset, rows)
    sizes = {min(most, len(split.train)) for split in splits.values()}
    built = {size: dataset.kind.linear(inputs, targets[rows], size, dataset) for size in sizes}
    models = {size: model for size, model in built.items() if model is not None}
    if not models:
        return {}

    def predict(together: Sequence[Split]) -> NDArray[np.float64]:
        train, known, test = [], [], []
        for split in together:
            scaling, trained = fit_scaling(dataset, split.train), _spaced(split.train, most)
            train.append(scaling.inputs(dataset, trained))
            known.append(targets[trained])
            test.append(scaling.inputs(dataset, split.test))
        model = models[len(known[0])]
        return model(np.stack(train), np.stack(known), np.stack(test))

    return _scores(dataset, splits, predict)


def _spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return rows, or, if they are more than `most`, so many that are evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _scores(
    dataset: Dataset, splits: Mapping[int, Split], predict: Callable[[Sequence[Split]], NDArray[np.float64]]
) -> Scores:
    """Return the scores by seed of a predictor that takes the splits of a group of seeds.

    Each seed has its own position in its group, and another split fills a position without a seed, or with a split of
    another size. So a seed's scores have the same bits whichever seeds are asked for.
    """
    rows, numbers = dataset.inputs.shape
    if dataset.vocabulary is not None:
        numbers = len(dataset.classes) * numbers if dataset.kind.per_token else dataset.vocabulary
    count = min(MOST_TOGETHER, max(1, MOST_NUMBERS // (rows * numbers)))
    scores: Scores = {}
    for group in sorted({seed // count for seed in splits}):
        seeds = range(group * count, (group + 1) * count)
        sizes = {seed: (len(splits[seed].train), len(splits[seed].test)) for seed in seeds if seed in splits}
        for size in sorted(set(sizes.values())):
            filler = next(splits[seed] for seed in seeds if sizes.get(seed) == size)
            together = [splits[seed] if sizes.get(seed) == size else filler for seed in seeds]
            truth = np.stack([dataset.targets[split.test] for split in together])
            measured = zip(seeds, dataset.evaluate_all(predict(together), truth), strict=True)
            scores |= {seed: metrics for seed, metrics in measured if sizes.get(seed) == size}
    return scores
