"""Reference rows: the scores of a predictor without inputs and of a linear model on the same split."""

from evalbench.workloads.dataset import Dataset
from evalbench.workloads.splits import Split, fit_scaling


def trivial(dataset: Dataset, split: Split) -> dict[str, float]:
    """Return the test metrics of always predicting the training rows' class shares, token shares, or mean."""
    targets = dataset.targets[split.test]
    predictions = dataset.kind.trivial(dataset.targets[split.train], targets.shape, len(dataset.classes))
    return dataset.evaluate(predictions, targets)


def linear(dataset: Dataset, split: Split) -> dict[str, float]:
    """Return the test metrics of the task's linear model, which sees a row of tokens as their shares in it."""
    scaling = fit_scaling(dataset, split.train)
    train, test = (scaling.inputs(dataset, rows) for rows in (split.train, split.test))
    targets, vocabulary = dataset.targets[split.train], dataset.vocabulary
    predictions = dataset.kind.linear(train, targets, test, len(dataset.classes), vocabulary)
    return dataset.evaluate(predictions, dataset.targets[split.test])
