from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from evalbench.tasks import TASKS
from evalbench.tasks.metric import METRICS, Metric, base_name, describe, find

C, N, K = 3, 60, 4
GENERATOR = np.random.default_rng(0)
CLASSES = GENERATOR.integers(0, K, (C, N))
PROBABILITIES = GENERATOR.multinomial(8, np.full(K, 1 / K), (C, N)) / 8  # ties and zeros
LABELS = GENERATOR.integers(0, 2, (C, N, K))
OF_LABELS = GENERATOR.integers(0, 9, (C, N, K)) / 8
NUMBERS = GENERATOR.normal(size=(C, N)).astype(np.float32)
GUESSES = NUMBERS + GENERATOR.normal(size=(C, N))
COUNTS = GENERATOR.poisson(2, (C, N)).astype(np.float32)
RATES = COUNTS + GENERATOR.exponential(size=(C, N))
RELEVANCE = GENERATOR.integers(0, 4, (C, N)).astype(np.float32)
GROUPS = GENERATOR.permuted(np.tile(np.repeat(range(5), (25, 15, 12, 7, 1)), (C, 1)), axis=1)
RELEVANCE[GROUPS == 3] = 2  # nothing to rank
SEEN: dict[str, tuple[Any, Any, Any]] = {
    "multiclass": (PROBABILITIES, CLASSES, np.eye(K)[CLASSES]),
    "multilabel": (OF_LABELS, LABELS, LABELS.astype(float)),
    "regression": (GUESSES, NUMBERS, NUMBERS),
    "count": (RATES, COUNTS, COUNTS),
    "ranking": (np.round(GENERATOR.normal(size=(C, N)), 1), np.stack([RELEVANCE, GROUPS], -1), RELEVANCE),
}
"""Predictions, targets and perfect predictions of C members, by task."""
SEEN |= {"ordinal": SEEN["multiclass"], "language": SEEN["multiclass"]}


def chosen(score: Callable[..., float], **more: Any) -> Callable[[Any, Any], float]:
    return lambda truth, probabilities: score(truth, probabilities.argmax(1), **more)


def median(score: Callable[..., float], **more: Any) -> Callable[[Any, Any], float]:
    return lambda truth, probabilities: score(truth, (probabilities.cumsum(1) < 0.5).sum(1), **more)


def certain(score: Callable[..., float], **more: Any) -> Callable[[Any, Any], float]:
    return lambda truth, probabilities: score(truth, probabilities > 0.5, **more)


def measured(metric: Metric, predictions: Any, targets: Any) -> Any:
    assert metric.compute is not None
    return metric.compute(torch.as_tensor(predictions), torch.as_tensor(targets)).numpy()


def by_group(targets: Any, predictions: Any) -> Any:
    """Return scikit-learn's NDCG@10 of the groups that can be ranked."""
    groups = [targets[:, 1] == group for group in range(3)]
    return np.mean([sk.ndcg_score([targets[rows, 0]], [predictions[rows]], k=10) for rows in groups])


OF_CLASSES: dict[str, Callable[..., float]] = {
    "accuracy": chosen(sk.accuracy_score),
    "macro_f1": chosen(sk.f1_score, average="macro"),
    "balanced_accuracy": chosen(sk.balanced_accuracy_score),
    "log_loss": sk.log_loss,
    "perplexity": lambda truth, probabilities: np.exp(sk.log_loss(truth, probabilities)),
    "auroc": lambda truth, probabilities: sk.roc_auc_score(truth, probabilities, multi_class="ovr"),
    "average_precision": sk.average_precision_score,
    "quadratic_kappa": median(sk.cohen_kappa_score, weights="quadratic"),
    "rank_mae": median(sk.mean_absolute_error),
}
OF_NUMBERS: dict[str, Callable[..., float]] = {
    "r2": sk.r2_score,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "poisson_d2": partial(sk.d2_tweedie_score, power=1),
    "poisson_deviance": sk.mean_poisson_deviance,
}
EXPECTED: dict[str, dict[str, Callable[..., float]]] = {
    **dict.fromkeys(("multiclass", "ordinal", "language"), OF_CLASSES),
    "multilabel": {
        "average_precision": sk.average_precision_score,
        "auroc": sk.roc_auc_score,
        "macro_f1": certain(sk.f1_score, average="macro"),
        "micro_f1": certain(sk.f1_score, average="micro"),
        "hamming_loss": certain(sk.hamming_loss),
        "subset_accuracy": certain(sk.accuracy_score),
        "log_loss": lambda truth, given: np.mean([sk.log_loss(*label) for label in zip(truth.T, given.T, strict=True)]),
    },
    **dict.fromkeys(("regression", "count"), OF_NUMBERS),
    "ranking": {"ndcg_10": by_group},
}
MEASURED = [
    pytest.param(metric, task, id=f"{metric.name} of {task}")
    for task in EXPECTED
    for metric in METRICS.values()
    if metric.name in TASKS[task].metrics or task in metric.on_request
]


def test_every_metric_that_is_computed_is_tested() -> None:
    computed = {metric.name for metric in METRICS.values() if metric.compute}
    assert {one.values[0].name for one in MEASURED} == computed  # type: ignore[union-attr]


@pytest.mark.parametrize(("metric", "task"), MEASURED)
def test_a_metric_is_scikit_learns_for_every_member(metric: Metric, task: str) -> None:
    predictions, targets, _ = SEEN[task]
    scores = measured(metric, predictions, targets)
    expected = [EXPECTED[task][metric.name](targets[member], predictions[member]) for member in range(C)]
    assert scores == pytest.approx(np.array(expected), rel=1e-12 if TASKS[task].is_classification else 1e-7)


@pytest.mark.parametrize(("metric", "task"), MEASURED)
def test_nothing_beats_the_best_possible_score(metric: Metric, task: str) -> None:
    assert metric.best is not None
    predictions, targets, perfect = SEEN[task]
    assert measured(metric, perfect, targets) == pytest.approx(np.full(C, metric.best), abs=1e-12)
    assert (metric.sign * measured(metric, predictions, targets) < metric.sign * metric.best).all()


def test_two_classes_have_the_average_precision_of_the_second() -> None:
    scores, truth = PROBABILITIES[..., 0], CLASSES > 1
    expected = [sk.average_precision_score(*member) for member in zip(truth, scores, strict=True)]
    given = measured(METRICS["average_precision"], np.stack([1 - scores, scores], -1), truth.astype(int))
    assert given == pytest.approx(np.array(expected), rel=1e-12)


def test_a_label_that_no_row_has_is_left_out_of_the_mean() -> None:
    without = LABELS.copy()
    without[..., 1] = 0
    for name in ("average_precision", "auroc"):
        others = measured(METRICS[name], OF_LABELS[..., [0, 2, 3]], LABELS[..., [0, 2, 3]])
        assert measured(METRICS[name], OF_LABELS, without) == pytest.approx(others)


def test_a_rate_of_zero_is_punished_but_not_infinite() -> None:
    assert 50 < measured(METRICS["poisson_deviance"], np.zeros((1, 1)), np.ones((1, 1)))[0] < 100
    assert np.isnan(measured(METRICS["poisson_d2"], RATES[:1, :2], np.ones((1, 2)))[0])


def test_every_metric_on_request_names_tasks_that_exist() -> None:
    asked = [name for metric in METRICS.values() for name in metric.on_request]
    assert asked
    assert set(asked) <= TASKS.keys()


def test_metrics_are_found_by_names_with_and_without_a_split() -> None:
    assert find("test/macro_f1") is find("macro_f1") is METRICS["macro_f1"]
    assert METRICS["r2"].on("val") == "val/r2"
    assert find("bleu") is None
    other = describe("test/first_try", "minimize", "errors")
    assert (other.name, other.direction, other.unit, other.words) == (
        "first_try",
        "minimize",
        "errors",
        "first try",
    )
    assert base_name("a/b/c") == "c"
